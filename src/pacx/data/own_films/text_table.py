"""A person's own table as text: found out how it is written, and refused where it is not whole.

Commas, semicolons, tabs or bars between cells; UTF-8 or UTF-16; packed with gzip or not. Rows in which every cell is
blank are no rows. A row that is longer or shorter than the header is a cut-off or shifted one, and no row is moved to
make it fit. No message quotes a cell.
"""

import csv
import gzip
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pacx.core.errors import DataError, UsageError
from pacx.data.records import shown

if TYPE_CHECKING:
    import pandas as pd


_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_GZIP_MARK = b"\x1f\x8b"
_WORKBOOK_MARKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_NAMELESS = "Unnamed: 0"


@dataclass(frozen=True)
class TextTable:
    """A table whose cells are text without blanks around it.

    Args:
        cells: a column per name of the header, a row per row that is not blank.
        notes: how it was written, where that is not comma-separated UTF-8, and what was passed over.
    """

    cells: "pd.DataFrame"
    notes: tuple[str, ...]


def read_text_table(path: Path) -> TextTable:
    """Read a table with a header line.

    Raises:
        UsageError: it is not there.
        DataError: it is no such table, a row has another number of cells than the header, a name occurs twice, or there
            is no row.
    """
    import pandas as pd

    text, notes = _text(path)
    separator, text = _separator(text)
    if separator != ",":
        notes.append(f"{path} is separated by {_SEPARATORS[separator]}.")
    try:
        lines = io.StringIO(text, newline="")
        rows = [row for row in csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True) if row]
    except csv.Error:  # its message may quote the file
        raise _no_table(path) from None
    if not rows or not any(cell.strip() for cell in rows[0]):
        raise _no_table(path)
    header, body = [name.strip() for name in rows[0]], rows[1:]
    filled = [row for row in body if any(cell.strip() for cell in row)]
    if len(filled) < len(body):
        notes.append(f"{len(body) - len(filled)} blank rows of {path} were passed over.")
    if not filled:
        raise DataError(f"{path} has no row; expected one per film")
    header, filled = _of_one_length(header, filled, path)
    twice = [f"'{name}'" for name, count in Counter(header).items() if count > 1]
    if twice:
        raise DataError(f"{path} has more than one column {shown(twice)}; rename all but one")
    columns = {
        name: [cell.strip() for cell in column] for name, column in zip(header, zip(*filled, strict=True), strict=True)
    }
    return TextTable(pd.DataFrame(columns, dtype=str), tuple(notes))


def _text(path: Path) -> tuple[str, list[str]]:
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if data.startswith(_GZIP_MARK) else data
    except FileNotFoundError as error:
        raise UsageError(f"{path} is not there; give the path of the table") from error
    except (OSError, EOFError) as error:
        raise DataError(
            f"{path} cannot be read: {type(error).__name__}; give a table that is whole and readable"
        ) from error
    if data.startswith(_WORKBOOK_MARKS):
        raise DataError(f"{path} is a workbook or an archive, not a table of text; save it as CSV UTF-8")
    try:
        if data.startswith(_UTF16_MARKS):
            return data.decode("utf-16"), [f"{path} is written in UTF-16."]
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _no_table(path) from None
    if "\0" in text:
        raise _no_table(path)
    return text, []


def _separator(text: str) -> tuple[str, str]:
    """What stands between cells, and the text without a spreadsheet's own line about it."""
    first, _, rest = text.partition("\n")
    if first.strip().casefold().removesuffix(first.strip()[-1:]) == "sep=" and first.strip()[-1:] in _SEPARATORS:
        return first.strip()[-1], rest
    if first.rstrip("\r").casefold() == "sep=\t":
        return "\t", rest
    unquoted = "".join(text.lstrip().partition("\n")[0].split('"')[::2])
    found = max(_SEPARATORS, key=unquoted.count)
    return (found if found in unquoted else ","), text


def _of_one_length(header: list[str], rows: list[list[str]], path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows without a nameless last column that is blank, and with a name for nameless row numbers."""
    lengths = {len(row) for row in rows}
    if lengths == {len(header) + 1}:
        if not any(row[-1].strip() for row in rows):  # a separator at the end of every row
            return header, [row[:-1] for row in rows]
        header = ["", *header]  # R writes the names of rows and no name above them
    if lengths == {len(header) - 1} and not header[-1]:
        header = header[:-1]
    wrong = [number for number, row in enumerate(rows, 1) if len(row) != len(header)]
    if wrong:
        raise DataError(
            f"{len(wrong)} rows of {path} have another number of cells than the header's {len(header)}, the first is "
            f"row {wrong[0]}; the file is cut off or a separator stands in a cell without quotes"
        )
    if len(header) > 1 and not header[-1] and not any(row[-1].strip() for row in rows):
        header, rows = header[:-1], [row[:-1] for row in rows]
    return [name or (_NAMELESS if place == 0 else "") for place, name in enumerate(header)], rows


def _no_table(path: Path) -> DataError:
    return DataError(
        f"{path} cannot be read as a comma-separated table in UTF-8 with a header line; save it as CSV UTF-8"
    )
