"""A table of any maker or person as text: its header, then its rows some megabytes at a time.

Stands below every reader of tables. It finds out how a table is written (commas, semicolons, tabs or bars; UTF-8,
UTF-16 or Windows-1252; packed or not), knows nothing of what the columns mean and changes no cell. A row that is too
long or too short is a cut-off or shifted one, and none is moved to make it fit: such a file is refused in one sentence
that quotes none of it. Reads files of any length in the same memory.
"""

import bz2
import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pacx.core.errors import DataError, UsageError
from pacx.core.tables.cells import BLANKS, bare

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
DELIMITERS = "".join(_DELIMITERS)
"""What may stand between two cells: countries with decimal commas write semicolons."""

_BYTES_AT_A_TIME = 32 * 2**20
_BYTES_LOOKED_AT = 32 * 2**20
"""From the beginning of a file, to learn its encoding."""
_ROWS_AT_A_TIME = 10_000
_LONGEST_HEADER = 2**20
_ROWS_LOOKED_AT = 20
_END = "\n\r\n\n\r\n\n"
"""Blank lines put behind the last row: only a cell whose quote nobody closed holds them."""
_NO_TEXT = {b"PK\x03\x04": "a spreadsheet or an archive", b"\xd0\xcf\x11\xe0": "a spreadsheet", b"PAR1": "Parquet"}
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}
_UTF8, _UTF16, _WINDOWS = "utf-8-sig", "utf-16", "cp1252"
_NOT_IN_WINDOWS = frozenset(b"\x81\x8d\x8f\x90\x9d")
_REMEDY = "save it as CSV UTF-8 with a header line"


@dataclass(frozen=True)
class TextTable:
    """A table whose header was read.

    Args:
        path: the file.
        names: of its columns, without blanks around them; they may occur twice, and a column may have none ("").
        delimiter: what stands between two cells.
        encoding: as Python names it.
        num_header_lines: lines of the file above the rows.
        num_surplus: how many of the last columns are only there because rows end in more delimiters than the header.
        has_spaced_quotes: whether blanks stand between a delimiter and the quote of a cell.
        notes: how it is written, where that is not comma-separated UTF-8.
    """

    path: Path
    names: tuple[str, ...]
    delimiter: str = ","
    encoding: str = _UTF8
    num_header_lines: int = 1
    num_surplus: int = 0
    has_spaced_quotes: bool = False
    notes: tuple[str, ...] = ()

    def chunks(self, columns: Sequence[str]) -> "Iterator[pd.DataFrame]":
        """Some columns as stripped text, a part of the rows at a time, numbered through.

        Raises:
            DataError: a column is not there or there twice, or the file is no such table from start to end.
        """
        import pandas as pd
        import pyarrow as pa

        num_before = 0
        for column in columns:
            if self.names.count(column) != 1:
                how_many = "two columns" if column in self.names else "no column"
                raise DataError(f"{self.path} has {how_many} '{column}'; expected one")
        with _explained(self.path, pa.ArrowInvalid):
            for batch in self._batches(list(dict.fromkeys(columns))):
                frame = batch.to_pandas().apply(lambda column: column.str.strip(BLANKS))
                frame.index = pd.RangeIndex(num_before, num_before + len(frame))
                num_before += len(frame)
                yield frame

    def all(self, columns: Sequence[str] | None = None) -> "pd.DataFrame":
        """Some columns of all rows, or all columns that have a name, in order; raises as ``chunks``."""
        import pandas as pd

        wanted = [name for name in self.names if name] if columns is None else list(columns)
        parts = list(self.chunks(wanted))
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=wanted, dtype=str)

    def _batches(self, columns: list[str]) -> "Iterator[pa.RecordBatch]":
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.csv

        ragged: list[pa.csv.InvalidRow] = []

        def note(row: "pa.csv.InvalidRow") -> str:
            if not row.text.strip(_idle(self.delimiter)):
                return "skip"  # a line of blanks or of too few or many delimiters alone, as spreadsheets leave it
            ragged.append(row)
            return "error"

        places = [str(place) for place in range(len(self.names))]
        wanted = {str(self.names.index(column)): column for column in columns}
        surplus = places[len(places) - self.num_surplus :]
        included = list(dict.fromkeys([*wanted, *surplus, places[-1]]))
        end = ""
        try:
            with _stream(self.path) as raw:
                reader = pa.csv.open_csv(
                    pa.PythonFile(_Parts(chain(self._in_utf8(raw), (_END.encode(),))), mode="r"),
                    read_options=pa.csv.ReadOptions(
                        column_names=places,
                        skip_rows=self.num_header_lines,
                        use_threads=False,
                        block_size=_BYTES_AT_A_TIME,
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
                    if any(pc.any(pc.match_substring_regex(batch[place], r"\S")).as_py() for place in surplus):
                        raise self._is_ragged("rows with more cells", len(self.names) - self.num_surplus)
                    end = batch[places[-1]][-1].as_py() if len(batch) else end
                    yield batch.select(list(wanted)).rename_columns(list(wanted.values()))
        except pa.ArrowInvalid:
            if not ragged:
                raise
            row = ragged[0]
            place = f"line {row.number}" if row.number is not None else "a line"
            raise self._is_ragged(f"{row.actual_columns} fields in {place}", row.expected_columns) from None
        if end.endswith(_END):
            raise DataError(f"{self.path} ends within a quoted cell; the file is damaged or cut off, fetch it again")

    def _in_utf8(self, raw: "pa.NativeFile") -> Iterator[bytes]:
        """The file as the reader below wants it, part by part."""
        if self.encoding == _UTF8 and not self.has_spaced_quotes:
            while part := raw.read(_BYTES_AT_A_TIME):
                yield part
            return
        text = io.TextIOWrapper(cast(io.BufferedReader, raw), encoding=self.encoding, newline="")
        if not self.has_spaced_quotes:
            while characters := text.read(_BYTES_AT_A_TIME):
                yield characters.encode()
            return
        rows = csv.reader(text, delimiter=self.delimiter, skipinitialspace=True)
        while some := list(islice(rows, _ROWS_AT_A_TIME)):
            written = io.StringIO(newline="")
            csv.writer(written, delimiter=self.delimiter).writerows(some)
            yield written.getvalue().encode()

    def _is_ragged(self, what: str, num_expected: int) -> DataError:
        return DataError(
            f"{self.path} has {what}, expected {num_expected} as in the header; the file is damaged or cut off, or a "
            "delimiter stands in a cell without quotes"
        )


class _Parts(io.RawIOBase):
    """Bytes that come in parts, as a file."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        while (size < 0 or len(self._rest) < size) and (part := next(self._parts, b"")):
            self._rest += part
        end = len(self._rest) if size < 0 else size
        given, self._rest = self._rest[:end], self._rest[end:]
        return given


def without_blank_rows(frame: "pd.DataFrame") -> "pd.DataFrame":
    """The rows of stripped text that have any: spreadsheets leave rows of delimiters alone behind."""
    return frame[(frame != "").any(axis=1)]


def open_text_table(
    path: Path,
    *,
    delimiters: str = DELIMITERS,
    only_utf8: bool = False,
    num_bytes: int = _BYTES_LOOKED_AT,
    num_above: int = 0,
) -> TextTable:
    """Read the header of a table; between its cells stands the delimiter that gives most columns.

    Blank lines above the header, a spreadsheet's own line ``sep=;`` and delimiters at the end of all rows, or of the
    header alone, are passed over, and so are the names of rows for which R writes no column name. Text that is no UTF-8
    and has no character of more than one byte in it is Windows-1252, as spreadsheets write it in the West. That is no
    guess that could spoil ids: every byte is one character of its own, so different ids stay different.

    Args:
        path: the file.
        delimiters: those that are thought of.
        only_utf8: whether another encoding is a fault, as it is in files that the makers of a dataset ship.
        num_bytes: from its beginning, unpacked, that are looked at.
        num_above: lines that are passed over whatever they hold, such as comments.

    Raises:
        UsageError: there is no such file.
        DataError: the file cannot be read, is no text, or has no header.
    """
    with _explained(path):
        head = unpacked_head(path, num_bytes)
        for mark, what in _NO_TEXT.items():
            if head.startswith(mark):
                raise DataError(f"{path} is {what}; {_REMEDY}")
        text, encoding = _decoded(path, head, is_whole=len(head) < num_bytes, only_utf8=only_utf8)
        table = _with_header(path, text, delimiters, num_above)
    notes = {
        f"{path} is separated by {_DELIMITERS[table.delimiter]}.": table.delimiter != ",",
        f"{path} is written in UTF-16.": encoding == _UTF16,
        f"{path} is no UTF-8 and was read as Windows-1252; {_REMEDY} if letters look wrong.": encoding == _WINDOWS,
    }
    return replace(table, encoding=encoding, notes=tuple(note for note, holds in notes.items() if holds))


def _decoded(path: Path, head: bytes, *, is_whole: bool, only_utf8: bool) -> tuple[str, str]:
    """The beginning of a file as text, and its encoding."""
    encoding = _UTF8
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = _UTF16
        if only_utf8:
            raise DataError(f"{path} is written in UTF-16; {_REMEDY}")
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head, is_whole)
    except UnicodeDecodeError as error:
        is_windows = encoding == _UTF8 and not only_utf8 and head.decode("utf-8", "ignore").isascii()
        if not is_windows or set(head) & _NOT_IN_WINDOWS:
            where = (
                f"UTF-8, as line {len(head[: error.start + 1].splitlines())} shows" if encoding == _UTF8 else "UTF-16"
            )
            raise DataError(f"{path} is no text in {where}; {_REMEDY}") from None
        text, encoding = head.decode(_WINDOWS), _WINDOWS
    if "\0" in text:
        raise DataError(f"{path} holds zero bytes, so it is no text in UTF-8 or is damaged; {_REMEDY}")
    return text, encoding


def _with_header(path: Path, text: str, delimiters: str, num_passed: int) -> TextTable:
    """The table with its delimiter, names and lines above the rows, as the beginning of its text tells them."""
    num_above = start = 0
    begin = text[:_LONGEST_HEADER]
    for line in io.StringIO(begin, newline=""):
        said = re.fullmatch(r'"?sep=(.)"?\s*', line, re.IGNORECASE)
        if said and said[1] in delimiters and num_above == 0:
            delimiters = said[1]
        elif num_above >= num_passed and line.strip(_idle(delimiters)):
            break
        num_above, start = num_above + 1, start + len(line)
    else:
        raise DataError(f"{path} is empty; {_REMEDY}")

    def read_by(delimiter: str) -> tuple[tuple[bool, int], TextTable]:
        below = io.StringIO(begin[start:], newline="")
        header = csv.reader(below, delimiter=delimiter, skipinitialspace=True)
        names = list(map(bare, next(header)))
        filled = (line for line in below if line.strip(_idle(delimiter)))
        first = next(filled, "")
        others = csv.reader(chain((first,), filled), delimiter=delimiter, skipinitialspace=True)
        rows = list(islice(others, _ROWS_LOOKED_AT)) or [[]]
        fitted, num_surplus = _fitted(names, rows[0], is_quoted=first.lstrip().startswith('"'))
        table = TextTable(
            path,
            tuple(fitted),
            delimiter,
            num_header_lines=num_above + header.line_num,
            num_surplus=num_surplus,
            has_spaced_quotes=' "' in text and re.search(rf'(?m)(?:^|{re.escape(delimiter)}) +"', text) is not None,
        )
        # a header such as "height, m;EF, %" has more commas than semicolons, but its rows have not
        fits = len(names) > 1 and all(len(row) == len(fitted) for row in rows)
        return (fits, len(names)), table

    return max(map(read_by, delimiters), key=lambda found: found[0])[1]


def _fitted(names: list[str], cells: list[str], *, is_quoted: bool) -> tuple[list[str], int]:
    """Names for the cells of the first row, and how many of the last are there for blank cells that nothing names."""
    num_more = len(cells) - len(names)
    if num_more > 0 and not any(cell.strip() for cell in cells[-num_more:]):
        return [*names, *[""] * num_more], num_more
    if num_more == 1 and (is_quoted or (_is_number(cells[0]) and not _is_number(cells[1]))):
        return ["", *names], 0  # R writes the names of rows and no name above them; "4,2" of one cell looks alike
    while cells and len(names) > len(cells) and not names[-1]:
        names = names[:-1]
    return names, 0


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"\s*[-+.,0-9]+\s*", cell) is not None


def _idle(delimiters: str) -> str:
    """Characters of a line that say nothing."""
    return f' \t\r\n"{delimiters}'


def unpacked_head(path: Path, num_bytes: int, *, may_be_cut: bool = False) -> bytes:
    """The first bytes of a file unpacked, by Python's own libraries where they can: importing pyarrow takes long.

    Args:
        path: the file.
        num_bytes: how many, unpacked; fewer where the file ends.
        may_be_cut: give what there is of a file that is cut off before, to somebody who reads on and finds that out.

    Raises:
        UsageError: there is no such file.
        DataError: it cannot be read or unpacked.
    """
    head = bytearray()
    with _explained(path), _UNPACK[_packing_of(path)](path) as file:
        try:
            while part := file.read1(num_bytes - len(head)):
                head += part
        except EOFError:
            if not (head and may_be_cut):
                raise
    return bytes(head)


def _stream(path: Path) -> "pa.NativeFile":
    """The file unpacked."""
    import pyarrow as pa

    return pa.input_stream(str(path), compression=_packing_of(path))


_UNPACK: dict[str | None, Callable[[Path], Any]] = {
    None: lambda path: path.open("rb"),
    "gzip": gzip.open,
    "bz2": bz2.open,
    "zstd": _stream,
}


def packing(begin: bytes) -> str | None:
    """What packed a file, by its first bytes: a browser unpacks what is called .gz, and not every name says so."""
    return next((kind for mark, kind in _PACKED.items() if begin.startswith(mark)), None)


def _packing_of(path: Path) -> str | None:
    with path.open("rb") as file:
        return packing(file.read(max(map(len, _PACKED))))


@contextmanager
def _explained(path: Path, more: type[Exception] = csv.Error) -> Iterator[None]:
    """Turn what the libraries say, which may quote the file, into one sentence; ``more`` says that it is no table."""
    try:
        yield
    except FileNotFoundError as error:
        raise UsageError(f"{path} is not there; give the path of the table") from error
    except IsADirectoryError as error:
        raise UsageError(f"{path} is a folder; give the path of the table") from error
    except PermissionError as error:
        raise DataError(f"{path} may not be read by you; ask for the right to, or copy it") from error
    except (UnicodeDecodeError, csv.Error, more) as error:
        is_encoding = isinstance(error, UnicodeDecodeError) or "UTF8" in str(error)
        why = "is not in one encoding from start to end" if is_encoding else "is no table that can be read"
        raise DataError(f"{path} {why}; {_REMEDY}") from None
    except (OSError, EOFError, zlib.error):
        raise DataError(
            f"{path} cannot be unpacked or read to its end, so it is damaged or cut off; fetch it again, or {_REMEDY}"
        ) from None
