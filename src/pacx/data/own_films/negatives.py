"""Films that a table calls MONOCHROME1 and that are pictures: whether they are negatives, nobody can see in the file.

A DICOM file says itself how it is meant, and is read so. Whoever turned DICOM files into pictures may have turned the
greys round or not (PadChest's makers did not, SimpleITK does and leaves the tag as it was), and a table made from the
headers says MONOCHROME1 either way. So somebody has to look and to say.
"""

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from pacx.core.errors import UsageError
from pacx.core.tables.column_roles import folded
from pacx.data.film_folders import films_among

if TYPE_CHECKING:
    import pandas as pd


class Monochrome1(Enum):
    """What is done with pictures that a table calls MONOCHROME1."""

    ASK = "ask"
    """Nothing is read before somebody has said which of the others it is."""

    INVERT = "invert"
    """They are negatives, and are turned round."""

    KEEP = "keep"
    """They were turned round when they were made from DICOM, and are read as they are."""


def negatives(
    cells: "pd.DataFrame", paths: Sequence[str], root: Path, place: str, choice: Monochrome1
) -> tuple[list[bool], tuple[str, ...]]:
    """Which films are negatives, and what to say of it.

    Args:
        cells: the table as text, a row per film.
        paths: of the films, relative to ``root``.
        root: the folder of the films.
        place: the table, for messages.
        choice: what somebody said of them.

    Raises:
        UsageError: there are such films, and nobody said what they are.
        DataError: one of them cannot be opened.
    """
    none = [False] * len(paths)
    columns = [name for name in cells if "photometric" in folded(str(name))]
    called = cells[columns].apply(lambda column: column.str.casefold() == "monochrome1").any(axis=1).tolist()
    candidates = [path for path, is_it in zip(paths, called, strict=True) if is_it and path]
    if not candidates:
        return none, ()
    pictures = set(candidates) - films_among(candidates, root).objects.keys()
    are_meant = [is_it and path in pictures for path, is_it in zip(paths, called, strict=True)]
    num = sum(are_meant)
    if not num:
        return none, ()
    if choice is Monochrome1.ASK:
        raise UsageError(
            f"{place} calls {num} films MONOCHROME1 that are pictures and no DICOM files, so that they may be "
            "negatives; look at some, and say --monochrome1 INVERT, or KEEP if they were turned round already, or "
            f"leave them out with --where '{columns[0]}=MONOCHROME2'"
        )
    if choice is Monochrome1.KEEP:
        return none, (f"{num} pictures that {place} calls MONOCHROME1 are read as they are.",)
    return are_meant, (f"{num} pictures that {place} calls MONOCHROME1 are negatives, and are turned round.",)
