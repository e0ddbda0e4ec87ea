"""Which samples of a physiological signal a stage learns from: a pack's split where films exist, else by patient."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.core.errors import DataError
from pacx.core.progress import announce
from pacx.core.tables.ids import how_they_would_meet, whole_number_id
from pacx.data.packs.pack import Pack
from pacx.data.pairs.linked_films import require_same_links
from pacx.data.splits import assign_splits
from pacx.recipes.rows import rows_of_samples

_FEWEST_MET = 0.5
_SHARES = (0.8, 0.2, 0.0)
"""Signals without films: more is held out than of films, because there are fewer of them."""


def told(*notes: str) -> tuple[str, ...]:
    """Notes on how recordings were read, said on standard error as they are handed on to be kept with the run."""
    for note in notes:
        announce(note)
    return notes


def samples_met(
    pack: Path | None, sample_ids: Sequence[str], *, is_partial: bool, notes: Sequence[str] = ()
) -> tuple[str, ...]:
    """How many samples have a film in a pack, for the notes of a run; nothing without a pack.

    Args:
        pack: films of the same samples.
        sample_ids: N ids.
        is_partial: whether it may be fewer than half of the samples or of the films, whichever are fewer.
        notes: on how the samples came about.

    Raises:
        DataError: it is fewer; the message says what keeps their ids apart. Or both were linked, and not by the same.
    """
    if pack is None:
        return ()
    opened = Pack.open(pack)
    require_same_links({str(pack): opened.manifest.notes, "the samples": notes})
    films = [whole_number_id(film) for film in opened.sample_ids]
    num_met = len(set(sample_ids) & set(films))
    said = f"{num_met:,} of {len(sample_ids):,} samples have one of the {len(films):,} films of {pack}"
    if num_met < _FEWEST_MET * min(len(sample_ids), len(films)) and not is_partial:
        hint = how_they_would_meet(sample_ids, films)
        raise DataError(f"only {said}{hint}; give both the same sample ids, or say --partial-pairs if that is right")
    return (said,)


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
