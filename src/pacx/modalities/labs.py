"""Laboratory tests as a modality: raw values -> percentiles and an observed mask -> frozen 256-d target.

Columns stand in the order of ``LAB_TESTS``. A value becomes its percentile among the *training* patients' values of
that test; a missing test becomes 0 with observed 0. The mask is always called ``observed``, 1 = measured: the name of
Symile's array ("missingness") says the opposite of what it holds, and ``check_observed_polarity`` catches whoever
believes the name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from pacx.core.artifacts import read_json, write_json
from pacx.core.errors import DataError
from pacx.core.vocabulary import LAB_ITEM_IDS, NUM_LABS
from pacx.modalities.targets import FrozenTargets, fingerprint_of
from pacx.models.labs_dae import LabsDenoisingAutoencoder

MODALITY = "labs"
_BATCH = 1024


@dataclass(frozen=True, kw_only=True)
class LabTable:
    """Raw laboratory values of one sample a row.

    Args:
        sample_ids: N unique ids.
        values: float64 (N, 50) in the tests' own units, NaN = not measured.

    Raises:
        DataError: ids repeat, the shape is wrong, a value is infinite, or a sample has no value at all.
    """

    sample_ids: tuple[str, ...]
    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.sample_ids), NUM_LABS):
            raise DataError(f"lab values have shape {self.values.shape}, expected ({len(self.sample_ids)}, {NUM_LABS})")
        if len(set(self.sample_ids)) < len(self.sample_ids):
            raise DataError("a sample id occurs twice among the lab rows; expected one row per sample")
        if np.isinf(self.values).any():
            raise DataError("a lab value is infinite; leave what was not measured blank")
        empty = np.flatnonzero(np.isnan(self.values).all(axis=1))
        if empty.size:
            raise DataError(
                f"{empty.size} samples have no lab value at all, the first is {self.sample_ids[empty[0]]}; "
                "leave such samples out"
            )


def read_wide_csv(path: Path) -> LabTable:
    """Read a table with ``sample_id`` and one column per MIMIC item id (raw values, blank = not measured).

    Raises:
        DataError: the file or a column is missing, or a cell is not a number.
    """
    try:
        table = pd.read_csv(path, dtype={"sample_id": str})
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no readable csv of lab values; give sample_id and item ids") from error
    missing = [name for name in ("sample_id", *map(str, LAB_ITEM_IDS)) if name not in table.columns]
    if missing:
        raise DataError(f"{path} lacks the columns {missing[:5]}; expected sample_id and one column per item id")
    try:
        values = table[[str(item) for item in LAB_ITEM_IDS]].to_numpy(np.float64)
    except ValueError as error:
        raise DataError(f"{path} holds a lab value that is not a number; leave what was not measured blank") from error
    return LabTable(sample_ids=tuple(table["sample_id"]), values=values)


class PercentileScaler:
    """Empirical distribution of every test among the training patients.

    A value's percentile is the share of the training values that are at most as large: ties share the highest rank, a
    value below all of them gets 0, one at or above the largest gets 1.

    Attributes:
        sorted_values_: after ``fit``, one ascending array of training values per test.

    Source: Symile-MIMIC's own percentiles (right-continuous, train only).
    """

    def __init__(self) -> None:
        self.sorted_values_: list[NDArray[np.float64]] = []

    def fit(self, values: NDArray[np.float64]) -> "PercentileScaler":
        """Learn the distributions from training patients' raw values (N, 50), NaN = not measured.

        Raises:
            DataError: the shape is wrong.
        """
        if values.ndim != 2 or values.shape[1] != NUM_LABS:
            raise DataError(f"lab values have shape {values.shape}, expected (patients, {NUM_LABS})")
        self.sorted_values_ = [np.sort(column[~np.isnan(column)]) for column in values.T]
        return self

    def transform(self, values: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Raw values (N, 50) to percentiles in [0, 1] and the observed mask, both float32 (N, 50).

        A test that no training patient had counts as not observed: its percentile would mean nothing.

        Raises:
            DataError: nothing was fitted.
        """
        if not self.sorted_values_:
            raise DataError("the percentile scaler was never fitted; fit it on the training patients first")
        percentiles = np.zeros(values.shape, np.float32)
        observed = ~np.isnan(values)
        for column, known in enumerate(self.sorted_values_):
            if known.size == 0:
                observed[:, column] = False
                continue
            measured = observed[:, column]
            ranks = np.searchsorted(known, values[measured, column], side="right")
            percentiles[measured, column] = ranks / known.size
        return percentiles, observed.astype(np.float32)

    def save(self, path: Path) -> None:
        """Write the distributions as JSON."""
        tests = zip(LAB_ITEM_IDS, self.sorted_values_, strict=True)
        write_json(path, {str(item): known.tolist() for item, known in tests})

    @classmethod
    def load(cls, path: Path) -> "PercentileScaler":
        """Read what ``save`` wrote.

        Raises:
            DataError: the file is missing, or is for other tests.
        """
        stored = read_json(path)
        if list(stored) != [str(item) for item in LAB_ITEM_IDS]:
            raise DataError(f"{path} holds percentiles of other tests than this version's {NUM_LABS}; fit them again")
        scaler = cls()
        scaler.sorted_values_ = [np.asarray(known, np.float64) for known in stored.values()]
        return scaler


def check_observed_polarity(percentiles: NDArray[np.floating], observed: NDArray[np.generic]) -> None:
    """Refuse an inverted observed mask, from arrays in which missing values were imputed by a constant per test.

    Where a test is missing, its value is that constant; where it was measured, values differ. The mask under which
    the *measured* values are constant is inverted.

    Raises:
        DataError: the mask is inverted, holds something other than 0 and 1, or leaves a patient without a value.
    """
    mask = np.asarray(observed)
    if not np.isin(mask, (0, 1)).all():
        raise DataError("the observed mask holds values other than 0 and 1; 1 means measured")
    constant_measured = constant_missing = 0
    for column in range(percentiles.shape[1]):
        for value, is_measured in ((1, True), (0, False)):
            part = percentiles[mask[:, column] == value, column]
            if part.size > 1 and np.ptp(part) < 1e-6:
                constant_measured += is_measured
                constant_missing += not is_measured
    if constant_measured > constant_missing:
        raise DataError(
            "the observed mask is inverted: values that it calls measured are constant in "
            f"{constant_measured} tests; 1 has to mean measured (Symile's 'missingness' array already does)"
        )
    if not mask.any(axis=1).all():
        raise DataError("a patient has no observed lab value; leave such patients out")


def embed_labs(
    model: LabsDenoisingAutoencoder,
    sample_ids: Sequence[str],
    percentiles: NDArray[np.float32],
    observed: NDArray[np.float32],
    *,
    released_code: bool = False,
) -> FrozenTargets:
    """Freeze the labs of every sample into a target.

    Args:
        model: the trained autoencoder.
        sample_ids: N ids.
        percentiles: (N, 50) in [0, 1].
        observed: (N, 50), 1 = measured.
        released_code: feed imputed values where a test is missing, as the authors' extraction did although their
            network was trained on zeros there.
    """
    parts = []
    with torch.inference_mode():
        for start in range(0, len(percentiles), _BATCH):
            rows = slice(start, start + _BATCH)
            values, mask = torch.from_numpy(percentiles[rows]), torch.from_numpy(observed[rows])
            parts.append(model.encode(values, mask, zero_missing=not released_code).numpy())
    weights = [tensor.detach().cpu().numpy() for tensor in model.encoder.state_dict().values()]
    return FrozenTargets(
        modality=MODALITY,
        sample_ids=tuple(map(str, sample_ids)),
        embeddings=np.concatenate(parts),
        fingerprint=fingerprint_of({"released_code": released_code}, *weights, percentiles, observed),
    )
