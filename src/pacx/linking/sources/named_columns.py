"""A small TOML that says which columns of somebody's own tables are what; one section a table.

    films = { table = "xray.csv", patient = "PatNo", time = "Taken", file = "Image" }
    labs  = { table = "lab.csv", patient = "PatNo", time = "Drawn", item = "Test", value = "Result", unit = "Unit" }

Paths are relative to the TOML. A section may also name ``folder`` (of its files; else its table's), ``time_format`` (as
strptime has it, where times are not written year first) and, for labs, ``items`` (own names of tests to the panel's)
and ``decimal`` ("," where numbers have a decimal comma). A ``time`` may be two columns, date and hour.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacx.core.discovery import like
from pacx.core.errors import DataError, UsageError
from pacx.linking.kinds import Kind, Table
from pacx.linking.raw_tables import Lookup, Mapped, RawTable, quoted, table_of
from pacx.linking.source import Hospital
from pacx.linking.sources.lab_codes import BY_NAME, ITEMS, factors, items_of


@dataclass(frozen=True)
class _Section:
    """What a section of the TOML may name.

    Args:
        table: which of linking's it is.
        needed: names that it has to have, with linking's columns.
        optional: others.
        instead: names that stand for an optional one that is not given.
    """

    table: Table
    needed: Mapping[str, str]
    optional: Mapping[str, str]
    instead: Mapping[str, str]

    @property
    def settings(self) -> tuple[str, ...]:
        """Names that are no columns."""
        files = ("folder",) if "file" in self.needed else ()
        numbers = ("decimal",) if "value" in self.needed else ()
        return ("table", *(("time_format",) if self.table is not Table.LABELLED else ()), *files, *numbers)


_SECTIONS = {
    "films": _Section(
        Table.FILMS,
        {"patient": "subject_id", "time": "film_time", "file": "film_path"},
        {"id": "dicom_id", "study": "study_id", "view": "view", "split": "split"},
        {"id": "file", "study": "id"},
    ),
    "ecgs": _Section(
        Table.RECORDINGS,
        {"patient": "subject_id", "time": "ecg_time", "file": "ecg_path"},
        {"id": "ecg_study_id"},
        {"id": "file"},
    ),
    "labs": _Section(
        Table.MEASUREMENTS,
        {"patient": "subject_id", "time": "taken", "item": "item", "value": "value"},
        {"unit": "unit", "items": ""},
        {},
    ),
    "admissions": _Section(
        Table.ADMISSIONS,
        {"patient": "subject_id", "id": "hadm_id", "begin": "admitted"},
        {"end": "discharged"},
        {},
    ),
    "labels": _Section(Table.LABELLED, {"study": "study_id"}, {}, {}),
}


def hospital_of(toml: Path) -> Hospital:
    """The tables that a TOML names.

    Raises:
        UsageError: there is no such file, or it names what nobody knows.
        DataError: it is no TOML, or a table or column that it names is missing.
    """
    sections = _read(toml)
    tables, folders = {}, {}
    for name, given in sections.items():
        section, table = _SECTIONS[name], _table(toml, name, given)
        tables[section.table] = _mapped(f"{toml}: {name}", section, given, table)
        folders[name] = toml.parent / given["folder"] if "folder" in given else table.files[0].parent
    return Hospital(
        tables=tables,
        items=ITEMS,
        film_root=folders.get("films", toml.parent),
        recording_root=folders.get("ecgs"),
    )


def _read(toml: Path) -> dict[str, dict[str, Any]]:
    if not toml.is_file():
        raise UsageError(f"{toml} is not a file; give a TOML that names the columns of your tables")
    try:
        sections = tomllib.loads(toml.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{toml} is no TOML ({error}); mend it") from None
    for name, given in sections.items():
        if name not in _SECTIONS or not isinstance(given, dict):
            raise UsageError(
                f"{toml} has '{name}', expected tables {', '.join(_SECTIONS)}{like(name, _SECTIONS)}; mend it"
            )
        section = _SECTIONS[name]
        known = (*section.settings, *section.needed, *section.optional)
        if absent := [each for each in ("table", *section.needed) if each not in given]:
            raise UsageError(f"{toml}: {name} does not name {', '.join(absent)}; name the column (or file) that it is")
        for key, value in given.items():
            if key not in known:
                raise UsageError(f"{toml}: {name} has '{key}', expected {', '.join(known)}{like(key, known)}; mend it")
            is_right = (
                isinstance(value, dict) and all(isinstance(each, str) for each in value.values())
                if key == "items"
                else isinstance(value, str) or (key in ("time", "begin", "end", "table") and _are_texts(value))
            )
            if not is_right:
                raise UsageError(f"{toml}: {name} has something else than text as '{key}'; mend it")
        if "time_format" in given:
            _require_moment(f"{toml}: {name}", given["time_format"])
        if given.get("decimal", ".") not in (".", ","):
            raise UsageError(f"{toml}: {name} has decimal '{given['decimal']}', expected '.' or ','; mend it")
    return sections


def _require_moment(place: str, time_format: str) -> None:
    """Refuse a format by which an hour would be guessed, or moved from one zone to another.

    Raises:
        UsageError: it lacks a part of date and hour, or has another one.
    """
    named = re.findall("%-?(.)", time_format.replace("%%", ""))
    if unknown := [each for each in named if each not in "aAbBdfgHIjmMnpSyY"]:
        raise UsageError(
            f"{place} has time_format '{time_format}' with %{unknown[0]}, which is not read (time zones are not, since "
            "they would move times); give times of the hospital's own clock by %Y %m %d %H %M %S"
        )
    has = {
        "year": {"y", "Y"} & {*named},
        "day": "j" in named or ("d" in named and {"m", "b", "B"} & {*named}),
        "hour (%H, or %I with %p)": "H" in named or {"I", "p"} <= {*named},
    }
    if lacking := [what for what, there in has.items() if not there]:
        raise UsageError(
            f"{place} has time_format '{time_format}' without {' and '.join(lacking)}, which nobody guesses; link a "
            'column that has it, or two as in time = ["day", "hour"]'
        )


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) for each in value)


def _table(toml: Path, name: str, given: Mapping[str, Any]) -> RawTable:
    files = [given["table"]] if isinstance(given["table"], str) else given["table"]
    return table_of(*(toml.parent / file for file in files))


def _mapped(place: str, section: _Section, given: Mapping[str, Any], table: RawTable) -> Mapped:
    columns = {**section.needed, **section.optional}
    texts = {}
    for name, ours in columns.items():
        source = name
        while source not in given and source in section.instead:
            source = section.instead[source]
        if source not in given or not ours or ours == "unit":
            continue
        kind = next(column.kind for column in section.table.value if column.name == ours)
        texts[ours] = _time(given, source, table) if kind is Kind.TIME else table.cell(given[source])
    if given.get("decimal") == ",":
        texts["value"] = _with_points(texts["value"])
    if section.table is Table.RECORDINGS:
        texts["ecg_path"] = f"regexp_replace({texts['ecg_path']}, '\\.(hea|dat)$', '')"
    if section.table is not Table.MEASUREMENTS:
        return Mapped(table, texts)
    own = items_of(given.get("items", {}), place)
    known = {**BY_NAME, **{name.casefold(): item for name, item in own.items()}}
    item = Lookup.of("item", f"regexp_replace(lower({texts['item']}), '\\.0*$', '')", known)
    texts["item"] = item.found
    unit = table.cell(given["unit"]) if "unit" in given else "''"
    factor = factors(item.found, unit)
    return Mapped(
        table,
        texts,
        where=f"{item.found} IS NOT NULL",
        others="are of other items",
        lookups=(item, factor),
        unit=unit,
        factor=factor.found,
    )


def _time(given: Mapping[str, Any], name: str, table: RawTable) -> str:
    columns = [given[name]] if isinstance(given[name], str) else given[name]
    text = f"trim({' || chr(32) || '.join(map(table.cell, columns))})"
    if "time_format" not in given:
        return text
    # what is not of this format stays as it is, so that it is counted as no time
    read = f"strftime(try_strptime({text}, {quoted(given['time_format'])}), '%Y-%m-%d %H:%M:%S')"
    return f"coalesce({read}, CASE WHEN {text} = '' THEN '' ELSE 'of another format' END)"


def _with_points(number: str) -> str:
    """SQL of a number that has a decimal comma, and thousands in groups by points; what is neither stays no number."""
    form = quoted(r"[+-]?([0-9]*|[0-9]{1,3}(\.[0-9]{3})+)(,[0-9]+)?")
    plain = f"replace(replace({number}, '.', ''), ',', '.')"
    other = f"CASE WHEN contains({number}, '.') THEN 'of another form' ELSE {number} END"
    return f"CASE WHEN regexp_full_match({number}, {form}) THEN {plain} ELSE {other} END"
