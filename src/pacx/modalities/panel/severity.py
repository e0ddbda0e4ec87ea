"""How ill a patient looks by laboratory values alone: how far they lie from everybody's median, on average.

`panel of values -> ranks among the same patients -> mean distance from the middle`. No label, no diagnosis and no
weight goes in, so that any hospital's labs make one; it ranks patients and has no unit.
"""

import numpy as np
from numpy.typing import NDArray

from pacx.modalities.panel.panels import PanelPercentiles, PanelTable


def severity_of(measured: PanelTable | PanelPercentiles) -> NDArray[np.float64]:
    """Mean distance of a sample's observed values from the median patient's, (N,) in [0, 1]; NaN = no value at all.

    A value at the median counts 0, the lowest and the highest of all patients count 1: for most tests both ends are
    ill. Equal values share their mean rank, so that a value which most patients have counts next to nothing.
    Percentiles that come as such are taken as they are.
    """
    if isinstance(measured, PanelTable):
        observed = np.isfinite(measured.values)
        distance = np.stack([_from_the_middle(each) for each in measured.values.T], axis=1)
    else:
        observed = measured.observed > 0
        distance = np.abs(2 * measured.percentiles.astype(np.float64) - 1)
    total, number = np.where(observed, distance, 0.0).sum(axis=1), observed.sum(axis=1)
    return np.divide(total, number, out=np.full(len(measured), np.nan), where=number > 0)


def _from_the_middle(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each value's mean rank is from the middle of the known ones, (N,): 1 at both ends, anything where NaN."""
    known = np.sort(values[np.isfinite(values)])
    below, up_to = (np.searchsorted(known, values, side=side) for side in ("left", "right"))
    return np.abs(below + up_to - len(known)) / max(1, len(known) - 1)
