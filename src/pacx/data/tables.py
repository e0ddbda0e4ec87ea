"""The csv tables that the makers of a dataset ship: everything is text, columns are found by name, shape is law.

Stands between a file and an adapter. A row that is too long or too short, a missing column, a word where a number
belongs or an unknown code is refused in one sentence that names the file and the line; nothing is coerced in silence.
Reads plain and gzipped files, and keeps no more than the columns that are asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pacx.core.errors import DataError
from pacx.data.dataset import DatasetCard
from pacx.data.text_tables import open_text_table

if TYPE_CHECKING:
    import pandas as pd


_HEADER_LINES = 1
_NUM_CHARACTERS_SHOWN = 30


@dataclass(frozen=True)
class SourceTable:
    """Some columns of one csv file, as stripped text; a blank cell is "".

    Args:
        path: the file, for messages.
        columns: one text column per name, a row per line of the file.
    """

    path: Path
    columns: "pd.DataFrame"

    def __len__(self) -> int:
        return len(self.columns)

    def __contains__(self, name: str) -> bool:
        return name in self.columns.columns

    def text(self, name: str) -> "pd.Series[str]":
        """A column as it stands in the file."""
        return self.columns[name]

    def numbers(self, name: str) -> "pd.Series[float]":
        """A column as finite numbers, NaN where the cell is blank.

        Raises:
            DataError: a cell holds something else.
        """
        import pandas as pd

        text = self.columns[name]
        values = pd.to_numeric(text.where(text != ""), errors="coerce").astype("float64")
        self.require(name, (text == "") | np.isfinite(values), "a number or blank")
        return values

    def coded(self, name: str, meaning: Mapping[str, float]) -> "pd.Series[float]":
        """A column in which only certain words stand, each replaced by its meaning.

        Raises:
            DataError: a cell holds another word.
        """
        text = self.columns[name]
        words = " / ".join(word or "blank" for word in meaning)
        self.require(name, text.isin(list(meaning)), words)
        return text.map(meaning).astype("float64")

    def matching(self, name: str, pattern: str, expected: str) -> "pd.DataFrame":
        """The groups of a regular expression that every cell of a column matches from start to end.

        Raises:
            DataError: a cell does not match; the message says what was ``expected``.
        """
        text = self.columns[name]
        self.require(name, text.str.fullmatch(pattern), expected)
        return text.str.extract(pattern)

    def require(self, name: str, is_right: "pd.Series[bool]", expected: str) -> None:
        """Refuse the table where a column is not what it has to be.

        Raises:
            DataError: some rows are not right; the message names the first.
        """
        wrong = np.flatnonzero(~is_right.to_numpy(bool))
        if wrong.size:
            cell = str(self.columns[name].iloc[wrong[0]])
            shown = cell if len(cell) <= _NUM_CHARACTERS_SHOWN else cell[:_NUM_CHARACTERS_SHOWN] + "..."
            raise DataError(
                f"column '{name}' of {self.path} holds '{shown}' in line {wrong[0] + _HEADER_LINES + 1} "
                f"({wrong.size} rows are like that); expected {expected}"
            )


def read_table(path: Path, columns: Sequence[str], *, card: DatasetCard, optional: Sequence[str] = ()) -> SourceTable:
    """Read a csv file with one header line.

    A comma at the end of all rows, or of the header alone, is passed over.

    Args:
        path: the file, ``.csv`` or ``.csv.gz``.
        columns: names it must have.
        card: whose file it is, for messages.
        optional: names that are kept where it has them.

    Raises:
        DataError: the file is missing, is no such table, lacks a column or has no row.
    """
    if not path.is_file():
        raise missing(path, card)
    table = open_text_table(path, delimiters=",", only_utf8=True)
    wanted = [name for name in (*columns, *optional) if name in table.names]
    lacking = [name for name in columns if name not in table.names]
    if lacking:
        raise DataError(f"{path} lacks column '{lacking[0]}'; it has {', '.join(table.names)}")
    frame = table.all(wanted)
    if frame.empty:
        raise DataError(f"{path} has no row; expected at least one below the header")
    return SourceTable(path, frame)


def missing(path: Path, card: DatasetCard) -> DataError:
    """What to raise when a dataset's tree lacks a file or folder: it says how the tree should look."""
    return DataError(f"{path} is missing; the root of {card.name} is expected to hold {'; '.join(card.layout)}")
