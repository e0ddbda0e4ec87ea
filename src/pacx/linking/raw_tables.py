"""A hospital's table as text, whatever file it is in: csv, csv.gz, parquet, or many parquet files as one.

Stands between files and staging: says what columns there are and how DuckDB reads them, row by row in their order.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pacx.core.errors import DataError, UsageError
from pacx.data.text_tables import open_text_table

_CSV_ENDINGS = (".csv", ".csv.gz", ".csv.zst", ".tsv", ".tsv.gz", ".txt", ".txt.gz")
_PARQUET_ENDING = ".parquet"
_ENDINGS = (".csv.gz", ".csv", _PARQUET_ENDING)


@dataclass(frozen=True)
class RawTable:
    """One table of a hospital.

    Args:
        files: it is made of, in the order in which their rows count.
        columns: as the files spell them.
        separator: between the cells of a csv; "" for parquet.
    """

    files: tuple[Path, ...]
    columns: tuple[str, ...]
    separator: str

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return str(self.files[0]) + (f" and {len(self.files) - 1} more" if len(self.files) > 1 else "")

    def cell(self, column: str) -> str:
        """A column's cell as SQL text, without blanks around it and "" where it is empty.

        Raises:
            DataError: there is no such column; case does not count.
        """
        found = next((name for name in self.columns if name.casefold() == column.casefold()), None)
        if found is None:
            raise DataError(f"{self.place} has no column '{column}'; it has {', '.join(self.columns)}")
        return f"coalesce(trim(CAST({quoted_name(found)} AS VARCHAR)), '')"

    def has(self, column: str) -> bool:
        """Whether there is such a column; case does not count."""
        return any(name.casefold() == column.casefold() for name in self.columns)

    def rows(self) -> str:
        """SQL of all rows in their order."""
        files = f"[{', '.join(quoted(str(file)) for file in self.files)}]"
        if not self.separator:
            return f"read_parquet({files})"
        columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in self.columns)
        return (
            f"read_csv({files}, header = true, auto_detect = false, delim = {quoted(self.separator)}, quote = '\"', "
            f"escape = '\"', columns = {{{columns}}})"
        )


def quoted(text: str) -> str:
    """A text as SQL."""
    return "'" + text.replace("'", "''") + "'"


def quoted_name(name: str) -> str:
    """A column's name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def table_at(folder: Path, name: str) -> RawTable:
    """A table of a folder by its name without an ending: ``labevents.csv.gz``, ``labevents.csv`` or parquet.

    Raises:
        UsageError: the folder is not there.
        DataError: it has no such table, or two of them.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; give the one that holds {name}.csv.gz")
    found = [folder / f"{name}{ending}" for ending in _ENDINGS if (folder / f"{name}{ending}").is_file()]
    if len(found) != 1:
        which = "no table" if not found else f"{len(found)} tables"
        raise DataError(f"{folder} has {which} {name} (.csv.gz, .csv or .parquet); keep one")
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
    columns, separator = _header(files[0])
    if len(set(map(str.casefold, columns))) != len(columns):
        raise DataError(f"{files[0]} has two columns of one name; rename one")
    return RawTable(tuple(files), columns, separator)


def _header(file: Path) -> tuple[tuple[str, ...], str]:
    if file.name.lower().endswith(_PARQUET_ENDING):
        return _parquet_columns(file), ""
    if not file.name.lower().endswith(_CSV_ENDINGS):
        raise UsageError(f"{file} is neither .csv, .csv.gz nor .parquet; export the table as one of these")
    table = open_text_table(file, only_utf8=True)
    if table.num_header_lines != 1 or table.num_surplus or table.has_spaced_quotes or "" in table.names:
        raise DataError(
            f"{file} has lines above its header, nameless columns or blanks before quotes; save it without them"
        )
    if len(table.names) < 2:
        raise DataError(f"{file} has no header line with several columns; expected a table")
    return table.names, table.delimiter


def _parquet_columns(file: Path) -> tuple[str, ...]:
    import pyarrow.parquet as parquet

    try:
        return tuple(parquet.read_schema(file).names)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise DataError(f"{file} is no readable parquet file; copy it again") from error


@dataclass(frozen=True)
class Mapped:
    """How one of linking's tables is made of a hospital's.

    Args:
        raw: the hospital's table.
        cells: SQL text of each of linking's columns, by its name; of ``raw.cell`` and constants.
        where: SQL of the rows that are meant; "" for all.
    """

    raw: RawTable
    cells: Mapping[str, str]
    where: str = ""
