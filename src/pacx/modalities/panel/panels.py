"""Panels of measurements: from a table of raw values to percentiles, an observed mask, and the distillation target.

Raw values of fifty tests have fifty units and heavy tails; what goes into a panel's encoder is each value's rank among
the training patients. A percentile of 0 with observed 0 means that nobody measured it. The scaler learns from training
patients only, and the mask is always called ``observed`` (1 = measured). ``pacx.modalities.panel.encoder`` puts scaler
and network together.

It refuses inverted masks, and values that can only be in another unit than the training patients'.

Source: rajesh-lab/symile (percentiles and mask), specification of the ECG and lab side, section 2.4.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from pacx.core.errors import DataError
from pacx.core.quarantine import Quarantined
from pacx.core.tables.ids import persons
from pacx.modalities.targets import named
from pacx.models.panel.config import Panel

_CONSTANT_BELOW = 1e-6
_FEWEST_TO_JUDGE = 20
_MOST_OUTSIDE = 0.5
_RANKED = ("percentiles", "observed")


class Missing(Enum):
    """What stands for a missing value when a patient is embedded.

    ZERO: 0, as in training (ours).
    TRAINING_MEAN: the mean percentile of the training patients (released code, which trained on 0 all the same).
    """

    ZERO = "zero"
    TRAINING_MEAN = "training-mean"


def _require_rows(panel: Panel, ids: Sequence[str], patients: Sequence[str], *arrays: NDArray[np.floating]) -> None:
    if len(set(ids)) != len(ids):
        twice = sorted(name for name, count in Counter(ids).items() if count > 1)
        raise DataError(f"{panel.name} name a sample more than once ({named(twice)}); keep one row each")
    if len(patients) not in (0, len(ids)):
        raise DataError(f"{panel.name} have {len(patients)} patient ids for {len(ids)} samples; give one each")
    for array in arrays:
        if array.shape != (len(ids), len(panel)):
            raise DataError(
                f"{panel.name} have shape {array.shape} for {len(ids)} samples, expected (samples, {len(panel)}); "
                "give one column per quantity in the order of the panel"
            )


@dataclass(frozen=True, eq=False)
class PanelTable:
    """Raw values of a panel.

    Args:
        panel: what the columns are.
        sample_ids: N different ids.
        values: (N, Q) float64 in each quantity's own unit; NaN = not measured.
        patient_ids: whose each sample is, so that no patient is on both sides of a split; one that is not known (None,
            "", NA) is a person of its own; () = all different people.
        notes: what a reader should know of how the table came about, one sentence each.
        quarantined: samples that are not among the rows because nothing could be measured, and why.

    Raises:
        DataError: shapes do not match, an id occurs twice, or a value is infinite.
    """

    panel: Panel
    sample_ids: tuple[str, ...]
    values: NDArray[np.float64]
    patient_ids: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "sample_ids", tuple(map(str, self.sample_ids)))
        _require_rows(self.panel, self.sample_ids, self.patient_ids, self.values)
        object.__setattr__(self, "patient_ids", persons(self.patient_ids, self.sample_ids))
        for row, column in np.argwhere(np.isinf(self.values))[:1]:
            raise DataError(
                f"{self.panel.name}: {self.panel.quantities[column].name} of sample {self.sample_ids[row]} is "
                "infinite; leave it blank if it was not measured"
            )

    def __len__(self) -> int:
        return len(self.sample_ids)

    def select(self, rows: NDArray[np.int64]) -> "PanelTable":
        """The table of some rows, for example of the training patients."""
        ids, patients = (tuple(names[row] for row in rows) for names in (self.sample_ids, self.patient_ids))
        return PanelTable(self.panel, ids, self.values[rows], patients, self.notes)


@dataclass(frozen=True, eq=False)
class PanelPercentiles:
    """What a panel's encoder takes.

    Args:
        panel: what the columns are.
        sample_ids: N different ids.
        percentiles: (N, Q) float32 in [0, 1]; anything within that range where not observed.
        observed: (N, Q) float32, 1 = measured, 0 = missing; at least one per sample.
        patient_ids: as in ``PanelTable``.
        notes: as in ``PanelTable``.

    Raises:
        DataError: shapes do not match, values are out of range, a sample has no value, or the mask is inverted.
    """

    panel: Panel
    sample_ids: tuple[str, ...]
    percentiles: NDArray[np.float32]
    observed: NDArray[np.float32]
    patient_ids: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "sample_ids", tuple(map(str, self.sample_ids)))
        _require_rows(self.panel, self.sample_ids, self.patient_ids, self.percentiles, self.observed)
        object.__setattr__(self, "patient_ids", persons(self.patient_ids, self.sample_ids))
        if not ((self.percentiles >= 0) & (self.percentiles <= 1)).all():
            raise DataError(
                f"percentiles of {self.panel.name} must lie in [0, 1] without NaN; give raw values a scaler"
            )
        check_observed_polarity(self.percentiles, self.observed)
        empty = [self.sample_ids[row] for row in np.flatnonzero(self.observed.sum(axis=1) == 0)]
        if empty:
            raise DataError(f"samples without a single one of the {self.panel.name} ({named(empty)}); leave them out")

    def __len__(self) -> int:
        return len(self.sample_ids)


def joined(parts: Sequence[PanelTable | PanelPercentiles]) -> PanelTable | PanelPercentiles:
    """One table of several, for example of a split each; a sample is in one of them only.

    Raises:
        DataError: some are raw values and others percentiles, or a sample is in two of them.
    """
    panel, ids = parts[0].panel, tuple(sample for part in parts for sample in part.sample_ids)
    patients = tuple(patient for part in parts for patient in part.patient_ids)
    raw = [part for part in parts if isinstance(part, PanelTable)]
    ranked = [part for part in parts if isinstance(part, PanelPercentiles)]
    if raw and ranked:
        raise DataError(f"some tables of {panel.name} hold raw values and others percentiles; give one kind")
    notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
    if raw:
        quarantined = tuple(entry for part in raw for entry in part.quarantined)
        return PanelTable(panel, ids, np.concatenate([part.values for part in raw]), patients, notes, quarantined)
    percentiles, observed = (np.concatenate([getattr(part, name) for part in ranked]) for name in _RANKED)
    return PanelPercentiles(panel, ids, percentiles, observed, patients, notes)


def check_observed_polarity(percentiles: NDArray[np.floating], observed: NDArray[np.number]) -> None:
    """Refuse a mask that is inverted or belongs to other values.

    Placeholders of one quantity are all the same number (0, or the mean that was imputed); measured values are not. So
    within a column, values must not vary where the mask says missing.

    Args:
        percentiles: (N, Q) placeholders included, as in Symile-MIMIC's ``labs_percentiles``.
        observed: (N, Q), 1 = measured, as in its ``labs_missingness`` in spite of that name.

    Raises:
        DataError: the mask has other values than 0 and 1, is inverted, or does not fit the values.
    """
    if not np.isin(observed, (0, 1)).all():
        raise DataError("the observed mask has values other than 0 and 1; expected 1 = measured and 0 = missing")

    def varying_columns(chosen: NDArray[np.bool_]) -> int:
        counts = chosen.sum(axis=0)
        highest = np.where(chosen, percentiles, -np.inf).max(axis=0, initial=-np.inf)
        lowest = np.where(chosen, percentiles, np.inf).min(axis=0, initial=np.inf)
        return int(((counts > 1) & (highest > lowest + _CONSTANT_BELOW)).sum())

    missing_vary, measured_vary = varying_columns(observed == 0), varying_columns(observed == 1)
    if missing_vary and not measured_vary:
        raise DataError(
            "the observed mask is inverted: values vary where it says missing and are constant where it says measured; "
            "expected 1 = measured, so pass 1 - mask"
        )
    if missing_vary:
        raise DataError(
            f"the observed mask does not fit the values: in {missing_vary} columns values vary where it says missing; "
            "check that both arrays have the same rows and columns"
        )


class PercentileScaler:
    """Rank of a value among the training patients: the empirical distribution function of each quantity.

    Right-continuous: percentile(v) = share of training values <= v. So a value below all of them gets exactly 0, the
    largest and everything above it 1, and ties share the highest rank. A missing value counts as not observed; so does
    a quantity that no training patient had, because nothing is known about its values.

    Args:
        training: the training patients, and nobody else.

    ``sorted_values`` holds each quantity's training values in ascending order, without NaN.

    Source: rajesh-lab/symile, data_processing/symile_mimic.
    """

    def __init__(self, training: PanelTable) -> None:
        self.panel = training.panel
        self.sorted_values = tuple(np.sort(column[~np.isnan(column)]) for column in training.values.T)

    @property
    def mean_percentiles(self) -> NDArray[np.float32]:
        """Mean percentile of the training values of each quantity, (Q,); 0.5 where there was none."""
        means = [
            np.searchsorted(known, known, side="right").mean() / len(known) if len(known) else 0.5
            for known in self.sorted_values
        ]
        return np.asarray(means, np.float32)

    def can_rank(self, table: PanelTable) -> NDArray[np.bool_]:
        """Which samples have at least one value that can be ranked, (N,)."""
        known = np.array([len(values) > 0 for values in self.sorted_values])
        return (~np.isnan(table.values) & known).any(axis=1)

    def transform(self, table: PanelTable, missing: Missing = Missing.ZERO) -> PanelPercentiles:
        """Percentiles and observed mask of any patients.

        Args:
            table: raw values.
            missing: the placeholder of missing values.

        Raises:
            DataError: a patient has no value that can be ranked.
        """
        placeholder = (
            self.mean_percentiles if missing is Missing.TRAINING_MEAN else np.zeros(len(self.panel), np.float32)
        )
        percentiles = np.tile(placeholder, (len(table), 1))
        observed = np.zeros(table.values.shape, np.float32)
        for column, known in enumerate(self.sorted_values):
            values = table.values[:, column]
            rows = np.flatnonzero(~np.isnan(values)) if len(known) else np.empty(0, np.int64)
            ranks = np.searchsorted(known, values[rows], side="right")
            percentiles[rows, column] = ranks / max(1, len(known))
            observed[rows, column] = 1
        return PanelPercentiles(table.panel, table.sample_ids, percentiles, observed, table.patient_ids, table.notes)

    def require_known_units(self, table: PanelTable) -> None:
        """Refuse values that can only be in another unit than the training patients', or of another quantity.

        A column is judged when both sides have at least 20 values, and refused when more than half of the new ones lie
        outside the whole range of the old.

        Raises:
            DataError: a column is refused; the message names it and both ranges.
        """
        for column, known in enumerate(self.sorted_values):
            values = table.values[:, column]
            values = values[~np.isnan(values)]
            if min(len(values), len(known)) < _FEWEST_TO_JUDGE:
                continue
            outside = ((values < known[0]) | (values > known[-1])).mean()
            if outside > _MOST_OUTSIDE:
                quantity = self.panel.quantities[column]
                raise DataError(
                    f"{outside:.0%} of the values of {quantity.name} (median {np.median(values):.4g}) lie outside "
                    f"everything seen in training ({known[0]:.4g} to {known[-1]:.4g} {quantity.unit}); they are in "
                    "another unit or belong to another quantity: convert them"
                )
