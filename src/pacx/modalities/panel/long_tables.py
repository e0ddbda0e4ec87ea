"""Long tables of measurements (whose, what, value, unit, when) as hospitals export them, to one row per sample.

Layouts say what the columns of a known export are called; a table is recognised by its header. Of every quantity the
earliest number counts, as in Symile-MIMIC, within a window around a sample's time where that is known. Units are
converted where the factor is known, and values in other units are left out and counted; dates are read in one way
only, year first, and others are counted; times of several zones are compared as the moments they are, and refused where
only some say their zone; text where a number belongs, and a number that stands for none, are counted, too: more than a
few of any of them stop the call. Other items and rows without an owner are passed over and counted in the notes.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pacx.core.errors import DataError, UsageError
from pacx.core.tables.cells import known
from pacx.core.tables.column_roles import Role, column_roles
from pacx.core.tables.column_roles import folded as folded_name
from pacx.core.tables.ids import persons, require_whole_ids, whole_ids, whole_number_id
from pacx.data.text_tables import TextTable, open_text_table, without_blank_rows
from pacx.modalities.panel.panels import PanelTable
from pacx.modalities.panel.reading import Losses, TableReading, are_stand_ins
from pacx.modalities.patients import ANYBODY, Patients
from pacx.modalities.targets import named
from pacx.models.panel.config import Panel

if TYPE_CHECKING:
    import pandas as pd


_EVENT_COLUMNS = ("owner", "patient", "quantity", "value", "hour")
_OWN_SAMPLE = "sample_id"
_ZONED = re.compile(r"[T ][0-9]{2}[0-9:.,]*\s*(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)", re.IGNORECASE)
_SAMPLE_TIMES = ("time", "datetime", "timestamp", "studydatetime", "acquisitiondatetime", "examdatetime",
                 "imagedatetime", "filmdatetime", "cxrdatetime", "sampletime", "filmtime", "cxrtime")  # fmt: skip
"""What the moment of a sample is called, folded, the likeliest first; a date alone or a time of day is none."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What the columns of an export are called; case, blanks and underscores do not count.

    Args:
        name: of the export.
        owner: whose row it is, and hence what becomes the sample id: an admission, a stay; None: a patient.
        patient: the person, where that is another column and has a name of its own; a table may lack it.
        item: what was measured.
        value: the number.
        unit: its unit.
        time: when.
        hours_per_step: of ``time`` where it counts from the owner's admission; None where it is a date and time.
        keys: item in lower case to the panel's key.
    """

    name: str
    owner: str | None
    patient: str | None
    item: str
    value: str
    unit: str
    time: str
    hours_per_step: float | None
    keys: Mapping[str, str]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns by which it is recognised."""
        return (*filter(None, (self.owner,)), self.item, self.value, self.unit, self.time)


Units = Mapping[str, Mapping[str, float]]
"""Factor to the panel's own unit, by key and by ``folded`` unit."""


def folded(unit: str) -> str:
    """A unit without the differences that mean nothing: case, blanks, the ways of writing micro and a power."""
    text = unit.strip().casefold().replace(" ", "").replace("µ", "u").replace("μ", "u").replace("mc", "u")
    return text.replace("*", "^").removeprefix("x")


def layout_of(table: TextTable, layouts: tuple[Layout, ...]) -> Layout | None:
    """The first layout all of whose columns a table has; None if it is of no known layout."""
    names = {folded_name(name) for name in table.names}
    return next((layout for layout in layouts if names.issuperset(map(folded_name, layout.columns))), None)


def require_columns_of(table: TextTable, layouts: tuple[Layout, ...], panel: Panel) -> None:
    """Say what is missing in a table that nearly has a known layout, or has nothing of any table that is known.

    Raises:
        DataError: half of the columns of a layout are there and others are not, or no column is a quantity's.
    """
    names = {folded_name(name) for name in table.names}
    if names & set(panel.keys):
        return

    def absent(layout: Layout) -> list[str]:
        return [name for name in layout.columns if folded_name(name) not in names]

    nearest = min(layouts, key=lambda layout: len(absent(layout)) / len(layout.columns))
    it_has = f"it has {named(table.names)}"
    if len(absent(nearest)) <= len(nearest.columns) / 2:
        raise DataError(
            f"{table.path} looks like a {nearest.name} and has no column {named(absent(nearest))} ({it_has}); name "
            f"its columns {', '.join(nearest.columns)}"
        )
    known_as = "; or ".join(f"{', '.join(layout.columns)} ({layout.name})" for layout in layouts)
    raise DataError(
        f"{table.path} is no table of {panel.name} that is known ({it_has}); expected the columns {_OWN_SAMPLE} and "
        f"one for each of {named(panel.keys)}, or one row per value with {known_as}"
    )


def _column(table: TextTable, name: str) -> str:
    """The one column that is called so, in whatever spelling."""
    found = [each for each in table.names if folded_name(each) == folded_name(name)]
    if name in found:
        return name
    if len(found) != 1:
        how = f"columns {named(found)}, which are one name" if found else f"no column {name}"
        raise DataError(f"{table.path} has {how}; it has {', '.join(table.names)}")
    return found[0]


def _each(column: "pd.Series[str]", change: Callable[[str], str]) -> "pd.Series[str]":
    """A column with every distinct text changed once."""
    return column.map({text: change(text) for text in column.unique()})


def _known_id(text: str) -> str:
    return whole_number_id(known(text))


def _columns(
    table: TextTable, layout: Layout, reading: TableReading, patients: Patients
) -> tuple[dict[str, str], list[str]]:
    """The column of each role, and what notes have to say of the choice; without patients, owners stand for them."""
    roles = {role: _column(table, getattr(layout, role)) for role in ("item", "value", "unit", "time")}
    own_samples = [name for name in table.names if folded_name(name) == folded_name(_OWN_SAMPLE)]
    told = reading.owner or (own_samples[0] if own_samples and not reading.samples else layout.owner)
    owner = None if told is None else _column(table, told)
    is_person = owner is not None and Role.PATIENT in column_roles([owner], (Role.PATIENT,), place="")
    used = [*roles.values(), *([owner] if owner and not is_person else [])]
    usual = owner if is_person else layout.patient
    known_as = next((each for each in table.names if usual and folded_name(each) == folded_name(usual)), None)
    wanted = (Role.PATIENT, Role.SAMPLE)
    found = patients.roles(table.names, wanted, place=table.path.name, used=used, usual=known_as)
    patient = found.get(Role.PATIENT)
    owner = owner or patient or found.get(Role.SAMPLE)
    if owner is None:
        raise UsageError(
            f"{table.path} has no column that says whose a row is; name it with --reading.owner, it has "
            f"{', '.join(table.names)}"
        )
    notes = [*table.notes, *(note for note in found.notes if patient not in (None, known_as))]
    if patient is None and not reading.samples:
        notes.append(f"no column names the patients: every {owner} counts as a person of its own")
    return {**roles, "owner": owner, "patient": patient or owner}, notes


def _chunks(table: TextTable, columns: Mapping[str, str]) -> "Iterator[pd.DataFrame]":
    """The columns by role as text, a part of the rows at a time; a table of any size passes through the same memory."""
    import pandas as pd

    for chunk in table.chunks(list(columns.values())):
        by_role = pd.DataFrame({role: chunk[name] for role, name in columns.items()})
        yield without_blank_rows(by_role)


def _in_own_units(chunk: "pd.DataFrame", panel: Panel, units: Units, losses: Losses) -> "pd.DataFrame":
    """Values in the panel's units; rows in units without a factor are gone. A blank unit is taken for the right one."""
    names = {quantity.key: quantity.name for quantity in panel.quantities}
    own = {quantity.key: folded(quantity.unit) for quantity in panel.quantities}
    pairs = chunk[["key", "unit"]].drop_duplicates()
    factor: dict[tuple[str, str], float] = {}
    for key, unit in zip(pairs["key"], pairs["unit"], strict=True):
        is_own = unit == "" or folded(unit) == own[key]
        factor[key, unit] = 1.0 if is_own else units.get(key, {}).get(folded(unit), np.nan)
    matters = {key for key in own if set(units.get(key, {}).values()) - {1.0}}
    factors = np.array([factor[pair] for pair in zip(chunk["key"], chunk["unit"], strict=True)], float)
    for (key, unit), count in Counter(zip(chunk["key"], chunk["unit"], strict=True)).items():
        if np.isnan(factor[key, unit]):
            losses.bad_units[names[key], unit] += count
        elif factor[key, unit] != 1.0:
            losses.converted[names[key], unit] += count
        losses.unitless += count * (unit == "" and key in matters)
    chunk = chunk.assign(value=chunk["value"] * factors)
    return chunk[~np.isnan(factors)]


def _hours(text: "pd.Series[str]", layout: Layout, zones: set[bool]) -> tuple[NDArray[np.float64], int]:
    """Times in hours, NaN where not known or unreadable, and how many are unreadable.

    Dates are read year first in any ISO spelling, cell by cell. Left to itself pandas takes the first cell's spelling
    for all, drops what is spelled otherwise, and reads 05/03 as the third of May. Whether the times say their zone is
    added to ``zones``.
    """
    import pandas as pd

    text = _each(text, known)
    if layout.hours_per_step is not None:
        hours = pd.to_numeric(text, errors="coerce").to_numpy(float) * layout.hours_per_step
    else:
        moments = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True)
        is_known = moments.notna().to_numpy(bool)
        zones.update(_ZONED.search(each) is not None for each in text[is_known].unique())
        seconds = moments.dt.tz_localize(None).to_numpy("datetime64[s]").astype(np.int64)
        hours = np.where(is_known, seconds / 3600, np.nan)
    return hours, int((np.isnan(hours) & text.ne("").to_numpy(bool)).sum())


def _require_one_clock(zones: set[bool], place: str) -> None:
    """Refuse to compare times that say their zone with times that do not: they may be hours apart."""
    if len(zones) > 1:
        raise DataError(
            f"some times in {place} say their time zone and others do not, so nobody knows how far apart they are; "
            "write all of them with it or all without"
        )


def _spelling(layout: Layout) -> str:
    return "2150-01-31 23:59:00" if layout.hours_per_step is None else "numbers"


def _events(chunk: "pd.DataFrame", layout: Layout, panel: Panel, units: Units, losses: Losses) -> "pd.DataFrame":
    """One chunk as owner, patient, quantity (its column in the panel), value, hour; only what can be used."""
    item = _each(chunk["item"], lambda text: whole_number_id(text).casefold())
    key = item.map(layout.keys)
    losses.rows += len(chunk)
    losses.other_items.update(item[key.isna()].unique())
    chunk = chunk.assign(key=key)[key.notna()]
    losses.known += len(chunk)
    hours, bad_times = _hours(chunk["time"], layout, losses.zones)
    losses.bad_times += bad_times
    losses.owners.update(map(known, chunk["owner"].unique()))
    chunk = chunk.assign(
        hour=np.where(np.isnan(hours), np.inf, hours),
        owner=_each(chunk["owner"], _known_id),
        patient=_each(chunk["patient"], known),
        unit=_each(chunk["unit"], known),
        quantity=chunk["key"].map({name: column for column, name in enumerate(panel.keys)}).astype(int),
    )
    losses.ownerless += int((chunk["owner"] == "").sum())
    chunk = chunk[chunk["owner"] != ""]
    values, is_bad = losses.numbers.read(chunk["value"])
    losses.no_number += int(is_bad.sum())
    losses.blank += int((np.isnan(values) & ~is_bad).sum())
    chunk = chunk.assign(value=values)[~np.isnan(values)]
    chunk = _in_own_units(chunk, panel, units, losses)
    is_stand_in = are_stand_ins(chunk["value"].to_numpy(float), chunk["quantity"].to_numpy(int), panel)
    losses.stand_ins += int(is_stand_in.sum())
    return chunk[~is_stand_in][list(_EVENT_COLUMNS)]


def _asked_samples(path: Path, owner: str, layout: Layout, losses: Losses) -> tuple["pd.DataFrame", tuple[str, ...]]:
    """The samples somebody asked for: sample_id, owner, and if the file says so hour and patient_id; and notes."""
    import pandas as pd

    if not path.is_file():
        raise UsageError(f"{path} is not a file; give the list of samples")
    table = open_text_table(path)
    names = {folded_name(name) for name in table.names}
    absent = [name for name in ("sample_id", owner) if folded_name(name) not in names]
    if absent:
        raise DataError(f"{path} has no column {named(absent)}; expected sample_id and {owner} (time, patient_id)")
    columns = {"sample_id": _column(table, "sample_id"), "owner": _column(table, owner)}
    moments = [name for spelling in _SAMPLE_TIMES for name in table.names if folded_name(name) == spelling]
    if moments:
        columns["hour"] = moments[0]
    patient = column_roles(table.names, (Role.PATIENT,), place=path.name, used=list(columns.values()))
    if Role.PATIENT in patient:
        columns["patient_id"] = patient.columns[Role.PATIENT]
    read = pd.concat(_chunks(table, columns), ignore_index=True)
    ids = whole_ids(read["sample_id"], f"column {columns['sample_id']} of {path}")
    require_whole_ids(read["owner"].map(known), f"column {columns['owner']} of {path}")
    read = read.assign(sample_id=ids, owner=_each(read["owner"], _known_id))
    if (read["sample_id"] == "").any():
        raise DataError(f"{path} has {int((read['sample_id'] == '').sum())} rows without a sample_id; give each one")
    if "patient_id" in read:
        read["patient_id"] = _each(read["patient_id"], known)
    notes = [f"{path.name}: time is column '{moments[0]}'"] if moments and moments[0] != "time" else []
    if "hour" in read:
        hour, _ = _hours(read["hour"], layout, losses.zones)
        if np.isnan(hour).any():  # blank ones too: a sample without a time has no window
            raise DataError(
                f"{path} has {int(np.isnan(hour).sum())} times that cannot be read; write them as {_spelling(layout)}"
            )
        read["hour"] = hour
    elif layout.hours_per_step is None:
        notes.append(f"{path.name} has no column time: of every {owner} the earliest values count, whenever they were")
    return read, (*patient.notes, *notes)


def _earliest(events: "pd.DataFrame") -> "pd.DataFrame":
    """The first of each sample's quantity; of equal times the first listed, as a strict comparison leaves it."""
    return events.sort_values("hour", kind="stable").drop_duplicates(["sample_id", "quantity"])


def read_long_table(
    table: TextTable,
    panel: Panel,
    layout: Layout,
    units: Units,
    reading: TableReading,
    patients: Patients = ANYBODY,
) -> PanelTable:
    """Read a long table.

    Args:
        table: a csv, possibly compressed, of any length.
        panel: what to look for.
        layout: what its columns are called.
        units: factors to the panel's own units.
        reading: which samples, and when.
        patients: which column says whose a row is.

    Returns:
        One row per sample that has any value, in the order of the samples asked for or of first appearance.

    Raises:
        UsageError: the samples are no file, or a column may name the patients and nobody says whether it does.
        DataError: a column is missing, nothing in it belongs to the panel, too many values are no numbers or in unknown
            units, or too many times cannot be read.
    """
    import pandas as pd

    path = table.path
    columns, notes = _columns(table, layout, reading, patients)
    losses, asked = Losses(), None
    if reading.samples is not None:
        asked, said = _asked_samples(reading.samples, columns["owner"], layout, losses)
        notes += said
    is_timed = layout.hours_per_step is not None or (asked is not None and "hour" in asked)
    if asked is not None and "hour" not in asked:
        asked = asked.assign(hour=0.0)  # where a table counts from admission, that is the sample's time
    parts = list[pd.DataFrame]()
    for chunk in _chunks(table, columns):
        events = _events(chunk, layout, panel, units, losses)
        if asked is None:
            events = events.assign(sample_id=events["owner"], reference=0.0, patient_id=events["patient"])
        else:
            reference = asked.rename(columns={"hour": "reference"})
            merged = events.merge(reference, on="owner", how="inner")
            losses.ownerless += len(events) - int(events["owner"].isin(asked["owner"]).sum())
            told = merged["patient_id"] if "patient_id" in merged else merged["patient"]
            events = merged.assign(patient_id=told.where(told != "", merged["patient"]))
        if is_timed:
            is_within = (events["hour"] - events["reference"]).abs() <= reading.window_h
            losses.outside += int((~is_within).sum())
            events = events[is_within]
        parts = [_earliest(pd.concat([*parts, events[["sample_id", "patient_id", "quantity", "value", "hour"]]]))]
    if not losses.rows:
        raise DataError(f"{path} has a header and no rows; export it again")
    kept = parts[0]
    require_whole_ids(losses.owners, f"column {columns['owner']} of {path}")
    _require_one_clock(losses.zones, f"{path}{f' and {reading.samples}' if reading.samples else ''}")
    _require_use(path, panel, layout, losses, kept, reading)
    order = pd.Index(asked["sample_id"] if asked is not None else pd.unique(kept.sort_index()["sample_id"]))
    counted = f"{losses.rows:,} rows, {losses.known:,} of them of the {len(panel)} {panel.name}"
    return _table(panel, kept, order, (*notes, counted, *losses.notes()))


def _require_use(
    path: Path, panel: Panel, layout: Layout, losses: Losses, kept: "pd.DataFrame", reading: TableReading
) -> None:
    if not losses.known:
        others = named(sorted(losses.other_items))
        raise DataError(
            f"{path} has none of the {len(panel)} {panel.name}: its {len(losses.other_items)} items ({others}) are all "
            f"unknown; expected items such as {named(panel.keys)}"
        )
    losses.require_numbers(str(path), losses.known, reading.max_bad_fraction)
    bad = sum(losses.bad_units.values())
    if bad > reading.max_bad_fraction * losses.known:
        worst = named(f"{name} in '{unit}' ({count})" for (name, unit), count in losses.bad_units.most_common())
        raise DataError(
            f"{path}: {bad} of {losses.known} values are in units that cannot be converted: {worst}; convert them, or "
            "allow a larger share of bad values to leave them out"
        )
    if losses.bad_times > reading.max_bad_fraction * losses.known:
        raise DataError(
            f"{path}: {losses.bad_times} of {losses.known} times cannot be read; write them as {_spelling(layout)}, or "
            "allow a larger share of bad values"
        )
    if kept.empty:
        raise DataError(f"{path} has no number that belongs to a sample; check the samples' ids, times and the window")


def _table(panel: Panel, kept: "pd.DataFrame", order: "pd.Index", notes: tuple[str, ...]) -> PanelTable:
    import pandas as pd

    if order.has_duplicates:
        raise DataError(f"samples are asked for more than once ({named(order[order.duplicated()])}); keep one row each")
    order = order[order.isin(kept["sample_id"])]
    values = np.full((len(order), len(panel)), np.nan)
    values[order.get_indexer(pd.Index(kept["sample_id"])), kept["quantity"].to_numpy(int)] = kept["value"]
    patients = kept.drop_duplicates("sample_id").set_index("sample_id")["patient_id"].reindex(order)
    return PanelTable(panel, tuple(order), values, persons(patients, list(order)), notes)
