"""Which rows of a pack a stage learns from and which it is measured on; whole patients on either side."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pacx.core.errors import DataError
from pacx.data.pack import Pack
from pacx.data.records import Records
from pacx.data.splits import assign_splits


def train_and_held_out(
    pack: Pack, seed: int, held_out_fraction: float = 0.05
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to learn from and rows to measure on while learning.

    The pack's own train and validation splits where it has both; otherwise a share of patients is held out. Rows of a
    test split are never used.

    Raises:
        DataError: there is nothing to learn from, or nobody to hold out.
    """
    fitting, held_out = pack.rows("train"), pack.rows("val")
    if len(held_out) == 0:
        usable = np.flatnonzero(pack.table["split"].to_numpy() != "test")
        split = assign_splits(
            pack.table.iloc[usable], (), fractions=(1 - held_out_fraction, held_out_fraction, 0.0), seed=seed
        )
        fitting, held_out = usable[(split == "train").to_numpy()], usable[(split == "val").to_numpy()]
    if len(fitting) == 0 or len(held_out) == 0:
        raise DataError(
            f"{pack.path} gives {len(fitting)} training and {len(held_out)} validation films; pack more films"
        )
    return fitting, held_out


def rows_of_samples(pack: Pack, sample_ids: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which of these samples belong to the pack's training and validation films, by id and never by position.

    Raises:
        DataError: no sample belongs to one of the two.
    """
    split = dict(zip(pack.sample_ids, pack.table["split"], strict=True))
    of_sample = np.array([split.get(str(sample), "") for sample in sample_ids])
    fitting, held_out = np.flatnonzero(of_sample == "train"), np.flatnonzero(of_sample == "val")
    if len(fitting) == 0 or len(held_out) == 0:
        raise DataError(
            f"of {len(sample_ids)} samples {len(fitting)} are in the training and {len(held_out)} in the validation "
            f"split of {pack.path}; check that both carry the same sample ids"
        )
    return fitting, held_out


TESTED, UNTESTED = (0.7, 0.1, 0.2), (0.95, 0.05, 0.0)
"""Shares of patients in training, validation and test: with something to test on, and without."""


def with_splits(records: Records, seed: int, fractions: tuple[float, float, float] | None = None) -> Records:
    """Records whose every film has a split: the dataset's own where it has one, else by patient.

    Args:
        records: the films.
        seed: of the draw.
        fractions: shares of patients; by default ``TESTED`` for labelled or masked films, ``UNTESTED`` for others.
    """
    if (records.table["split"] != "").any():
        return records
    fractions = fractions or (TESTED if records.label_names or records.mask_names else UNTESTED)
    split = assign_splits(records.table, records.label_names, fractions=fractions, seed=seed)
    note = f"splits drawn by patient, {'/'.join(f'{100 * part:g}' for part in fractions)}, seed {seed}"
    return replace(records, table=records.table.assign(split=split), notes=(*records.notes, note))
