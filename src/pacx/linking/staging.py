"""One pass over a hospital's table: its cells become ids, times and numbers, or a row is at fault by a named reason.

What comes out is a parquet file with the row's position in its table, linking's columns, and the fault. A stage that
is there already is not made again, so a killed call goes on where it was.
"""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pacx.core.artifacts import staged_file
from pacx.core.errors import DataError
from pacx.core.host import available_memory_bytes
from pacx.linking.kinds import Column, Kind, Table
from pacx.linking.raw_tables import WHOLE_NUMBER, Mapped, quoted
from pacx.linking.settings import LEAST_MIB

if TYPE_CHECKING:
    import duckdb

_TIME = r"\d{4}-\d{1,2}-\d{1,2}[ T]\d{1,2}:\d{2}(:\d{2}([.,]\d*)?)?"
_DATE = r"\d{4}-\d{1,2}-\d{1,2}"
_ZONED = _TIME + r"\s*(Z|UTC|[+-]\d{1,2}(:?\d{2})?)"
_OTHER = "another"
"""Stands as fault of a row that is not meant: the last of a csv, which is kept for its number."""
NUM_ROWS_NAMED = 3
"""Of the rows at fault, as many as anybody looks up."""
_SPLITS = {"train": "train", "training": "train", "validate": "val", "validation": "val", "valid": "val", "val": "val",
           "dev": "val", "tuning": "val", "test": "test", "testing": "test", "held_out": "test"}  # fmt: skip
"""Words of hospitals for train, val and test; tuning and held_out are those of MEDS."""


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
        num_others: of its rows that were not.
        faults: of rows that are left out.
    """

    table: Table
    place: str
    num_rows: int
    num_others: int
    faults: tuple[Fault, ...]


def connected(scratch: Path, num_threads: int, memory_mib: int) -> "duckdb.DuckDBPyConnection":
    """A DuckDB that spills to ``scratch`` instead of growing beyond its memory."""
    import duckdb

    free = available_memory_bytes()
    most_mib = memory_mib if free is None else max(LEAST_MIB, min(memory_mib, free // 2**21))  # half of what is free
    spilled = scratch / "spilled"
    shutil.rmtree(spilled, ignore_errors=True)  # of a call that was killed
    connection = duckdb.connect()
    connection.execute(f"SET threads = {num_threads}")
    connection.execute(f"SET memory_limit = '{most_mib}MiB'")
    connection.execute(f"SET temp_directory = {quoted(str(spilled))}")
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
    file = scratch / f"{table.unit}-{_fingerprint(sql, mapped)}.parquet"
    if not file.is_file():
        with staged_file(file) as partial, explained(mapped.raw.place, len(mapped.raw.columns)):
            connection.execute(f"COPY ({sql}) TO {quoted(str(partial))} (FORMAT parquet)")
    good = f"SELECT * EXCLUDE (fault) FROM read_parquet({quoted(str(file))}) WHERE fault IS NULL"
    key = table.key
    if table is Table.MEASUREMENTS:
        good += " AND value IS NOT NULL"
    once = f"QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY position) = 1" if key else ""
    connection.execute(f"CREATE VIEW {table.unit} AS {good} {once}")
    staged = Staged(table, mapped.raw.place, *_counted(connection, mapped, table, file))
    num_bad = sum(fault.count for fault in staged.faults)
    if num_bad > max_bad_fraction * staged.num_rows:
        raise DataError(
            f"{staged.place}: {num_bad:,} of {staged.num_rows:,} rows cannot be used, more than the "
            f"{max_bad_fraction:.2%} allowed: {'; '.join(map(str, staged.faults))}; mend them, or allow more"
        )
    return staged


def _fingerprint(sql: str, mapped: Mapped) -> str:
    """Of what a stage is made of: another file, or another reading of it, is another stage."""
    states = [(file.stat().st_size, file.stat().st_mtime_ns) for file in (*mapped.raw.files, *mapped.reads)]
    return hashlib.sha256(f"{sql}{states}".encode()).hexdigest()[:16]


@contextmanager
def explained(place: str, num_columns: int = 0) -> Iterator[None]:
    """Turn what DuckDB says, which may quote lines of a table, into one sentence.

    Args:
        place: what is being read or made.
        num_columns: that every row should have, where a table is read.

    Raises:
        DataError: there is too little memory or room, or the table is damaged.
    """
    import duckdb

    try:
        yield
    except duckdb.OutOfMemoryException as error:
        full = "the disk beside OUT is full" if "disk" in str(error) or "temp_directory" in str(error) else ""
        raise DataError(
            f"{place}: {full or 'the memory given is too little'}; make room, or give more with --memory-mib, then run "
            "the same call again"
        ) from error
    except duckdb.IOException as error:
        cause = "it is cut off" if "Unexpected end" in str(error) else "it cannot be read, or the disk is full"
        raise DataError(f"{place}: {cause}; copy the file again, or make room, then run again") from error
    except duckdb.Error as error:
        if not num_columns:
            raise
        raise DataError(f"{place} is no table with {num_columns} cells in every row; export it again") from error


def _typed(table: Table, mapped: Mapped) -> str:
    """SQL of the rows with linking's columns and the first fault of each row, NULL where there is none."""
    columns = [column for column in table.value if column.name in mapped.cells]
    texts = ", ".join(f"{mapped.cells[column.name]} AS {column.name}_text" for column in columns)
    if mapped.unit:
        texts += f", {mapped.unit} AS unit_text, {mapped.factor} AS factor"
    meant = f"coalesce({mapped.where}, false)" if mapped.where else "true"
    joins = "".join(f" LEFT JOIN ({each.rows}) ON {each.key} = {each.name}_key" for each in mapped.lookups)
    values = ", ".join(f"{_value(column)} AS {column.name}" for column in columns)
    absent = "".join(f", NULL::{column.sql_type} AS {column.name}" for column in table.value if column not in columns)
    faults = " ".join(f"WHEN {test} THEN {quoted(reason)}" for column in columns for test, reason in _tests(column))
    if mapped.unit:
        reason = "'of ' || item || ' in ' || left(unit_text, 20) || ', which cannot be converted'"
        faults += f" WHEN value IS NOT NULL AND factor IS NULL THEN {reason}"
    if table is Table.ADMISSIONS and "discharged" in mapped.cells:
        faults += " WHEN discharged < admitted THEN 'end before they begin'"
    results = ", ".join(
        "value * factor AS value" if mapped.unit and column.name == "value" else column.name for column in table.value
    )
    return f"""
        WITH numbered AS ({mapped.raw.numbered()}),
             meant AS (SELECT position, {meant} AS is_meant, {texts} FROM numbered{joins} WHERE {meant} OR is_last),
             typed AS (SELECT *, {values}{absent} FROM meant)
        SELECT position, {results}, CASE WHEN NOT is_meant THEN '{_OTHER}' {faults} END AS fault FROM typed
    """


def _value(column: Column) -> str:
    text = f"{column.name}_text"
    if column.kind is Kind.ID:
        whole = f"regexp_replace({text}, {quoted(WHOLE_NUMBER)}, '\\1')"
        return f"nullif(CASE WHEN contains({text}, '.') THEN {whole} ELSE {text} END, '')"  # most have no point
    if column.kind is Kind.TIME:
        # A fraction of a second is cut off; DuckDB would round it, and move zoned times to another zone in silence.
        point = f"contains({text}, '.') OR contains({text}, ',')"
        seconds = f"CASE WHEN {point} THEN regexp_extract({text}, '^[^.,]*') ELSE {text} END"
        return f"CASE WHEN regexp_full_match({text}, {quoted(_TIME)}) THEN TRY_CAST({seconds} AS TIMESTAMP_S) END"
    if column.kind is Kind.NUMBER:
        number = f"TRY_CAST({text} AS DOUBLE)"
        return f"CASE WHEN isfinite({number}) THEN {number} END"
    if column.kind is Kind.SPLIT:
        words = " ".join(f"WHEN {quoted(word)} THEN {quoted(split)}" for word, split in _SPLITS.items())
        return f"CASE lower({text}) {words} END"
    return f"nullif({text}, '')"


def _tests(column: Column) -> list[tuple[str, str]]:
    """What makes a cell a fault, with the reason, the likeliest first."""
    text, name = f"{column.name}_text", column.name.replace("_", " ")
    tests = [(f"{text} = ''", f"without {name}")] if column.is_needed else []
    if column.kind is Kind.TIME:
        tests += [
            (
                f"{column.name} IS NULL AND regexp_full_match({text}, {quoted(_DATE)})",
                f"with a date and no hour as {name}",
            ),
            (f"{column.name} IS NULL AND regexp_full_match({text}, {quoted(_ZONED)})", f"with a time zone in {name}"),
            (f"{text} <> '' AND {column.name} IS NULL", f"with a {name} that is no time"),
        ]
    if column.kind is Kind.SPLIT:
        tests += [(f"{text} <> '' AND {column.name} IS NULL", "of a split that is none of train, validate and test")]
    return tests


def _counted(
    connection: "duckdb.DuckDBPyConnection", mapped: Mapped, table: Table, file: Path
) -> tuple[int, int, tuple[Fault, ...]]:
    stage = f"(FROM read_parquet({quoted(str(file))}) WHERE fault IS DISTINCT FROM '{_OTHER}')"
    num_rows, num_last = connection.execute(
        f"SELECT count(*) FILTER (fault IS DISTINCT FROM '{_OTHER}'), max(position) "
        f"FROM read_parquet({quoted(str(file))})"
    ).fetchone() or (0, 0)
    num_others = (num_last or 0 if mapped.raw.separator else sum(mapped.raw.num_rows)) - num_rows
    found = connection.execute(
        f"SELECT fault, count(*), list(position ORDER BY position)[:{NUM_ROWS_NAMED}] FROM {stage} "
        "WHERE fault IS NOT NULL GROUP BY fault ORDER BY count(*) DESC, fault"
    ).fetchall()
    if table.key:
        twice = connection.execute(
            f"SELECT position FROM {stage} WHERE fault IS NULL "
            f"QUALIFY row_number() OVER (PARTITION BY {table.key} ORDER BY position) > 1 ORDER BY position"
        ).fetchall()
        if twice:
            first = [position for (position,) in twice[:NUM_ROWS_NAMED]]
            found.append((f"of a {table.key.replace('_', ' ')} that stands before", len(twice), first))
    return num_rows, num_others, tuple(Fault(reason, count, tuple(rows)) for reason, count, rows in found)
