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
from pacx.core.tables.cells import UNKNOWN_WORDS
from pacx.core.tables.ids import ROUNDED
from pacx.linking.kinds import Column, Kind, Table
from pacx.linking.raw_tables import WHOLE_NUMBER, Cell, Mapped, quoted, trimmed
from pacx.linking.settings import LEAST_MIB

if TYPE_CHECKING:
    import duckdb

_HOUR = r"([01]?\d|2[0-3])"
"""DuckDB takes 24:00 for the next day's midnight."""
_TIME = rf"\d{{4}}-\d{{1,2}}-\d{{1,2}}[ T]{_HOUR}:\d{{2}}(:\d{{2}}([.,]\d*)?)?"
_COMMONEST = r"\d{4}-\d\d-\d\d ([01]\d|2[0-3]):\d\d:\d\d"
_DATE = r"\d{4}-\d{1,2}-\d{1,2}"
_ZONED = _TIME + r"\s*(Z|UTC|[+-]\d{1,2}(:?\d{2})?)"
_OTHER = "another"
"""Stands as fault of a row that is not meant: the last of a csv, which is kept for its number."""
_FORMAT = "FORMAT parquet, ROW_GROUP_SIZE 20480, DICTIONARY_SIZE_LIMIT 4096"
"""A part of a file is held in memory until it is full. In one patients and items are few; thousands of different times
or numbers are not worth looking for."""
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
        num_good: rows that can be used.
        num_people: patients of them; 0 where the table names none.
        faults: of rows that are left out.
    """

    table: Table
    place: str
    num_rows: int
    num_others: int
    num_good: int
    num_people: int
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
            connection.execute(f"COPY ({sql}) TO {quoted(str(partial))} ({_FORMAT})")
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
            f"{max_bad_fraction:.2%} allowed: {'; '.join(map(str, staged.faults))}; mend them, or allow more with "
            "--max-bad-fraction"
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
    seen = ", ".join(_seen(column, mapped.cells[column.name]) for column in columns)
    if mapped.unit:
        seen += f", {mapped.unit} AS unit_text, {mapped.factor} AS factor"
    meant = f"coalesce({mapped.where}, false)" if mapped.where else "true"
    joins = "".join(f" LEFT JOIN ({each.rows}) ON {each.key} = {each.name}_key" for each in mapped.lookups)
    values = ", ".join(f"{_value(column, mapped.cells[column.name])} AS {column.name}" for column in columns)
    absent = "".join(f", NULL::{column.sql_type} AS {column.name}" for column in table.value if column not in columns)
    tests = {column: _tests(column, mapped.cells[column.name]) for column in columns}
    faults = " ".join(f"WHEN {test} THEN {quoted(reason)}" for some in tests.values() for test, reason in some)
    is_good = ["is_meant", *(_is_plain(column) for column, some in tests.items() if some)]
    if mapped.unit:
        reason = "'of ' || item || ' in ' || left(unit_text, 20) || ', which cannot be converted'"
        faults += f" WHEN value IS NOT NULL AND factor IS NULL THEN {reason}"
        is_good.append("factor IS NOT NULL")
    if table is Table.ADMISSIONS and "discharged" in mapped.cells:
        faults += " WHEN discharged < admitted THEN 'end before they begin'"
        is_good.append("discharged >= admitted")
    results = ", ".join(
        "value * factor AS value" if mapped.unit and column.name == "value" else column.name for column in table.value
    )
    # most rows are good, which is seen without looking for what else they might be
    return f"""
        WITH numbered AS ({mapped.raw.numbered()}),
             meant AS (SELECT position, {meant} AS is_meant, {seen} FROM numbered{joins} WHERE {meant} OR is_last),
             typed AS (SELECT *, {values}{absent} FROM meant)
        SELECT position, {results}, CASE WHEN {" AND ".join(is_good)} THEN NULL
               WHEN NOT is_meant THEN '{_OTHER}' {faults} END AS fault FROM typed
    """


def _seen(column: Column, cell: str) -> str:
    """What of a cell is taken along to be made a value of: itself, or the number that it says (itself without one)."""
    stored = cell.stored if isinstance(cell, Cell) else cell
    if column.kind is Kind.NUMBER:
        number = f"coalesce(TRY_CAST({stored} AS DOUBLE), TRY_CAST({cell} AS DOUBLE))"  # which takes off few blanks
        text = f"CASE WHEN isfinite({number}) THEN NULL ELSE {stored} END"
        return f"{number} AS {column.name}_number, {text} AS {column.name}_text"
    return f"{stored} AS {column.name}_text"


def _text(column: Column, cell: str) -> str:
    """SQL of the text of a cell that was taken along; "" where a word says that it is not known."""
    text = trimmed(f"{column.name}_text") if isinstance(cell, Cell) else f"{column.name}_text"
    if column.kind in (Kind.OWNER, Kind.TIME, Kind.NUMBER):
        return f"CASE WHEN lower({text}) IN ({', '.join(map(quoted, sorted(UNKNOWN_WORDS)))}) THEN '' ELSE {text} END"
    return text


def _is_plain(column: Column) -> str:
    """SQL of what most cells are, so that nobody has to look for what is wrong with them."""
    return f"{column.name}_text IS NULL" if column.kind is Kind.NUMBER else f"{column.name} IS NOT NULL"


def _value(column: Column, cell: str) -> str:
    text, stored = _text(column, cell), f"{column.name}_text"
    if column.kind in (Kind.ID, Kind.OWNER):
        whole = f"regexp_replace({text}, {quoted(WHOLE_NUMBER)}, '\\1')"
        value = f"nullif(CASE WHEN contains({text}, '.') THEN {whole} ELSE {text} END, '')"  # most have no point
        value = f"CASE WHEN NOT {_is_rounded(text)} THEN {value} END"
        return f"CASE WHEN regexp_full_match({stored}, '[1-9][0-9]*') THEN {stored} ELSE {value} END"
    if column.kind is Kind.TIME:
        # A fraction of a second is cut off; DuckDB would round it, and move zoned times to another zone in silence.
        point = f"contains({text}, '.') OR contains({text}, ',')"
        seconds = f"CASE WHEN {point} THEN regexp_extract({text}, '^[^.,]*') ELSE {text} END"
        value = f"CASE WHEN regexp_full_match({text}, {quoted(_TIME)}) THEN TRY_CAST({seconds} AS TIMESTAMP_S) END"
        plain = f"regexp_full_match({stored}, {quoted(_COMMONEST)})"
        return f"CASE WHEN {plain} THEN TRY_CAST({stored} AS TIMESTAMP_S) ELSE {value} END"
    if column.kind is Kind.NUMBER:
        return f"CASE WHEN isfinite({column.name}_number) THEN {column.name}_number END"
    if column.kind is Kind.SPLIT:
        words = " ".join(f"WHEN {quoted(word)} THEN {quoted(split)}" for word, split in _SPLITS.items())
        return f"CASE lower({text}) {words} END"
    return f"nullif({text}, '')"


def _is_rounded(text: str) -> str:
    """SQL of whether an id has lost its digits, so that it may be several people's."""
    return f"regexp_full_match({text}, {quoted(ROUNDED)})"


def _tests(column: Column, cell: str) -> list[tuple[str, str]]:
    """What makes a cell a fault, with the reason, the likeliest first."""
    text, name = _text(column, cell), column.name.replace("_", " ")
    tests = [(f"{text} = ''", f"without {name}")] if column.is_needed else []
    if column.kind in (Kind.ID, Kind.OWNER):
        tests += [(_is_rounded(text), f"with a rounded number as {name}")]
    if column.kind is Kind.NUMBER:
        tests += [
            (
                f"{column.name} IS NULL AND contains({text}, ',')",
                f"with a comma in {name}, of decimals or of thousands",
            ),
            (f"{column.name} IS NULL AND {text} <> ''", f"whose {name} is no number"),
        ]
    if column.kind is Kind.TIME:
        tests += [
            (
                f"{column.name} IS NULL AND regexp_full_match({text}, {quoted(_DATE)})",
                f"with a date and no hour as {name}",
            ),
            (f"{column.name} IS NULL AND regexp_full_match({text}, {quoted(_ZONED)})", f"with a time zone in {name}"),
            (f"{text} <> '' AND {column.name} IS NULL", f"whose {name} is no time"),
        ]
    if column.kind is Kind.SPLIT:
        tests += [(f"{text} <> '' AND {column.name} IS NULL", "of a split that is none of train, validate and test")]
    return tests


def _counted(
    connection: "duckdb.DuckDBPyConnection", mapped: Mapped, table: Table, file: Path
) -> tuple[int, int, int, int, tuple[Fault, ...]]:
    """Rows that were meant, that were not, good ones and their patients, and the faults of the others."""
    people = "count(DISTINCT subject_id)" if table is not Table.LABELLED else "0"
    good = "count(value)" if table is Table.MEASUREMENTS else "count(*)"
    if table is Table.MEASUREMENTS:
        people = "count(DISTINCT subject_id) FILTER (value IS NOT NULL)"
    key = table.key
    found = connection.execute(
        f"SELECT fault, count(*), {good}, {people}, min(position, {NUM_ROWS_NAMED}), max(position), "
        f"{f'count(DISTINCT {key})' if key else 'count(*)'} FROM read_parquet({quoted(str(file))}) "
        "GROUP BY fault ORDER BY count(*) DESC, fault"
    ).fetchall()
    num_rows = sum(count for fault, count, *_ in found if fault != _OTHER)
    num_all = max((last for *_, last, _ in found), default=0) if mapped.raw.separator else sum(mapped.raw.num_rows)
    faults = [Fault(fault, row[0], tuple(row[3])) for fault, *row in found if fault not in (None, _OTHER)]
    num, num_good, num_people, *_, num_names = next((row for fault, *row in found if fault is None), [0] * 6)
    if key and num_names < num:
        stage = f"read_parquet({quoted(str(file))}) WHERE fault IS NULL"
        rank = f"row_number() OVER (PARTITION BY {key} ORDER BY position)"
        twice = connection.execute(
            f"SELECT count(*), min(position, {NUM_ROWS_NAMED}) FROM (SELECT position FROM {stage} QUALIFY {rank} > 1)"
        ).fetchone()
        num_good, num_people = connection.execute(
            f"SELECT count(*), {people} FROM (FROM {stage} QUALIFY {rank} = 1)"
        ).fetchone() or (0, 0)
        if twice:
            faults.append(Fault(f"whose {key.replace('_', ' ')} stands before", twice[0], tuple(twice[1])))
    return num_rows, num_all - num_rows, num_good, num_people, tuple(faults)
