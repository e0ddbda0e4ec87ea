"""Which samples of a physiological signal a stage learns from: a pack's split where films exist, else by patient."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.data.packs.pack import Pack
from pacx.data.splits import assign_splits
from pacx.recipes.rows import rows_of_samples

_SHARES = (0.8, 0.2, 0.0)
"""Signals without films: more is held out than of films, because there are fewer of them."""


def learning_rows(
    pack: Path | None, sample_ids: Sequence[str], patient_ids: Sequence[str], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to learn from and rows to measure on.

    Args:
        pack: films of the same samples, whose split decides; None divides the patients 80 to 20.
        sample_ids: N ids.
        patient_ids: N ids; a patient is never divided.
        seed: of the division.

    Raises:
        DataError: the pack has none of the samples, or there are fewer than two patients.
    """
    import pandas as pd

    if pack is not None:
        return rows_of_samples(Pack.open(pack), sample_ids)
    split = assign_splits(pd.DataFrame({"patient_id": list(patient_ids)}), (), fractions=_SHARES, seed=seed).to_numpy()
    return np.flatnonzero(split == "train"), np.flatnonzero(split == "val")
