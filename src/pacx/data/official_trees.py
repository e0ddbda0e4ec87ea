"""Official trees: where a file or folder lies below the root a user gave, and which films a folder holds.

`root -> folder`. Archives unpack to one folder more or less than their documentation says, so a landmark is looked for
a few levels down. Whatever is missing is named in one sentence with the layout that was expected. What the datasets cut
from MIMIC have in common stands here too: ids that are numbers, and the labels of the CheXpert labeller.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pacx.core.errors import DataError, UsageError
from pacx.data.dataset import DatasetCard, Issue
from pacx.data.film_folders import candidates_below, has_film_ending
from pacx.data.records import Records, shown
from pacx.data.tables import SourceTable, missing

if TYPE_CHECKING:
    import pandas as pd


CHEXPERT_CODES: Mapping[str, float] = {
    **dict.fromkeys(("1", "1.0"), 1.0),
    **dict.fromkeys(("0", "0.0"), 0.0),
    **dict.fromkeys(("", "-1", "-1.0"), np.nan),
}
"""The CheXpert labeller's 1, 0, -1 (uncertain) and blank (not mentioned); the last two are unknown."""

MIMIC_CXR_LANDMARKS = ("mimic-cxr-2.0.0-metadata.csv.gz", "mimic-cxr-2.0.0-metadata.csv")
"""By either of which a copy of MIMIC-CXR-JPG is known."""


def mimic_cxr_table(folder: Path, part: str) -> Path:
    """Where a copy of MIMIC-CXR-JPG has a table such as "split", unpacked or not; it need not be there."""
    places = [folder / landmark.replace("metadata", part) for landmark in MIMIC_CXR_LANDMARKS]
    return next((place for place in places if place.is_file()), places[0])


_DEPTH = 3


def find_folder(root: Path, landmark: str, card: DatasetCard) -> Path:
    """The folder that holds ``landmark``: the root itself, or the highest one up to three folders below it.

    Raises:
        UsageError: ``root`` is not a folder.
        DataError: the landmark is nowhere, or in two places of the same depth.
    """
    found = look_for(root, (landmark,))
    if found is None:
        raise missing(root / landmark, card)
    return found


def look_for(root: Path, landmarks: Sequence[str]) -> Path | None:
    """The highest folder that holds any of the ``landmarks``; None where there is none.

    Raises:
        UsageError: ``root`` is not a folder.
        DataError: two folders of the same depth do.
    """
    if not root.is_dir():
        raise UsageError(f"{root} is not a folder; give the folder of the dataset")
    for depth in range(_DEPTH + 1):
        places = sorted(
            {path.parents[landmark.count("/")] for landmark in landmarks for path in root.glob("*/" * depth + landmark)}
        )
        if len(places) > 1:
            names = shown([str(place) for place in places])
            raise DataError(f"{root} holds {landmarks[0]} in {len(places)} folders ({names}); give the path of one")
        if places:
            return places[0]
    return None


def film_names(folder: Path, card: DatasetCard) -> list[str]:
    """Names of the image files in a folder, sorted; hidden files are passed over.

    Raises:
        DataError: the folder is not there or holds none.
    """
    if not folder.is_dir():
        raise missing(folder, card)
    names = list(candidates_below(folder, has_film_ending, pattern="*").chosen)
    if not names:
        raise DataError(f"{folder} holds no film; the root of {card.name} is expected to hold {'; '.join(card.layout)}")
    return names


def unlisted_files(records: Records, columns: Sequence[str]) -> list[Issue]:
    """Files in the folders of the records' own films or masks that no record names.

    For datasets whose options leave whole folders out, so that patterns below the root would find too many.

    Args:
        records: what was read.
        columns: the columns of paths whose folders are looked through.
    """
    surplus = []
    for column in columns:
        places = records.table[column].str.rpartition("/")
        for folder, names in places[places[2] != ""].groupby(0)[2]:
            known = set(names)
            found = sorted((records.root / str(folder)).glob("[!.]*"))
            surplus += [f"{folder}/{path.name}" for path in found if path.name not in known and path.is_file()]
    if not surplus:
        return []
    message = f"{len(surplus)} files belong to no record: {shown(surplus)}; the dataset does not have them"
    return [Issue(check="surplus files", message=message, files=tuple(surplus))]


def own_patient_note(what: str) -> str:
    """What a reader of results has to know where the makers give no patient ids."""
    return f"{what} have no patient id and count as one patient each: films of one person may lie in two splits."


def ids(table: SourceTable, name: str) -> "pd.Series[str]":
    """A column of numeric ids as text without a decimal point.

    Raises:
        DataError: a cell is no whole number.
    """
    return table.matching(name, r"(\d+)(?:\.0)?", "a whole number")[0]
