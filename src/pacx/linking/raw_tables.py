"""A hospital's table as text, whatever file it is in: csv, csv.gz, parquet, or many parquet files as one.

Stands between files and staging: says what columns there are and how DuckDB reads them, row by row in their order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from pacx.core.errors import DataError, UsageError
from pacx.core.tables.cells import BLANKS
from pacx.data.text_tables import open_text_table

_CSV_ENDINGS = (".csv", ".csv.gz", ".csv.zst", ".tsv", ".tsv.gz", ".txt", ".txt.gz")
_PARQUET_ENDING = ".parquet"
_ENDINGS = (".csv.gz", ".csv", _PARQUET_ENDING)
_BUFFER_BYTES = 2 * 2**20
"""Of a csv that DuckDB holds at a time, several times over; by itself it takes 32 MB, and is no faster for it."""
_HEAD_BYTES = 2 * 2**20
"""Of a csv that are looked at to learn its columns; DuckDB refuses what is no text further down."""
_PLAIN = "[!-~]([ -~]*[!-~])?"
"""A cell of ASCII without blanks around it."""
WHOLE_NUMBER = r"^(-?(?:0|[1-9][0-9]{0,14}))\.0*$"
"""An id as a floating-point column writes it; the first group is the id."""


class Cell(str):
    """SQL text of a column's cell, without blanks around it and "" where it is empty.

    Args:
        stored: SQL text of the cell as it stands; NULL where it is empty. What can be told of most cells as they stand
            is a third faster than of what blanks were taken off.
    """

    __slots__ = ("stored",)
    stored: str

    @classmethod
    def of(cls, column: str) -> Self:
        """The cell of a column, by its name as the file spells it."""
        stored = f"CAST({quoted_name(column)} AS VARCHAR)"
        cell = cls(trimmed(stored))
        cell.stored = stored
        return cell


@dataclass(frozen=True)
class RawTable:
    """One table of a hospital.

    Args:
        files: it is made of, in the order in which their rows count.
        columns: as the files spell them.
        separator: between the cells of a csv; "" for parquet.
        num_rows: of each parquet file; a csv does not say.
    """

    files: tuple[Path, ...]
    columns: tuple[str, ...]
    separator: str
    num_rows: tuple[int, ...] = ()

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return str(self.files[0]) + (f" and {len(self.files) - 1} more" if len(self.files) > 1 else "")

    def cell(self, column: str) -> Cell:
        """A column's cell.

        Raises:
            DataError: there is no such column; case does not count.
        """
        found = next((name for name in self.columns if name.casefold() == column.casefold()), None)
        if found is None:
            raise DataError(f"{self.place} has no column '{column}'; it has {', '.join(self.columns)}")
        return Cell.of(found)

    def has(self, column: str) -> bool:
        """Whether there is such a column; case does not count."""
        return any(name.casefold() == column.casefold() for name in self.columns)

    def numbered(self) -> str:
        """SQL of all rows with their ``position``, from 1 below the header, and whether each ``is_last`` of a csv.

        Rows of a csv are numbered as they are read, by one thread; those of parquet bear their numbers.
        """
        if self.separator:
            return "SELECT row_number() OVER () AS position, lead(1) OVER () IS NULL AS is_last, * FROM " + self.rows()
        before = ", ".join(str(sum(self.num_rows[:place])) for place in range(len(self.files)))
        position = f"([{before}]::BIGINT[])[file_index::BIGINT + 1] + file_row_number + 1"
        return f"SELECT {position} AS position, false AS is_last, * FROM {self.rows()}"

    def rows(self) -> str:
        """SQL of all rows."""
        files = f"[{', '.join(quoted(str(file)) for file in self.files)}]"
        if not self.separator:
            return f"read_parquet({files})"
        columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in self.columns)
        return (
            f"read_csv({files}, header = true, auto_detect = false, delim = {quoted(self.separator)}, quote = '\"', "
            f"escape = '\"', columns = {{{columns}}}, buffer_size = {_BUFFER_BYTES})"
        )


def trimmed(stored: str) -> str:
    """SQL of a cell's text without blanks around it, "" where it is empty."""
    # DuckDB alone takes off blanks of fixed width and no tabs, and is slow where it is told characters.
    return (
        f"CASE WHEN {stored} IS NULL THEN '' WHEN regexp_full_match({stored}, '{_PLAIN}') THEN {stored} "
        f"ELSE trim({stored}, {quoted(BLANKS)}) END"
    )


def quoted(text: str) -> str:
    """A text as SQL."""
    return "'" + text.replace("'", "''") + "'"


def quoted_name(name: str) -> str:
    """A column's name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def files_called(folder: Path, name: str) -> list[Path]:
    """The tables of a folder that have a name without its ending, upper and lower case being the same.

    Databases export under names of their own: ``MEASUREMENT.csv`` is ``measurement``.
    """
    names = {f"{name.casefold()}{ending}" for ending in _ENDINGS}
    return sorted(path for path in folder.iterdir() if path.name.casefold() in names and path.is_file())


def table_at(folder: Path, name: str) -> RawTable:
    """A table of a folder by its name without an ending: ``labevents.csv.gz``, ``labevents.csv`` or parquet.

    Raises:
        UsageError: the folder is not there.
        DataError: it has no such table, or two of them.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; give the one that holds {name}.csv.gz")
    found = files_called(folder, name)
    if not found:
        raise DataError(f"{folder} has no table {name} (.csv.gz, .csv or .parquet); copy it there")
    if len(found) > 1:
        named = ", ".join(path.name for path in found)
        raise DataError(f"{folder} has {len(found)} tables {name} ({named}); keep one")
    return table_of(found[0])


def table_of(*files: Path) -> RawTable:
    """A table from its files.

    Raises:
        UsageError: a file is not there, or is neither csv nor parquet by its name.
        DataError: it cannot be read, has a column twice, or its files have different columns.
    """
    for file in files:
        if not file.is_file():
            raise UsageError(f"{file} is not a file; give a table (.csv, .csv.gz or .parquet)")
    parquet = _parquet_headers([file for file in files if file.name.lower().endswith(_PARQUET_ENDING)])
    headers = [parquet[file] if file in parquet else _csv_header(file) for file in files]
    first, *others = headers
    if len(set(map(str.casefold, first.columns))) != len(first.columns):
        raise DataError(f"{files[0]} has two columns of one name; rename one")
    if any(replace(other, num_rows=first.num_rows) != first for other in others):
        raise DataError(f"{files[0]} and the files beside it have different columns or zones; give files of one table")
    num_rows = () if first.separator else tuple(each.num_rows for each in headers)
    return RawTable(tuple(files), first.columns, first.separator, num_rows)


@dataclass(frozen=True)
class _Header:
    """What the beginning of a file says.

    Args:
        columns: as it spells them.
        separator: "" for parquet.
        zoned: columns of parquet that bear a time zone; DuckDB would move them to another in silence beside others.
        num_rows: of parquet.
    """

    columns: tuple[str, ...]
    separator: str
    zoned: frozenset[str] = frozenset()
    num_rows: int = 0


def _csv_header(file: Path) -> _Header:
    if not file.name.lower().endswith(_CSV_ENDINGS):
        raise UsageError(f"{file} is neither .csv, .csv.gz nor .parquet; export the table as one of these")
    table = open_text_table(file, only_utf8=True, num_bytes=_HEAD_BYTES)
    if table.num_header_lines != 1 or table.num_surplus or table.has_spaced_quotes or "" in table.names:
        raise DataError(
            f"{file} has lines above its header, nameless columns or blanks before quotes; save it without them"
        )
    if len(table.names) < 2:
        raise DataError(f"{file} has no header line with several columns; expected a table")
    return _Header(table.names, table.delimiter)


def _parquet_headers(files: Sequence[Path]) -> dict[Path, _Header]:
    if not files:
        return {}
    import duckdb

    headers = {}
    with duckdb.connect() as connection:
        for file in files:
            read = f"FROM read_parquet({quoted(str(file))})"
            try:
                described = connection.execute(f"DESCRIBE {read}").fetchall()
                found = connection.execute(f"SELECT count(*) {read}").fetchone()
            except duckdb.Error as error:
                raise DataError(f"{file} is no readable parquet file; copy it again") from error
            zoned = frozenset(name for name, kind, *_ in described if kind == "TIMESTAMP WITH TIME ZONE")
            headers[file] = _Header(tuple(name for name, *_ in described), "", zoned, found[0] if found else 0)
    return headers


@dataclass(frozen=True)
class Lookup:
    """A small table in which something of every row is looked up: the item a code means, the person behind a number.

    Args:
        name: gives the columns of ``rows`` their names, NAME_key and NAME_found.
        key: SQL of the rows' own cells.
        rows: SQL of the small table; a key stands in it once.
    """

    name: str
    key: str
    rows: str

    @property
    def found(self) -> str:
        """SQL of what was found; NULL where nothing was."""
        return f"{self.name}_found"

    @classmethod
    def of(cls, name: str, key: str, found: Mapping[str, str | float]) -> "Lookup":
        """A lookup in a mapping, which is not empty."""
        rows = ", ".join(
            f"({quoted(each)}, {quoted(what) if isinstance(what, str) else repr(float(what))})"
            for each, what in found.items()
        )
        kind = "DOUBLE" if isinstance(next(iter(found.values())), float) else "VARCHAR"
        return cls(
            name,
            key,
            f"SELECT k AS {name}_key, w::{kind} AS {name}_found FROM (VALUES {rows}) AS t(k, w)",
        )

    @classmethod
    def within(cls, name: str, key: str, table: "RawTable", of: str, what: str) -> "Lookup":
        """A lookup in a table of the hospital: its column ``what`` by its column ``of``; of several rows the least."""
        ids = f"regexp_replace({table.cell(of)}, {quoted(WHOLE_NUMBER)}, '\\1')"
        rows = f"SELECT {ids} AS {name}_key, min({table.cell(what)}) AS {name}_found FROM {table.rows()} GROUP BY 1"
        return cls(name, f"regexp_replace({key}, {quoted(WHOLE_NUMBER)}, '\\1')", rows)


@dataclass(frozen=True)
class Mapped:
    """How one of linking's tables is made of a hospital's.

    Args:
        raw: the hospital's table.
        cells: SQL text of each of linking's columns, by its name; of ``raw.cell``, constants and what lookups found.
        where: SQL of the rows that are meant; "" for all.
        others: what the rows that are not meant are, for people.
        lookups: in which something of every row is looked up.
        unit: SQL text of the unit of ``value``; "" where nothing says one.
        factor: SQL number by which a value is multiplied; NULL where its unit cannot be converted.
        reads: files beside ``raw`` that lookups read.
    """

    raw: RawTable
    cells: Mapping[str, str]
    where: str = ""
    others: str = "are of other things"
    lookups: tuple[Lookup, ...] = ()
    unit: str = ""
    factor: str = ""
    reads: tuple[Path, ...] = ()
