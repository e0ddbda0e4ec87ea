"""A csv file of any maker as text: its header, then its rows some megabytes at a time.

Stands below every reader of tables. It knows nothing of what the columns mean and changes no cell. A row that is too
long or too short, a file cut off, in another encoding or no table at all is refused in one sentence that quotes none of
it. Reads plain and compressed files (gz, bz2, zst) of any length in the same memory.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pacx.core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


DELIMITERS = ",;\t"
"""What may stand between two cells: countries with decimal commas write semicolons."""

_BYTES_AT_A_TIME = 32 * 2**20
_NO_TEXT = {
    b"\xff\xfe": "is written in UTF-16",
    b"\xfe\xff": "is written in UTF-16",
    b"PK\x03\x04": "is a spreadsheet or an archive",
    b"\xd0\xcf\x11\xe0": "is a spreadsheet",
    b"PAR1": "is a Parquet file",
}
_GZIP = b"\x1f\x8b"
_REMEDY = "save it as a csv in UTF-8 with a header line"


@dataclass(frozen=True)
class TextTable:
    """A csv whose header was read.

    Args:
        path: the file.
        names: of its columns, without blanks around them; they may occur twice.
        delimiter: what stands between two cells.
    """

    path: Path
    names: tuple[str, ...]
    delimiter: str = ","

    def chunks(self, columns: Sequence[str]) -> "Iterator[pd.DataFrame]":
        """Some columns as stripped text, a part of the rows at a time, numbered through.

        Raises:
            DataError: a column is not there or there twice, or the file is no such table from start to end.
        """
        import pandas as pd

        num_before = 0
        for column in columns:
            if self.names.count(column) != 1:
                how_many = "two columns" if column in self.names else "no column"
                raise DataError(f"{self.path} has {how_many} '{column}'; expected one")
        with _explained(self.path):
            for batch in self._batches(list(dict.fromkeys(columns))):
                frame = batch.to_pandas().apply(lambda column: column.str.strip())
                frame.index = pd.RangeIndex(num_before, num_before + len(frame))
                num_before += len(frame)
                yield frame

    def all(self, columns: Sequence[str]) -> "pd.DataFrame":
        """Some columns of all rows, in order; raises as ``chunks``."""
        import pandas as pd

        parts = list(self.chunks(columns))
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(columns), dtype=str)

    def _batches(self, columns: list[str]) -> "Iterator[pa.RecordBatch]":
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.csv

        ragged: list[pa.csv.InvalidRow] = []

        def note(row: "pa.csv.InvalidRow") -> str:
            if not row.text.strip(f' \t\r\n"{self.delimiter}'):
                return "skip"  # a line of blanks or of too few or many delimiters alone, as spreadsheets leave it
            ragged.append(row)
            return "error"

        places = [str(place) for place in range(len(self.names))]
        wanted = {str(self.names.index(column)): column for column in columns}
        last = places[-1]
        included = [*wanted, *({last} - wanted.keys())]
        end = ""
        try:
            with _stream(self.path) as raw:
                reader = pa.csv.open_csv(
                    raw,
                    read_options=pa.csv.ReadOptions(
                        column_names=places, skip_rows=1, use_threads=False, block_size=_BYTES_AT_A_TIME
                    ),
                    parse_options=pa.csv.ParseOptions(
                        delimiter=self.delimiter, newlines_in_values=True, invalid_row_handler=note
                    ),
                    convert_options=pa.csv.ConvertOptions(
                        column_types=dict.fromkeys(included, pa.string()),
                        include_columns=included,
                        strings_can_be_null=False,
                    ),
                )
                for batch in reader:
                    if any(pc.any(pc.match_substring(batch[place], "\0")).as_py() for place in included):
                        raise DataError(f"{self.path} holds zero bytes, so it is damaged; fetch it again")
                    end = batch[last][-1].as_py() if len(batch) else end
                    yield batch.select(list(wanted)).rename_columns(list(wanted.values()))
        except pa.ArrowInvalid:
            if not ragged:
                raise
            row = ragged[0]
            place = f"line {row.number}" if row.number is not None else "a line"
            raise DataError(
                f"{self.path} has {row.actual_columns} fields in {place}, expected {row.expected_columns} as in the "
                "header; the file is damaged or cut off, fetch it again"
            ) from None
        if end.endswith(("\n", "\r")):
            raise DataError(f"{self.path} ends within a quoted cell; the file is damaged or cut off, fetch it again")


def without_blank_rows(frame: "pd.DataFrame") -> "pd.DataFrame":
    """The rows of stripped text that have any: spreadsheets leave rows of delimiters alone behind."""
    return frame[(frame != "").any(axis=1)]


def open_text_table(path: Path, *, delimiters: str = DELIMITERS) -> TextTable:
    """Read the header of a csv; between its cells stands the delimiter that gives most columns.

    A delimiter at the end of all rows, or of the header alone, is passed over.

    Raises:
        DataError: the file cannot be read, or is no text in UTF-8.
    """
    with _explained(path):
        with path.open("rb") as file:
            begin = file.read(4)
        for mark, what in _NO_TEXT.items():
            if begin.startswith(mark):
                raise DataError(f"{path} {what}; {_REMEDY}")
        headers = [_header(path, delimiter) for delimiter in delimiters]
    names, delimiter = max(zip(headers, delimiters, strict=True), key=lambda found: len(found[0]))
    if any("\0" in name for name in names):
        raise DataError(f"{path} holds zero bytes, so it is no text in UTF-8; {_REMEDY}")
    return TextTable(path, tuple(names), delimiter)


def _header(path: Path, delimiter: str) -> list[str]:
    """The header's names; a nameless last column is only there when the rows have one too."""
    with _stream(path) as raw:
        text = io.TextIOWrapper(cast(io.BufferedReader, raw), encoding="utf-8-sig", newline="")
        lines = csv.reader(text, delimiter=delimiter)
        names = [name.strip() for name in next(lines, [])]
        first_row = next(lines, names)
    if len(first_row) == len(names) + 1 and not first_row[-1]:
        return [*names, ""]
    if len(first_row) == len(names) - 1 and not names[-1]:
        return names[:-1]
    return names


def _stream(path: Path) -> "pa.NativeFile":
    """The file unpacked; gzip is known by its first bytes too, for not every name says so."""
    import pyarrow as pa

    with path.open("rb") as file:
        is_gzip = file.read(2) == _GZIP
    return pa.input_stream(str(path), compression="gzip" if is_gzip else "detect")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what the libraries say, which may quote the file, into one sentence."""
    import pyarrow as pa

    try:
        yield
    except PermissionError as error:
        raise DataError(f"{path} may not be read by you; ask for the right to, or copy it") from error
    except (UnicodeDecodeError, pa.ArrowInvalid, csv.Error) as error:
        is_encoding = isinstance(error, UnicodeDecodeError) or "UTF8" in str(error)
        why = "is no text in UTF-8 (Windows-1252 perhaps)" if is_encoding else "is no csv that can be read"
        raise DataError(f"{path} {why}; {_REMEDY}") from None
    except OSError:
        raise DataError(
            f"{path} cannot be unpacked or read to its end, so it is damaged or cut off; fetch it again, or {_REMEDY}"
        ) from None
