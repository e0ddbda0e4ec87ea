"""One pass over a hospital's table: its cells become ids, times and numbers, or a row is at fault by a named reason.

What comes out is a parquet file with the row's position in its table, linking's columns, and the fault. A stage that
is there already is not made again, so a killed call goes on where it was.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pacx.core.artifacts import staged_file
from pacx.core.errors import DataError
from pacx.linking.kinds import Column, Kind, Table
from pacx.linking.raw_tables import Mapped, RawTable, quoted

if TYPE_CHECKING:
    import duckdb

_TIME = r"\d{4}-\d{1,2}-\d{1,2}[ T]\d{1,2}:\d{2}(:\d{2}([.,]\d*)?)?"
_DATE = r"\d{4}-\d{1,2}-\d{1,2}"
_ZONED = _TIME + r"\s*(Z|UTC|[+-]\d{1,2}(:?\d{2})?)"
_WHOLE = r"^(-?(?:0|[1-9][0-9]{0,14}))\.0*$"
_ROWS_NAMED = 3


@dataclass(frozen=True)
class Fault:
    """Rows of a table that cannot be used.

    Args:
        reason: in a few words.
        count: how many.
        rows: the numbers of the first of them, from 1 below the header.
    """

    reason: str
    count: int
    rows: tuple[int, ...]

    def __str__(self) -> str:
        named = ", ".join(map(str, self.rows)) + (" ..." if self.count > len(self.rows) else "")
        return f"{self.count:,} {self.reason} (row {named})"


@dataclass(frozen=True)
class Staged:
    """What one table became.

    Args:
        table: which.
        place: of the hospital's table.
        num_rows: that were meant.
        faults: of rows that are left out.
    """

    table: Table
    place: str
    num_rows: int
    faults: tuple[Fault, ...]


def connected(scratch: Path, num_threads: int, memory_mib: int) -> "duckdb.DuckDBPyConnection":
    """A DuckDB that spills to ``scratch`` instead of growing beyond its memory."""
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"SET threads = {num_threads}")
    connection.execute(f"SET memory_limit = '{memory_mib}MiB'")
    connection.execute(f"SET temp_directory = {quoted(str(scratch / 'spilled'))}")
    connection.execute("SET enable_progress_bar = false")
    return connection


def stage(
    connection: "duckdb.DuckDBPyConnection", table: Table, mapped: Mapped, scratch: Path, *, max_bad_fraction: float
) -> Staged:
    """Read a table once and make it a view of its name (``films``) with its good rows; see ``kinds`` for the columns.

    Raises:
        DataError: the file cannot be read to its end, or more rows than allowed are at fault.
    """
    sql = _typed(table, mapped)
    file = scratch / f"{table.unit}-{_fingerprint(sql, mapped.raw)}.parquet"
    if not file.is_file():
        with staged_file(file) as partial:
            _run(connection, f"COPY ({sql}) TO {quoted(str(partial))} (FORMAT parquet)", mapped)
    good = f"SELECT * EXCLUDE (fault) FROM read_parquet({quoted(str(file))}) WHERE fault IS NULL"
    key = table.key
    once = f"QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY position) = 1" if key else ""
    connection.execute(f"CREATE VIEW {table.unit} AS {good} {once}")
    staged = Staged(table, mapped.raw.place, *_counted(connection, table, file))
    num_bad = sum(fault.count for fault in staged.faults)
    if num_bad > max_bad_fraction * staged.num_rows:
        raise DataError(
            f"{staged.place}: {num_bad:,} of {staged.num_rows:,} rows cannot be used, more than the "
            f"{max_bad_fraction:.2%} allowed: {'; '.join(map(str, staged.faults))}; mend them, or allow more"
        )
    return staged


def _fingerprint(sql: str, raw: RawTable) -> str:
    """Of what a stage is made of: another file, or another reading of it, is another stage."""
    states = [(file.stat().st_size, file.stat().st_mtime_ns) for file in raw.files]
    return hashlib.sha256(f"{sql}{states}".encode()).hexdigest()[:16]


def _run(connection: "duckdb.DuckDBPyConnection", sql: str, mapped: Mapped) -> None:
    import duckdb

    try:
        connection.execute(sql)
    except duckdb.OutOfMemoryException as error:
        raise DataError(f"{mapped.raw.place} does not fit into the memory given; give more of it") from error
    except duckdb.IOException as error:
        cause = "it is cut off" if "Unexpected end" in str(error) else "it cannot be read, or the disk is full"
        raise DataError(f"{mapped.raw.place}: {cause}; copy the file again, or make room, then run again") from error
    except duckdb.Error as error:  # its messages quote lines of the table
        raise DataError(
            f"{mapped.raw.place} is no table with {len(mapped.raw.columns)} cells in every row; export it again"
        ) from error


def _typed(table: Table, mapped: Mapped) -> str:
    """SQL of the rows with linking's columns and the first fault of each row, NULL where there is none."""
    columns = [column for column in table.value if column.name in mapped.cells]
    texts = ", ".join(f"{mapped.cells[column.name]} AS {column.name}_text" for column in columns)
    where = f"WHERE {mapped.where}" if mapped.where else ""
    values = ", ".join(f"{_value(column)} AS {column.name}" for column in columns)
    absent = "".join(f", NULL::{column.sql_type} AS {column.name}" for column in table.value if column not in columns)
    faults = " ".join(f"WHEN {test} THEN {quoted(reason)}" for column in columns for test, reason in _tests(column))
    if table is Table.ADMISSIONS and "discharged" in mapped.cells:
        faults += " WHEN discharged < admitted THEN 'end before they begin'"
    return f"""
        WITH numbered AS (SELECT row_number() OVER () AS position, * FROM {mapped.raw.rows()}),
             meant AS (SELECT position, {texts} FROM numbered {where}),
             typed AS (SELECT *, {values}{absent} FROM meant)
        SELECT position, {", ".join(column.name for column in table.value)}, CASE {faults} END AS fault FROM typed
    """


def _value(column: Column) -> str:
    text = f"{column.name}_text"
    if column.kind is Kind.ID:
        return f"nullif(regexp_replace({text}, {quoted(_WHOLE)}, '\\1'), '')"
    if column.kind is Kind.TIME:
        # A fraction of a second is cut off; DuckDB would round it, and move zoned times to another zone in silence.
        seconds = f"regexp_extract({text}, '^[^.,]*')"
        return f"CASE WHEN regexp_full_match({text}, {quoted(_TIME)}) THEN TRY_CAST({seconds} AS TIMESTAMP_S) END"
    if column.kind is Kind.NUMBER:
        number = f"TRY_CAST({text} AS DOUBLE)"
        return f"CASE WHEN isfinite({number}) THEN {number} END"
    return f"nullif({text}, '')"


def _tests(column: Column) -> list[tuple[str, str]]:
    """What makes a cell a fault, with the reason, the likeliest first."""
    text, name = f"{column.name}_text", column.name.replace("_", " ")
    tests = [(f"{text} = ''", f"without {name}")] if column.is_needed else []
    if column.kind is Kind.TIME:
        tests += [
            (f"regexp_full_match({text}, {quoted(_DATE)})", f"with a date and no hour as {name}"),
            (f"regexp_full_match({text}, {quoted(_ZONED)})", f"with a time zone in {name}"),
            (f"{text} <> '' AND {column.name} IS NULL", f"with a {name} that is no time"),
        ]
    return tests


def _counted(connection: "duckdb.DuckDBPyConnection", table: Table, file: Path) -> tuple[int, tuple[Fault, ...]]:
    stage = f"read_parquet({quoted(str(file))})"
    (num_rows,) = connection.execute(f"SELECT count(*) FROM {stage}").fetchone() or (0,)
    found = connection.execute(
        f"SELECT fault, count(*), list(position ORDER BY position)[:{_ROWS_NAMED}] FROM {stage} "
        "WHERE fault IS NOT NULL GROUP BY fault ORDER BY count(*) DESC, fault"
    ).fetchall()
    if table.key:
        twice = connection.execute(
            f"SELECT position FROM {stage} WHERE fault IS NULL "
            f"QUALIFY row_number() OVER (PARTITION BY {table.key} ORDER BY position) > 1 ORDER BY position"
        ).fetchall()
        if twice:
            first = [position for (position,) in twice[:_ROWS_NAMED]]
            found.append((f"of a {table.key.replace('_', ' ')} that stands before", len(twice), first))
    return num_rows, tuple(Fault(reason, count, tuple(rows)) for reason, count, rows in found)
