"""Long tables of measurements (whose, what, value, unit, when) as hospitals export them, to one row per sample.

Layouts say what the columns of a known export are called; a table is recognised by its header. Of every quantity the
earliest number counts, as in Symile-MIMIC, within a window around a sample's time where that is known. Units are
converted where the factor is known, and values in other units are left out and counted; dates are read in one way
only, year first, and others are counted: more than a few of either stop the call. Text where a number belongs, other
items and rows without an owner are passed over and counted in the notes.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pacx.core.errors import DataError, UsageError
from pacx.modalities.panel.panels import PanelTable
from pacx.modalities.targets import named
from pacx.models.panel.config import Panel

if TYPE_CHECKING:
    import pandas as pd


_ROWS_AT_A_TIME = 1_000_000
_EVENT_COLUMNS = ("owner", "patient", "quantity", "value", "hour")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What the columns of an export are called, in lower case.

    Args:
        name: of the export.
        owner: whose row it is, and hence what becomes the sample id: an admission, a stay, a patient.
        patient: the person, where that is another column.
        item: what was measured.
        value: the number.
        unit: its unit.
        time: when.
        hours_per_step: of ``time`` where it counts from the owner's admission; None where it is a date and time.
        keys: item in lower case to the panel's key.
    """

    name: str
    owner: str
    patient: str | None
    item: str
    value: str
    unit: str
    time: str
    hours_per_step: float | None
    keys: Mapping[str, str]

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns it needs."""
        return tuple(filter(None, (self.owner, self.patient, self.item, self.value, self.unit, self.time)))


@dataclass(frozen=True, kw_only=True)
class TableReading:
    """How a long table is turned into samples; nothing here matters to other tables."""

    samples: Path | None = None
    """A csv with sample_id and the owner column of the table, and if known time and patient_id; without it every
    owner is a sample."""

    owner: str | None = None
    """The column that says whose a row is, if not the layout's own (hadm_id, patientunitstayid, patient_id)."""

    window_h: float = 24.0
    """Hours before and after a sample's time within which a measurement counts, where that time is known."""

    max_bad_fraction: float = 0.001
    """Stop when more values than this share are in a unit nobody can convert, or at a time nobody can read."""


Units = Mapping[str, Mapping[str, float]]
"""Factor to the panel's own unit, by key and by ``folded`` unit."""


def folded(unit: str) -> str:
    """A unit without the differences that mean nothing: case, blanks, the ways of writing micro and a power."""
    text = unit.strip().casefold().replace(" ", "").replace("µ", "u").replace("μ", "u").replace("mc", "u")
    return text.replace("*", "^").removeprefix("x")


@dataclass
class _Tally:
    """What was passed over, for the notes."""

    rows: int = 0
    known: int = 0
    other_items: set[str] = field(default_factory=set)
    ownerless: int = 0
    no_number: int = 0
    bad_times: int = 0
    converted: Counter[tuple[str, str]] = field(default_factory=Counter)
    bad_units: Counter[tuple[str, str]] = field(default_factory=Counter)

    def notes(self, panel: Panel) -> tuple[str, ...]:
        said = [f"{self.rows:,} rows, {self.known:,} of them of the {len(panel)} {panel.name}"]
        if self.other_items:
            said.append(f"{len(self.other_items)} other items passed over")
        if self.ownerless:
            said.append(f"{self.ownerless:,} rows belong to no sample")
        if self.no_number:
            said.append(f"{self.no_number:,} values are no numbers and count as not measured")
        if self.bad_times:
            said.append(f"{self.bad_times:,} times cannot be read; such values count last, or not at all in a window")
        for (name, unit), count in self.converted.most_common():
            said.append(f"{count:,} values of {name} converted from {unit}")
        for (name, unit), count in self.bad_units.most_common():
            said.append(f"{count:,} values of {name} left out: unit '{unit}'")
        return tuple(said)


def _header(path: Path) -> dict[str, str]:
    import pandas as pd

    if not path.is_file():
        raise UsageError(f"{path} is not a file; give the table of measurements")
    try:
        names = pd.read_csv(path, nrows=0).columns
    except (ValueError, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path} is not a readable csv file ({type(error).__name__}); export it again") from error
    return {str(name).strip().casefold(): str(name) for name in names}


def layout_of(path: Path, layouts: tuple[Layout, ...]) -> Layout | None:
    """The first layout all of whose columns a table has; None if it is of no known layout.

    Raises:
        UsageError: there is no such file.
        DataError: it is no csv.
    """
    header = _header(path)
    return next((layout for layout in layouts if set(layout.columns) <= header.keys()), None)


def _chunks(path: Path, columns: Mapping[str, str]) -> "Iterator[pd.DataFrame]":
    """The named columns as text, a million rows at a time; a table of any size passes through the same memory."""
    import pandas as pd

    spelled = _header(path)
    absent = [name for name in columns.values() if name not in spelled]
    if absent:
        raise DataError(f"{path} has no column {named(absent)}; it has {named(spelled)}")
    wanted = {spelled[name]: role for role, name in columns.items()}
    names = list(set(wanted))
    with pd.read_csv(path, usecols=names, dtype=str, chunksize=_ROWS_AT_A_TIME, na_values=["NA", ""]) as reader:
        for chunk in reader:
            yield pd.DataFrame({role: chunk[spelled[name]] for role, name in columns.items()})


def _in_own_units(chunk: "pd.DataFrame", panel: Panel, units: Units, tally: _Tally) -> "pd.DataFrame":
    """Values in the panel's units; rows in units without a factor are gone. A blank unit is taken for the right one."""
    names = {quantity.key: quantity.name for quantity in panel.quantities}
    own = {quantity.key: folded(quantity.unit) for quantity in panel.quantities}
    pairs = chunk[["key", "unit"]].drop_duplicates()
    factor: dict[tuple[str, str], float] = {}
    for key, unit in zip(pairs["key"], pairs["unit"], strict=True):
        is_own = unit == "" or folded(unit) == own[key]
        factor[key, unit] = 1.0 if is_own else units.get(key, {}).get(folded(unit), np.nan)
    factors = np.array([factor[pair] for pair in zip(chunk["key"], chunk["unit"], strict=True)], float)
    for (key, unit), count in Counter(zip(chunk["key"], chunk["unit"], strict=True)).items():
        if np.isnan(factor[key, unit]):
            tally.bad_units[names[key], unit] += count
        elif factor[key, unit] != 1.0:
            tally.converted[names[key], unit] += count
    chunk = chunk.assign(value=chunk["value"] * factors)
    return chunk[~np.isnan(factors)]


def _hours(text: "pd.Series[str]", layout: Layout, path: Path) -> tuple[NDArray[np.float64], int]:
    """Times in hours, NaN where blank or unreadable, and how many are unreadable.

    Dates are read year first in any ISO spelling, cell by cell. Left to itself pandas takes the first cell's spelling
    for all, drops what is spelled otherwise, and reads 05/03 as the third of May.
    """
    import pandas as pd

    text = text.str.strip()
    if layout.hours_per_step is not None:
        hours = pd.to_numeric(text, errors="coerce").to_numpy(float) * layout.hours_per_step
    else:
        try:
            moments = pd.to_datetime(text, format="ISO8601", errors="coerce").to_numpy("datetime64[s]")
        except ValueError as error:
            raise DataError(f"{path} has times in several time zones; write all of them in one") from error
        hours = np.where(np.isnat(moments), np.nan, moments.astype(np.int64) / 3600)
    return hours, int((np.isnan(hours) & text.fillna("").ne("").to_numpy(bool)).sum())


def _spelling(layout: Layout) -> str:
    return "2150-01-31 23:59:00" if layout.hours_per_step is None else "numbers"


def _events(
    chunk: "pd.DataFrame", path: Path, layout: Layout, panel: Panel, units: Units, tally: _Tally
) -> "pd.DataFrame":
    """One chunk as owner, patient, quantity (its column in the panel), value, hour; only what can be used."""
    import pandas as pd

    key = chunk["item"].str.strip().str.casefold().map(layout.keys)
    tally.rows += len(chunk)
    tally.other_items.update(chunk["item"][key.isna()].dropna().unique())
    chunk = chunk.assign(key=key)[key.notna()]
    tally.known += len(chunk)
    hours, bad_times = _hours(chunk["time"], layout, path)
    tally.bad_times += bad_times
    chunk = chunk.assign(hour=np.where(np.isnan(hours), np.inf, hours))
    tally.ownerless += int(chunk["owner"].isna().sum())
    chunk = chunk[chunk["owner"].notna()]
    number = pd.to_numeric(chunk["value"], errors="coerce")
    number = number.where(np.isfinite(number))
    tally.no_number += int(number.isna().sum())
    chunk = chunk.assign(value=number, unit=chunk["unit"].fillna(""))[number.notna()]
    chunk = _in_own_units(chunk, panel, units, tally)
    position = {name: column for column, name in enumerate(panel.keys)}
    chunk = chunk.assign(quantity=chunk["key"].map(position))
    return chunk.assign(patient=chunk["patient"] if layout.patient else chunk["owner"])[list(_EVENT_COLUMNS)]


def _asked_samples(path: Path, owner: str, layout: Layout) -> "pd.DataFrame":
    """The samples somebody asked for: sample_id, owner, and if the file says so hour and patient_id."""
    import pandas as pd

    header = _header(path)
    absent = [name for name in ("sample_id", owner) if name not in header]
    if absent:
        raise DataError(f"{path} has no column {named(absent)}; expected sample_id and {owner} (time, patient_id)")
    read = pd.read_csv(path, dtype=str)
    table = pd.DataFrame({"sample_id": read[header["sample_id"]], "owner": read[header[owner]]})
    if "patient_id" in header:
        table["patient_id"] = read[header["patient_id"]]
    if "time" in header:
        hour, _ = _hours(read[header["time"]], layout, path)
        if np.isnan(hour).any():  # blank ones too: a sample without a time has no window
            raise DataError(
                f"{path} has {int(np.isnan(hour).sum())} times that cannot be read; write them as {_spelling(layout)}"
            )
        table["hour"] = hour
    return table


def _earliest(events: "pd.DataFrame") -> "pd.DataFrame":
    """The first of each sample's quantity; of equal times the first listed, as a strict comparison leaves it."""
    return events.sort_values("hour", kind="stable").drop_duplicates(["sample_id", "quantity"])


def read_long_table(path: Path, panel: Panel, layout: Layout, units: Units, reading: TableReading) -> PanelTable:
    """Read a long table.

    Args:
        path: a csv, possibly compressed, of any length.
        panel: what to look for.
        layout: what its columns are called.
        units: factors to the panel's own units.
        reading: which samples, and when.

    Returns:
        One row per sample that has any value, in the order of the samples asked for or of first appearance.

    Raises:
        UsageError: there is no such file.
        DataError: a column is missing, nothing in it belongs to the panel, too many values are in unknown units, or
            too many times cannot be read.
    """
    import pandas as pd

    owner = reading.owner.casefold() if reading.owner else layout.owner
    roles = {"owner": owner, "patient": layout.patient, "item": layout.item, "value": layout.value}
    roles |= {"unit": layout.unit, "time": layout.time}
    asked = None if reading.samples is None else _asked_samples(reading.samples, owner, layout)
    is_timed = layout.hours_per_step is not None or (asked is not None and "hour" in asked)
    if asked is not None and "hour" not in asked:
        asked = asked.assign(hour=0.0)  # where a table counts from admission, that is the sample's time
    tally, parts = _Tally(), list[pd.DataFrame]()
    for chunk in _chunks(path, {role: name for role, name in roles.items() if name}):
        events = _events(chunk, path, layout, panel, units, tally)
        if asked is None:
            events = events.assign(sample_id=events["owner"], reference=0.0, patient_id=events["patient"])
        else:
            reference = asked.rename(columns={"hour": "reference"})
            merged = events.merge(reference, on="owner", how="inner")
            tally.ownerless += len(events) - int(events["owner"].isin(asked["owner"]).sum())
            events = merged if "patient_id" in merged else merged.assign(patient_id=merged["patient"])
        if is_timed:
            events = events[(events["hour"] - events["reference"]).abs() <= reading.window_h]
        parts = [_earliest(pd.concat([*parts, events[["sample_id", "patient_id", "quantity", "value", "hour"]]]))]
    if not tally.rows:
        raise DataError(f"{path} has a header and no rows; export it again")
    kept = parts[0]
    _require_use(path, panel, layout, tally, kept, reading)
    order = pd.Index(asked["sample_id"] if asked is not None else pd.unique(kept.sort_index()["sample_id"]))
    return _table(panel, kept, order, tally)


def _require_use(
    path: Path, panel: Panel, layout: Layout, tally: _Tally, kept: "pd.DataFrame", reading: TableReading
) -> None:
    if not tally.known:
        others = named(sorted(tally.other_items))
        raise DataError(
            f"{path} has none of the {len(panel)} {panel.name}: its {len(tally.other_items)} items ({others}) are all "
            f"unknown; expected items such as {named(panel.keys)}"
        )
    bad = sum(tally.bad_units.values())
    if bad > reading.max_bad_fraction * tally.known:
        worst = named(f"{name} in '{unit}' ({count})" for (name, unit), count in tally.bad_units.most_common())
        raise DataError(
            f"{path}: {bad} of {tally.known} values are in units that cannot be converted: {worst}; convert them, or "
            "allow a larger share of bad values to leave them out"
        )
    if tally.bad_times > reading.max_bad_fraction * tally.known:
        raise DataError(
            f"{path}: {tally.bad_times} of {tally.known} times cannot be read; write them as {_spelling(layout)}, or "
            "allow a larger share of bad values"
        )
    if kept.empty:
        raise DataError(f"{path} has no number that belongs to a sample; check the samples' ids, times and the window")


def _table(panel: Panel, kept: "pd.DataFrame", order: "pd.Index", tally: _Tally) -> PanelTable:
    import pandas as pd

    if order.has_duplicates:
        raise DataError(f"samples are asked for more than once ({named(order[order.duplicated()])}); keep one row each")
    order = order[order.isin(kept["sample_id"])]
    values = np.full((len(order), len(panel)), np.nan)
    values[order.get_indexer(pd.Index(kept["sample_id"])), kept["quantity"].to_numpy(int)] = kept["value"]
    patients = kept.drop_duplicates("sample_id").set_index("sample_id")["patient_id"].reindex(order)
    notes = tally.notes(panel)
    return PanelTable(
        panel, tuple(order), values, tuple(patients.fillna(patients.index.to_series()).astype(str)), notes
    )
