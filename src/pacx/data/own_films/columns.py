"""Rows of a person's table, and its columns that are neither ids nor labels: ages, and whatever passes through."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pacx.core.errors import DataError
from pacx.core.tables.cells import is_unknown
from pacx.core.tables.numbers import NumberCells
from pacx.data.text_tables import open_text_table, without_blank_rows

if TYPE_CHECKING:
    import pandas as pd


_AGE_STRING = re.compile(r"\s*(\d{1,3})\s*([YMWD])\s*", re.IGNORECASE)
_PER_YEAR = {"Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}
_OLDEST = 130


def rows_of_films(csv: Path) -> tuple["pd.DataFrame", tuple[str, ...]]:
    """The rows of a table that are not blank, as text, and what a reader of results should know of how it was read.

    Raises:
        UsageError: there is no such file.
        DataError: it is no table, or has no row.
    """
    opened = open_text_table(csv)
    filled = without_blank_rows(cells := opened.all())
    if filled.empty:
        raise DataError(f"{csv} has no row; expected one per film")
    num_blank = len(cells) - len(filled)
    return filled, (*opened.notes, *([f"{num_blank} blank rows of {csv} were passed over."] if num_blank else []))


def ages(cells: Sequence[str]) -> tuple[list[float], int]:
    """Ages in years, NaN where not known, and how many cells say something else.

    DICOM writes 061Y, 011M, 003W and 010D (PS3.5, value representation AS); a number is one of years.

    Example:
        >>> ages(["061Y", "6M", "47", "NA", "young"])
        ([61.0, 0.5, 47.0, nan, nan], 1)
    """
    texts = [_in_years(cell) for cell in cells]
    values, is_bad = NumberCells().read(texts)
    is_bad |= (values < 0) | (values > _OLDEST)
    values[is_bad] = math.nan
    return values.tolist(), int(is_bad.sum())


def _in_years(cell: str) -> str:
    found = _AGE_STRING.fullmatch(cell)
    return str(int(found[1]) / _PER_YEAR[found[2].upper()]) if found else cell


def numbers_or_text(column: "pd.Series[str]") -> "pd.Series":
    """A column that passes through: numbers where every cell that says something is one, else the text as it stands."""
    import pandas as pd

    is_filled = ~column.map(is_unknown).astype(bool)
    numbers = pd.to_numeric(column.where(is_filled), errors="coerce")
    return numbers if is_filled.any() and not (numbers.isna() & is_filled).any() else column
