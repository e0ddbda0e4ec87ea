"""Which rows of a pack a stage learns from and which it is measured on; whole patients on either side."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pacx.core.errors import DataError
from pacx.data.pack import Pack
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


def evaluation_split(pack: Pack, seed: int) -> pd.Series:
    """Train, val and test for every row: the pack's own where it has all three, else 70/10/20 by patient."""
    if all(len(pack.rows(split)) for split in ("train", "val", "test")):
        return pack.table["split"]
    return assign_splits(pack.table, pack.label_names, fractions=(0.7, 0.1, 0.2), seed=seed)
