"""Tables (csv, tsv, txt) of one recording: a row per sample, a column per lead, their names in the header.

The unit stands behind the lead's name (``I [mV]``), in a row of units below the names, or is said; the rate follows
from a column of times, or is said. Times may be 1:02.500; others without a unit are in seconds where ECGs have such a
rate: 1/60000 may be 60 kHz or a minute's part. Comments may stand above the heading (#, %, //), and gzip, bz2 or zstd
may have packed it all. What PhysioNet's rdsamp prints is such a table.
"""

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pacx.core.errors import DataError
from pacx.core.host import require_memory
from pacx.core.tables.cells import known
from pacx.core.vocabulary import ECG_LEADS
from pacx.data.text_tables import DELIMITERS, TextTable, open_text_table, packing, unpacked_head
from pacx.modalities.ecg_signal.ecg_file import NUM_HEAD_BYTES, OneEcgFormat
from pacx.modalities.ecg_signal.facts import EcgFacts, EcgUnit, UnusableError
from pacx.modalities.ecg_signal.record import MILLIVOLTS, RATES_HZ, EcgRecord, Window
from pacx.modalities.ecg_signal.recordings import lead_called

if TYPE_CHECKING:
    import pandas as pd

_WITH_UNIT = re.compile(r"(.*?)[\s\[({_/,:.-]+(?:in\s+)?([^\s\[\](){}_/,:.-]+)[\s\])}.]*", re.IGNORECASE)
"""I [mV], I (mV), I_mV, I mV, I/mV, I in mV, I, mV, and I..mV. as R makes it of the first."""
_TIMES = ("t", "time", "times", "elapsed time", "zeit")
_LONGEST_NAME = 60  # of a column with a unit: looking for one takes long in a page of text
_CALLED_BY_UNIT = ("sec", "secs", "seconds", "ms", "msec", "milliseconds", "minutes")
_SECONDS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("us", "µs", "μs", "usec", "microsecond", "microseconds"), 1e-6),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), 60.0),
}
_UNITS = _SECONDS.keys() | MILLIVOLTS.keys()
_UNSAID_HZ = (50.0, 3000.0)
"""Rates that are taken for so many samples a second where nothing says the unit of time. So many a millisecond or a
minute no ECG has; 3000 a minute may be one of 50 Hz."""
_FEWEST_LEADS = 2
_COMMENT = re.compile(r"[\s\"]*(?:#|%|//)")
_IDLE = f' \t\r\n"{DELIMITERS}'
_AROUND = " \t\r\n\"'()[]"
"""What may stand around a name or a unit that a row of them holds."""
_CLOCK = r"'?\[?(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:[.,]\d+)?)\]?'?"
"""Hours, minutes and seconds; elapsed or of a day."""
_GROUPED = r"[-+]?[1-9]\d{0,2}[.,]\d{3}"
"""1,234 and 1.234: a fraction, or a thousand and more."""
_MOST_DECIMALS = 5
"""Numbers with more are floating point printed out, and their last digit is no step."""


class Csv(OneEcgFormat):
    """A table whose columns are leads."""

    title = "sample table"

    def recognises(self, head: bytes, path: Path) -> bool:
        """By leads among the cells of the heading."""
        if packing(head):
            try:
                head = unpacked_head(path, NUM_HEAD_BYTES, may_be_cut=True)
            except DataError:
                return False
        return _num_above(_text(head)) is not None

    def read(self, path: Path, window: Window, facts: EcgFacts) -> EcgRecord:
        """All rows are looked at, a part of them at a time; those of the window are kept."""
        text = _text(unpacked_head(path, NUM_HEAD_BYTES, may_be_cut=True))
        table = open_text_table(path, num_above=_num_above(text) or 0)
        columns = [name for name in table.names if _is_lead(name)]
        below = _units_below(text, table, columns)
        if below:
            table = replace(table, num_header_lines=table.num_header_lines + 1)
        said = {MILLIVOLTS.get(_taken_apart(name)[1] or below.get(name, "")) for name in columns}
        if len(said | {MILLIVOLTS[below[name]] for name in columns if below}) > 1:
            raise UnusableError("has leads in different units; write all of them in one")
        factor = said.pop()
        rows = _Rows(table, columns, window, below)
        known_facts = facts.behind(rows.rate_hz(facts.rate_hz), EcgUnit.MILLIVOLT if factor else None, tuple(columns))
        factor = factor or known_facts.unit.millivolts
        return EcgRecord(
            signals=rows.kept.T * factor,
            stored_leads=tuple(_taken_apart(name)[0] for name in columns),
            rate_hz=known_facts.rate_hz,
            num_stored=rows.num_rows,
            resolution_mv=tuple(step and step * factor for step in rows.steps),
            is_millivolt=known_facts.unit is not EcgUnit.RELATIVE,
        )


def _num_above(text: str) -> int | None:
    """How many lines stand above a heading of leads where comments do, 0 where none does; None without such a heading.

    The last of the comments may be the heading, as numpy writes it.
    """
    lines = list(io.StringIO(text, newline=""))
    said = [number for number, line in enumerate(lines) if line.strip(_IDLE) and not line.casefold().startswith("sep=")]
    num_comments = next((place for place, number in enumerate(said) if not _COMMENT.match(lines[number])), len(said))
    for place in (num_comments, num_comments - 1):
        if 0 <= place < len(said) - 1 and _names_leads(lines[said[place]]):
            return said[place] if num_comments else 0
    return None


def _names_leads(line: str) -> bool:
    names = re.split(f"[{re.escape(DELIMITERS)}]", line)
    return sum(_is_lead(name.strip(" \"'\r\n")) for name in names) >= _FEWEST_LEADS


def _units_below(text: str, table: TextTable, columns: list[str]) -> dict[str, str]:
    """The unit that stands below each name, in lower case, if all leads have one there; {} if there is no such row."""
    line = next(islice(io.StringIO(text, newline=""), table.num_header_lines, None), "")
    cells = [cell.strip(_AROUND).casefold() for cell in next(csv.reader([line], delimiter=table.delimiter), [])]
    units = {name: cell for name, cell in zip(table.names, cells, strict=False) if cell in _UNITS}
    return units if all(units.get(name) in MILLIVOLTS for name in columns) else {}


def _text(head: bytes) -> str:
    """The beginning of a file, unpacked, as text; "" where it is none."""
    is_wide = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    if b"\0" in head and not is_wide:
        return ""
    text = head.decode("utf-16" if is_wide else "utf-8-sig", "replace")
    if "\N{REPLACEMENT CHARACTER}" in text:  # Excel's plain CSV; the reader of tables knows for certain
        text = head.decode("cp1252", "replace")
    return "" if text.lstrip().startswith("<") else text  # XML in one line may list leads as well


def _taken_apart(name: str) -> tuple[str, str]:
    """A column's name and the unit behind it, in lower case; "" where there is none. Times may be called by theirs."""
    name = _COMMENT.sub("", name, count=1).strip(" '")
    if name.casefold() in _CALLED_BY_UNIT:
        return _TIMES[0], name.casefold()
    found = _WITH_UNIT.fullmatch(name) if len(name) <= _LONGEST_NAME else None
    unit = found[2].casefold() if found and found[1].strip() else ""
    return (found[1].strip(), unit) if found and unit in _UNITS else (name, "")


def _is_lead(name: str) -> bool:
    stem, unit = _taken_apart(name)
    return lead_called(stem) in ECG_LEADS and (not unit or unit in MILLIVOLTS)


class _Rows:
    """What the rows of a table say: the samples of a window, how many there are, their rate and steps.

    Args:
        table: the table.
        columns: of the leads.
        window: which samples are wanted.
        units: of columns, from a row of units.
    """

    kept: NDArray[np.float64]  # (samples, leads)
    num_rows: int = 0

    def __init__(self, table: TextTable, columns: list[str], window: Window, units: Mapping[str, str]) -> None:
        clocks = [name for name in table.names if _taken_apart(name)[0].casefold() in _TIMES]
        clock = clocks[0] if clocks else None
        self._unit_of_time = (_taken_apart(clock)[1] or units.get(clock)) if clock else None
        self._has_commas = table.delimiter != ","
        self._has_plain = self._has_grouped = self._has_fractions = False
        self.steps: list[float | None] = [None] * len(columns)
        wanted = [clock, *columns] if clock else columns
        parts, times = [], []
        for chunk in table.chunks(wanted):
            values = np.stack([self._samples(chunk[name]) for name in columns], axis=1)
            if not self.num_rows:
                self.steps = [_step(chunk[name]) for name in columns]
            if clock:
                times.append(self._times(chunk[clock]))
            stop = None if window.num_samples is None else max(0, window.start + window.num_samples - self.num_rows)
            part = values[max(0, window.start - self.num_rows) : stop]
            require_memory(2 * part.nbytes, "the samples of a table")
            parts.append(part)
            self.num_rows += len(values)
        if self._has_plain and self._has_grouped and not self._has_fractions:
            raise UnusableError(
                "has numbers such as 1,234 or 1.234 beside whole ones, and nobody knows whether they are fractions or "
                "thousands; write it without groups of thousands"
            )
        window.within(self.num_rows)
        self.kept = np.concatenate(parts)
        unit = _SECONDS.get(self._unit_of_time or "s", np.nan)
        self._rate_hz = _rate(np.concatenate(times) * unit) if clock else None

    def rate_hz(self, said: float | None) -> float | None:
        """The rate that the times say; None where they say none.

        Args:
            said: by whoever gives the table, which counts where times have no unit and may be in any.

        Raises:
            UnusableError: it depends on their unit, and nobody says that.
        """
        lowest, highest = RATES_HZ if self._unit_of_time else _UNSAID_HZ
        if self._rate_hz is None or lowest <= self._rate_hz < highest:
            return self._rate_hz
        if said is None and not self._unit_of_time:
            raise UnusableError(
                "has times without a unit whose step is unusual in seconds; write their unit into the heading "
                "(time [ms], time [min]), or give --rate-hz"
            )
        return None

    def _samples(self, column: "pd.Series[str]") -> NDArray[np.float64]:
        """The numbers of a lead; where commas do not divide cells, what dots and commas may mean is kept in mind."""
        if self._has_commas and not self._has_fractions:
            is_marked = column.str.contains("[.,]", regex=True)
            is_grouped = column.str.fullmatch(_GROUPED)
            self._has_grouped |= bool(is_grouped.any())
            self._has_fractions |= bool((is_marked & ~is_grouped).any())
            self._has_plain |= not is_marked[column != ""].all()
        return self._numbers(column)

    def _times(self, column: "pd.Series[str]") -> NDArray[np.float64]:
        """Times in the unit of the column, which is seconds where they are written with colons."""
        if not column.str.contains(":", regex=False).any():
            return self._numbers(column)
        parts = column.str.extract(f"^{_CLOCK}$")
        if parts[1].isna().any():
            return self._numbers(column)
        self._unit_of_time = "s"
        hours, minutes, seconds = (parts[place].fillna("0").str.replace(",", ".").astype(float) for place in range(3))
        return np.array(3600 * hours + 60 * minutes + seconds, dtype=np.float64)

    def _numbers(self, column: "pd.Series[str]") -> NDArray[np.float64]:
        import pandas as pd

        text = column.str.replace(",", ".", regex=False) if self._has_commas else column
        values = pd.to_numeric(text, errors="coerce").to_numpy(np.float64)
        if any(known(cell) for cell in column[np.isnan(values)]):
            raise UnusableError("has cells that are no numbers; write the samples alone, with a dot or comma")
        return values


def _step(column: "pd.Series[str]") -> float | None:
    """The step of numbers as they are written; None where they are floating point printed out."""
    cells = [cell for cell in column if cell]
    if not cells or any("e" in cell.casefold() for cell in cells):
        return None
    decimals = max(len(re.split("[.,]", cell)[1]) if re.search("[.,]", cell) else 0 for cell in cells)
    return 10.0**-decimals if decimals <= _MOST_DECIMALS else None


def _rate(times_s: NDArray[np.float64]) -> float | None:
    """Samples per second by their times; None where these do not go on.

    Times are printed with few digits, so that a rate next to a whole number is that number.
    """
    span = times_s[-1] - times_s[0] if len(times_s) > 1 else np.nan
    if not span > 0:
        return None
    rate_hz = float((len(times_s) - 1) / span)
    even = times_s[0] + np.arange(len(times_s)) / rate_hz
    if not np.abs(times_s - even).max() < 0.75 / rate_hz:
        raise UnusableError("has times that are not evenly spaced; write every sample, and blanks where there is none")
    whole = round(rate_hz)
    return float(whole) if abs(rate_hz - whole) <= rate_hz / len(times_s) else rate_hz


FORMAT = Csv()
