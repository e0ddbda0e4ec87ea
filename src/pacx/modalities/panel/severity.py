"""How ill a patient looks by laboratory values alone: how far they lie from everybody's median, on average.

`panel of values -> percentiles among the same patients -> mean distance from the middle`. No label, no diagnosis and no
weight goes in, so that any hospital's labs make one; it ranks patients and has no unit.
"""

import numpy as np
from numpy.typing import NDArray

from pacx.modalities.panel.panels import PanelPercentiles, PanelTable, PercentileScaler


def severity_of(measured: PanelTable | PanelPercentiles) -> NDArray[np.float64]:
    """Mean distance of a sample's observed values from the median patient's, (N,) in [0, 1]; NaN = no value at all.

    A value at the median counts 0, the lowest and the highest of all patients count 1: for most tests both ends are
    ill.
    """
    if isinstance(measured, PanelTable):
        scaler = PercentileScaler(measured)
        ranked = scaler.can_rank(measured)
        rows = np.flatnonzero(ranked)
        percentiles = scaler.transform(measured.select(rows))
    else:
        rows, percentiles = np.arange(len(measured)), measured
    observed = percentiles.observed > 0
    distance = np.where(observed, np.abs(2 * percentiles.percentiles.astype(np.float64) - 1), 0.0)
    severity = np.full(len(measured), np.nan)
    severity[rows] = distance.sum(axis=1) / observed.sum(axis=1)
    return severity
