"""Which rows of a pack a stage learns from and which it is measured on; no patient of a test split is in either."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pacx.core.errors import DataError
from pacx.core.progress import announce
from pacx.core.tables.ids import how_they_would_meet, whole_number_id
from pacx.data.packs.pack import Pack
from pacx.data.splits import assign_splits


def train_and_held_out(
    pack: Pack, seed: int, held_out_fraction: float = 0.05
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to learn from and rows to measure on while learning.

    The pack's own train and validation splits where it has both; otherwise a share of patients is held out. No film of
    a patient who has one in the test split is used, whatever its own split; where that leaves films out, or the pack's
    splits divide patients between train and val, it is said on standard error.

    Raises:
        DataError: there is nothing to learn from, or nobody to hold out.
    """
    is_test = pack.table["split"].to_numpy() == "test"
    is_tested_on = np.isin(pack.patient_ids, pack.patient_ids[is_test])
    usable = np.flatnonzero(~is_tested_on)
    fitting, held_out = (rows[~is_tested_on[rows]] for rows in (pack.rows("train"), pack.rows("val")))
    if len(held_out) == 0 and len(set(pack.patient_ids[usable])) > 1:
        split = assign_splits(
            pack.table.iloc[usable], (), fractions=(1 - held_out_fraction, held_out_fraction, 0.0), seed=seed
        )
        fitting, held_out = usable[(split == "train").to_numpy()], usable[(split == "val").to_numpy()]
    if num_left_out := int((is_tested_on & ~is_test).sum()):
        announce(f"{pack.path}: {num_left_out} films are not trained on, their patients are in the test split")
    if num_shared := len(set(pack.patient_ids[fitting]) & set(pack.patient_ids[held_out])):
        announce(
            f"{pack.path}: its splits divide {num_shared} patients between train and val, so that validation looks "
            "better than it is; pack without those splits to have whole patients on either side"
        )
    if len(fitting) == 0 or len(held_out) == 0:
        raise DataError(
            f"{pack.path} gives {len(fitting)} training and {len(held_out)} validation films, at least one "
            "of each is needed; pack films of at least two patients that are not in the test split"
        )
    return fitting, held_out


def rows_of_samples(pack: Pack, sample_ids: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which of these samples belong to the pack's training and validation films, by id and never by position.

    Raises:
        DataError: no sample belongs to one of the two.
    """
    films = [whole_number_id(film) for film in pack.sample_ids]
    split = dict(zip(films, pack.table["split"], strict=True))
    of_sample = np.array([split.get(whole_number_id(sample), "") for sample in sample_ids])
    fitting, held_out = np.flatnonzero(of_sample == "train"), np.flatnonzero(of_sample == "val")
    if len(fitting) == 0 or len(held_out) == 0:
        raise DataError(
            f"of {len(sample_ids)} samples {len(fitting)} are in the training and {len(held_out)} in the validation "
            f"split of {pack.path}{how_they_would_meet(sample_ids, films)}; give the samples of both splits, with the "
            "pack's sample ids"
        )
    return fitting, held_out
