"""Laboratory values of a MEDS dataset, with films and ECGs as tables or in MIMIC's folders.

What is watched for: numbers are 32-bit floats, which are read by their shortest decimal; codes of MIMIC's extraction
hold an item id (LAB//50912//mg/dL, LAB//RESULT//50912//mg/dL, MIMIC_IV_LABITEM/50912), whose unit is MIMIC's; other
codes are known by LOINC, theirs or a parent's, and may end in a unit. That extraction dates results by when they were
stored in some versions, and by when they were drawn in others, so that pairs of the two differ.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pacx.core.errors import DataError, UsageError
from pacx.linking.kinds import Table
from pacx.linking.raw_tables import Lookup, Mapped, RawTable, quoted, table_of
from pacx.linking.source import Hospital, Source, SourceCard
from pacx.linking.sources.mimic_folders import mimic_tables

_UNKNOWN_UNIT = "UNK"


@dataclass(frozen=True, kw_only=True)
class MedsOptions:
    """Where the dataset and the films are."""

    meds: Path
    """The dataset: data/**/*.parquet with subject_id, time, code and numeric_value, and metadata/."""

    mimic_cxr_jpg: Path | None = None
    """MIMIC-CXR-JPG, where its films are these patients'."""

    mimic_iv_ecg: Path | None = None
    """MIMIC-IV-ECG, where its recordings are these patients'."""

    tables: Path | None = None
    """A TOML that names the columns of tables of films, ecgs, admissions or labels, as source tables has it."""

    items: Path | None = None
    """A csv of two columns, code and item: your own codes, and the test of the panel that each is."""

    admission_code: str = "HOSPITAL_ADMISSION"
    """With what codes of admissions begin; they need a column hadm_id."""

    discharge_code: str = "HOSPITAL_DISCHARGE"
    """With what codes of discharges begin."""


class Meds(Source[MedsOptions]):
    """Reads MEDS."""

    card = SourceCard(
        name="meds",
        title="a MEDS dataset, with films and ECGs as tables",
        example="pacx data link meds --meds meds --mimic-cxr-jpg mimic-cxr-jpg --mimic-iv-ecg mimic-iv-ecg --out links",
    )
    options_type = MedsOptions

    def open(self, options: MedsOptions) -> Hospital:
        """Map the dataset's events."""
        from pacx.linking.sources.lab_codes import ITEMS, own_items
        from pacx.linking.sources.named_columns import hospital_of

        events = _events(options.meds)
        tables = _admissions(events, options) if events.has("hadm_id") else {}
        tables[Table.MEASUREMENTS] = _measurements(events, options.meds, own_items(options.items))
        film_root, recording_root = options.mimic_cxr_jpg, options.mimic_iv_ecg
        tables |= mimic_tables(film_root, recording_root)
        if options.tables:
            own = hospital_of(options.tables)
            tables |= own.tables
            film_root, recording_root = film_root or own.film_root, recording_root or own.recording_root
        if Table.FILMS not in tables or film_root is None:
            raise UsageError("films are needed; give --mimic-cxr-jpg, or --tables with a TOML that names them")
        tables[Table.FILMS] = _divided(tables[Table.FILMS], options.meds)
        return Hospital(tables=tables, items=ITEMS, film_root=film_root, recording_root=recording_root)


SOURCE = Meds()


def _events(folder: Path) -> RawTable:
    found = [path for path in (folder / "data").rglob("*.parquet") if path.is_file()]
    if not found:
        raise UsageError(f"{folder} has no data/**/*.parquet; give the folder of a MEDS dataset")
    return table_of(*sorted(found, key=lambda path: [_natural(part) for part in path.parts]))


def _natural(part: str) -> tuple[tuple[int, str], ...]:
    return tuple((int(piece), "") if piece.isdecimal() else (-1, piece) for piece in re.split(r"(\d+)", part))


def _admissions(events: RawTable, options: MedsOptions) -> dict[Table, Mapped]:
    code, stay = events.cell("code"), events.cell("hadm_id")
    ends = Lookup(
        "end",
        stay,
        f"SELECT {stay} AS end_key, max({events.cell('time')}) AS end_found FROM {events.rows()} "
        f"WHERE starts_with({code}, {quoted(options.discharge_code)}) GROUP BY 1",
    )
    cells = {
        "subject_id": events.cell("subject_id"),
        "hadm_id": stay,
        "admitted": events.cell("time"),
        "discharged": f"coalesce({ends.found}, '')",
    }
    begins = f"starts_with({code}, {quoted(options.admission_code)})"
    return {Table.ADMISSIONS: Mapped(events, cells, where=begins, others="are other events", lookups=(ends,))}


def _measurements(events: RawTable, folder: Path, own: Mapping[str, str]) -> Mapped:
    from pacx.linking.sources.lab_codes import factors

    meant = {code: _meaning(code, parents, own) for code, parents in _codes(events, folder).items()}
    items = {code: item for code, (item, _) in meant.items() if item}
    if not items:
        raise DataError(f"{folder} has no code of the panel's tests (MIMIC item ids or LOINC); name yours with --items")
    code = events.cell("code")
    item = Lookup.of("item", code, items)
    written = Lookup.of("unit", code, {code: meant[code][1] for code in items})
    column = f"nullif({events.cell('unit')}, '')" if events.has("unit") else "NULL"
    unit = f"coalesce(nullif({written.found}, ''), {column}, '')"
    factor = factors(item.found, unit)
    return Mapped(
        events,
        {
            "subject_id": events.cell("subject_id"),
            "item": item.found,
            "taken": events.cell("time"),
            "value": events.cell("numeric_value"),
        },
        where=f"{item.found} IS NOT NULL",
        others="are other events",
        lookups=(item, written, factor),
        unit=unit,
        factor=factor.found,
    )


def _codes(events: RawTable, folder: Path) -> dict[str, tuple[str, ...]]:
    """Every code that occurs, with its parents where the metadata names them."""
    import duckdb
    import pandas as pd

    try:
        found = duckdb.execute(f"SELECT DISTINCT {events.cell('code')} FROM {events.rows()}").fetchall()
    except duckdb.Error as error:
        raise DataError(f"{events.place} cannot be read to its end; copy the dataset again") from error
    metadata, parents = folder / "metadata" / "codes.parquet", {}
    if metadata.is_file() and "parent_codes" in table_of(metadata).columns:
        named = pd.read_parquet(metadata, columns=["code", "parent_codes"]).dropna()
        parents = {code: tuple(map(str, of)) for code, of in zip(named["code"], named["parent_codes"], strict=True)}
    return {code: parents.get(code, ()) for (code,) in sorted(found)}


def _meaning(code: str, parents: tuple[str, ...], own: Mapping[str, str]) -> tuple[str, str]:
    """The item that a code is, "" for none, and the unit that it ends in, "" for the panel's or none."""
    from pacx.linking.sources.lab_codes import BY_LOINC, ITEMS

    parts = re.split(r"/+", code)
    if code in own:
        return own[code], ""
    if item := next((part for part in parts if part in ITEMS), ""):
        return item, ""
    names = [name.rpartition("/")[2] for name in (code.partition("//")[2].partition("//")[0], code, *parents)]
    item = next((BY_LOINC[name] for name in names if name in BY_LOINC), "")
    last = code.split("//")[-1]
    has_unit = item and code.count("//") >= 2 and last != _UNKNOWN_UNIT
    return item, last if has_unit else ""


def _divided(films: Mapped, folder: Path) -> Mapped:
    """Films with the dataset's own split of its patients, where it has one and they have none."""
    file = folder / "metadata" / "subject_splits.parquet"
    if "split" in films.cells or not file.is_file():
        return films
    lookup = Lookup.within("split", films.cells["subject_id"], table_of(file), "subject_id", "split")
    return Mapped(
        films.raw,
        {**films.cells, "split": f"coalesce({lookup.found}, '')"},
        where=films.where,
        lookups=(*films.lookups, lookup),
        reads=(*films.reads, file),
    )
