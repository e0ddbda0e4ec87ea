"""Laboratory tests: from a table of raw values to percentiles, an observed mask, and the distillation target.

Raw values of fifty tests have fifty units and heavy tails; what goes into the lab encoder is each value's rank among
the training patients. A percentile of 0 with observed 0 means that nobody ordered the test. The scaler learns from
training patients only, and the mask is always called ``observed`` (1 = measured).

It refuses tables without one of the fifty columns, values that are no numbers, and inverted masks.

Source: rajesh-lab/symile (percentiles and mask), specification of the ECG and lab side, section 2.4.
"""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pacx.core.artifacts import staged_file
from pacx.core.errors import DataError
from pacx.core.vocabulary import LAB_ITEM_IDS, LAB_TESTS, NUM_LABS
from pacx.modalities.targets import FrozenTargets, named, target_fingerprint
from pacx.models.labs_dae import LabsDenoisingAutoencoder

_CONSTANT_BELOW = 1e-6
_BATCH = 1024


def _require_rows(what: str, sample_ids: Sequence[str], *arrays: NDArray[np.floating]) -> None:
    if len(set(sample_ids)) != len(sample_ids):
        twice = sorted(name for name, count in Counter(sample_ids).items() if count > 1)
        raise DataError(f"{what} name a sample more than once ({named(twice)}); keep one row each")
    for array in arrays:
        if array.shape != (len(sample_ids), NUM_LABS):
            raise DataError(
                f"{what} have shape {array.shape} for {len(sample_ids)} samples, expected (samples, {NUM_LABS}); "
                "give one column per test in the order of LAB_ITEM_IDS"
            )


@dataclass(frozen=True, eq=False)
class LabTable:
    """Raw values of the fifty tests.

    Args:
        sample_ids: N different ids.
        values: (N, 50) float64 in each test's own unit, columns in the order of ``LAB_ITEM_IDS``; NaN = not measured.

    Raises:
        DataError: shapes do not match, an id occurs twice, or a value is infinite.
    """

    sample_ids: tuple[str, ...]
    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "sample_ids", tuple(map(str, self.sample_ids)))
        _require_rows("lab values", self.sample_ids, self.values)
        for row, column in np.argwhere(np.isinf(self.values))[:1]:
            raise DataError(
                f"lab value of {LAB_TESTS[column].name} for sample {self.sample_ids[row]} is infinite; "
                "leave it blank if it was not measured"
            )

    def select(self, rows: NDArray[np.int64]) -> "LabTable":
        """The table of some rows, for example of the training patients."""
        return LabTable(tuple(self.sample_ids[row] for row in rows), self.values[rows])


@dataclass(frozen=True, eq=False)
class LabPercentiles:
    """What the lab encoder takes.

    Args:
        sample_ids: N different ids.
        percentiles: (N, 50) float32 in [0, 1]; anything within that range where not observed.
        observed: (N, 50) float32, 1 = measured, 0 = missing; at least one per sample.

    Raises:
        DataError: shapes do not match, values are out of range, a sample has no labs, or the mask is inverted.
    """

    sample_ids: tuple[str, ...]
    percentiles: NDArray[np.float32]
    observed: NDArray[np.float32]

    def __post_init__(self) -> None:
        object.__setattr__(self, "sample_ids", tuple(map(str, self.sample_ids)))
        _require_rows("lab percentiles", self.sample_ids, self.percentiles, self.observed)
        if not ((self.percentiles >= 0) & (self.percentiles <= 1)).all():
            raise DataError("lab percentiles must lie in [0, 1] without NaN; scale raw values with PercentileScaler")
        check_observed_polarity(self.percentiles, self.observed)
        empty = [self.sample_ids[row] for row in np.flatnonzero(self.observed.sum(axis=1) == 0)]
        if empty:
            raise DataError(f"samples without a single lab value ({named(empty)}) cannot be embedded; leave them out")


def check_observed_polarity(percentiles: NDArray[np.floating], observed: NDArray[np.number]) -> None:
    """Refuse a mask that is inverted or belongs to other values.

    Placeholders of one test are all the same number (0, or the mean that was imputed); measured values are not. So
    within a column, values must not vary where the mask says missing.

    Args:
        percentiles: (N, 50) placeholders included, as in Symile-MIMIC's ``labs_percentiles``.
        observed: (N, 50), 1 = measured, as in its ``labs_missingness`` in spite of that name.

    Raises:
        DataError: the mask has other values than 0 and 1, is inverted, or does not fit the values.
    """
    if not np.isin(observed, (0, 1)).all():
        raise DataError(
            "the observed mask of the labs has values other than 0 and 1; expected 1 = measured and 0 = missing"
        )

    def varying_columns(chosen: NDArray[np.bool_]) -> int:
        counts = chosen.sum(axis=0)
        highest = np.where(chosen, percentiles, -np.inf).max(axis=0, initial=-np.inf)
        lowest = np.where(chosen, percentiles, np.inf).min(axis=0, initial=np.inf)
        return int(((counts > 1) & (highest > lowest + _CONSTANT_BELOW)).sum())

    missing_vary, measured_vary = varying_columns(observed == 0), varying_columns(observed == 1)
    if missing_vary and not measured_vary:
        raise DataError(
            "the observed mask of the labs is inverted: values vary where it says missing and are constant where it "
            "says measured; expected 1 = measured, so pass 1 - mask"
        )
    if missing_vary:
        raise DataError(
            f"the observed mask of the labs does not fit the values: in {missing_vary} columns values vary where it "
            "says missing; check that both arrays have the same rows and columns"
        )


def _number(text: str, item_id: int, sample_id: str) -> float:
    try:
        return float(text) if text.strip() else np.nan
    except ValueError as error:
        raise DataError(
            f"lab value of item {item_id} for sample {sample_id} is not a number; leave it blank if it was not measured"
        ) from error


def read_wide_csv(path: Path) -> LabTable:
    """Read labs from a CSV file with a column ``sample_id`` and one column per MIMIC item id (50802, 50804, ...).

    Blank means not measured; the order of columns is free, other columns are passed over.

    Raises:
        DataError: the file or one of the columns is missing, or a value is no number.
    """
    if not path.is_file():
        raise DataError(f"{path} is not a file; give the CSV file of laboratory values")
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        columns = set(reader.fieldnames or ())
        absent = [name for name in ("sample_id", *map(str, LAB_ITEM_IDS)) if name not in columns]
        if absent:
            raise DataError(
                f"{path} has no column {named(absent)}; expected sample_id and one column per item id of the "
                f"{NUM_LABS} tests, blank where not measured"
            )
        ids, rows = [], []
        for record in reader:
            ids.append(record["sample_id"])
            rows.append([_number(record[str(item)] or "", item, record["sample_id"]) for item in LAB_ITEM_IDS])
    return LabTable(tuple(ids), np.asarray(rows, np.float64).reshape(-1, NUM_LABS))


class PercentileScaler:
    """Rank of a value among the training patients: the empirical distribution function of each test.

    Right-continuous: percentile(v) = share of training values <= v. So a value below all of them gets exactly 0, the
    largest and everything above it 1, and ties share the highest rank. A missing value becomes 0 with observed 0; so
    does a test that no training patient had, because nothing is known about its values.

    ``sorted_values_`` holds each test's training values in ascending order, without NaN.

    Source: rajesh-lab/symile, data_processing/symile_mimic.
    """

    sorted_values_: tuple[NDArray[np.float64], ...]

    def fit(self, table: LabTable) -> "PercentileScaler":
        """Learn the distributions from training patients, and from nobody else."""
        self.sorted_values_ = tuple(np.sort(column[~np.isnan(column)]) for column in table.values.T)
        return self

    def transform(self, table: LabTable) -> LabPercentiles:
        """Percentiles and observed mask of any patients.

        Raises:
            DataError: the scaler was not fitted, or a patient has no value that can be ranked.
        """
        if not hasattr(self, "sorted_values_"):
            raise DataError("the lab scaler has not seen training patients yet; call fit or load one first")
        percentiles = np.zeros(table.values.shape, np.float32)
        observed = np.zeros(table.values.shape, np.float32)
        for column, known in enumerate(self.sorted_values_):
            values = table.values[:, column]
            rows = np.flatnonzero(~np.isnan(values)) if len(known) else np.empty(0, np.int64)
            ranks = np.searchsorted(known, values[rows], side="right")
            percentiles[rows, column] = ranks / max(1, len(known))
            observed[rows, column] = 1
        return LabPercentiles(table.sample_ids, percentiles, observed)

    def save(self, path: Path) -> None:
        """Write the learnt distributions to one .npz file."""
        lengths = np.array([len(values) for values in self.sorted_values_])
        with staged_file(path) as partial, partial.open("wb") as file:
            np.savez(file, item_ids=LAB_ITEM_IDS, lengths=lengths, values=np.concatenate(self.sorted_values_))

    @classmethod
    def load(cls, path: Path) -> "PercentileScaler":
        """Read what ``save`` wrote.

        Raises:
            DataError: the file is missing, damaged, or made for other tests.
        """
        try:
            with np.load(path, allow_pickle=False) as saved:
                item_ids, lengths, values = saved["item_ids"], saved["lengths"], saved["values"]
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise DataError(f"{path} is not a saved lab scaler; fit one on training patients and save it") from error
        if tuple(item_ids.tolist()) != LAB_ITEM_IDS or lengths.sum() != len(values):
            raise DataError(
                f"{path} is a lab scaler for other tests than the {NUM_LABS} of this version; fit a new one"
            )
        scaler = cls()
        scaler.sorted_values_ = tuple(np.split(values, np.cumsum(lengths)[:-1]))
        return scaler


@torch.no_grad()
def embed_labs(
    model: LabsDenoisingAutoencoder,
    labs: LabPercentiles,
    *,
    zero_missing: bool = True,
    device: torch.device | str = "cpu",
) -> FrozenTargets:
    """Embed every patient's labs once, as frozen distillation targets (N, 256).

    Args:
        model: the trained lab autoencoder; it is put into eval mode on ``device``.
        labs: percentiles and mask.
        zero_missing: see ``LabsDenoisingAutoencoder.encode``.
        device: where to compute.
    """
    model = model.eval().to(device)
    rows = []
    for start in range(0, len(labs.sample_ids), _BATCH):
        part = slice(start, start + _BATCH)
        percentiles, observed = (torch.from_numpy(a[part]).to(device) for a in (labs.percentiles, labs.observed))
        rows.append(model.encode(percentiles, observed, zero_missing=zero_missing).cpu().numpy())
    contract = {"zero_missing": zero_missing, "item_ids": list(LAB_ITEM_IDS)}
    fingerprint = target_fingerprint(model, contract, labs.percentiles, labs.observed, labs.sample_ids)
    return FrozenTargets("labs", labs.sample_ids, np.concatenate(rows).astype(np.float32), fingerprint)
