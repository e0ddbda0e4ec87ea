"""LINKS: a folder of pairs with the rule that made them, and what was lost on the way."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacx.core.artifacts import staged_directory, write_json
from pacx.core.errors import ArtifactError, DataError
from pacx.data.pairs.linked_films import FORMAT_VERSION, PAIRS_FILE, STORY_FILE, read_pairs, read_story
from pacx.linking.flow import Flow
from pacx.linking.raw_tables import quoted

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

_IDS = ("subject_id", "hadm_id", "study_id", "ecg_study_id")


@dataclass(frozen=True)
class Links:
    """Pairs of films, ECGs and laboratory values.

    Args:
        path: the folder.
        pairs: one row per pair: subject_id, hadm_id, dicom_id, study_id, film_time, film_path, split (train, val, test;
            empty where the hospital has none), ecg_study_id, ecg_time, ecg_path, one float column per laboratory item
            in the panel's units, NaN where there is no measurement, previous_dicom_id and previous_film_time of the
            patient's last film before this one, and previous_pairs, how many pairs that one has.
        items: names of the item columns.
        flow: from rows to pairs.
    """

    path: Path
    pairs: "pd.DataFrame"
    items: tuple[str, ...]
    flow: Flow

    @classmethod
    def open(cls, path: Path) -> "Links":
        """Open what ``pacx data link`` wrote.

        Raises:
            UsageError: there is no such folder.
            DataError: it is of another version, or damaged.
        """
        items, flow = _items_and_flow(path)
        return cls(path, read_pairs(path), items, flow)


def read_flow(path: Path) -> Flow:
    """From rows to pairs, without reading the pairs; errors as ``Links.open``."""
    return _items_and_flow(path)[1]


def _items_and_flow(path: Path) -> tuple[tuple[str, ...], Flow]:
    story = read_story(path)
    try:
        return tuple(map(str, story["items"])), Flow.from_json(story["flow"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({type(error).__name__}); link again") from error


def is_links(folder: Path) -> bool:
    """Whether ``pacx data link`` wrote this folder."""
    return (folder / STORY_FILE).is_file()


def write_links(
    path: Path,
    database: "duckdb.DuckDBPyConnection",
    items: tuple[str, ...],
    flow: Flow,
    origin: dict[str, Any],
    pictures: Mapping[str, bytes],
) -> None:
    """Write pairs; ids are whole numbers where all of them are, text where not.

    Args:
        path: the folder to make.
        database: with a table ``pairs`` of what ``Links`` has as pairs.
        items: names of the item columns.
        flow: from rows to pairs.
        origin: what was linked and by which rule, as JSON values.
        pictures: of the flow, by file name.

    Raises:
        ArtifactError: there is no room.
    """
    import duckdb

    with staged_directory(path) as partial:
        try:
            _write_pairs(partial / PAIRS_FILE, database)
        except duckdb.IOException as error:
            raise ArtifactError(f"cannot write {path}; free space or choose another place, then run again") from error
        for name, content in pictures.items():
            (partial / name).write_bytes(content)
        story = {"format_version": FORMAT_VERSION, **origin, "items": list(items), "flow": flow.to_json()}
        write_json(partial / STORY_FILE, story)


def _write_pairs(file: Path, database: "duckdb.DuckDBPyConnection") -> None:
    tests = ", ".join(f"coalesce(bool_and({_is_whole(name)}), true), bool_or({name} IS NULL)" for name in _IDS)
    found = database.execute(f"SELECT {tests} FROM pairs").fetchone() or ()
    whole = [name for name, is_whole in zip(_IDS, found[::2], strict=True) if is_whole]
    with_gaps = [name for name, has_gap in zip(_IDS, found[1::2], strict=True) if has_gap and name in whole]
    casts = ", ".join(f"CAST({name} AS BIGINT) AS {name}" for name in whole)
    rows = f"SELECT * REPLACE ({casts}) FROM pairs" if casts else "FROM pairs"
    # what pandas reads is said as pandas says it, or it would make floating-point numbers of ids where one is missing
    told = {"index_columns": [], "column_indexes": [], "columns": [_told(name) for name in with_gaps]}
    database.execute("SET threads = 1")  # so that the parts of the file do not depend on who was quicker
    database.execute(
        f"COPY ({rows}) TO {quoted(str(file))} (FORMAT parquet, KV_METADATA {{pandas: {quoted(json.dumps(told))}}})"
    )


def _is_whole(name: str) -> str:
    return f"regexp_full_match({name}, '0|[1-9][0-9]{{0,17}}')"


def _told(column: str) -> dict[str, object]:
    return {"name": column, "field_name": column, "pandas_type": "int64", "numpy_type": "Int64", "metadata": None}
