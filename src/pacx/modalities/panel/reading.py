"""What a user says of a table of measurements, and what every reader of one has to tell."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.core.errors import DataError
from pacx.core.tables.numbers import NumberCells
from pacx.models.panel.config import Panel

OF_LONG_TABLES = ("samples", "owner", "window_h")
OF_TEXT_TABLES = ("max_bad_fraction",)
"""Fields of a reading by the tables that they say something about."""
_REPEATED_DIGITS = "789"
_FEWEST_REPEATED = 3


@dataclass(frozen=True, kw_only=True)
class TableReading:
    """How a table is turned into samples; all but the last matters to long tables only."""

    samples: Path | None = None
    """A csv with sample_id and the owner column of the table, and if known time and patient_id; without it every
    owner is a sample."""

    owner: str | None = None
    """The column that says whose a row is, if not the layout's own (hadm_id, patientunitstayid, patient_id)."""

    window_h: float = 24.0
    """Hours before and after a sample's time within which a measurement counts, where that time is known."""

    max_bad_fraction: float = 0.001
    """Stop when more values than this share are no numbers, in a unit nobody can convert, or at a time nobody can
    read; fewer count as not measured."""


def are_stand_ins(values: NDArray[np.float64], columns: NDArray[np.int64], panel: Panel) -> NDArray[np.bool_]:
    """Which values (N,) say that there is none: -999 below what a person can have, 9999999 above it.

    A value that is too high and no such number may be in another unit; that is judged by the whole column.

    Args:
        values: in the panel's units; NaN is no stand-in.
        columns: of which quantity each is, its place in the panel.
        panel: the quantities and what they can be.
    """
    lowest = np.array([quantity.lowest for quantity in panel.quantities])
    highest = np.array([quantity.highest for quantity in panel.quantities])
    found = values < lowest[columns]
    for row in np.flatnonzero(values > highest[columns]):
        digits = f"{values[row]:.15g}".replace(".", "")
        found[row] = len(digits) >= _FEWEST_REPEATED and len(set(digits)) == 1 and digits[0] in _REPEATED_DIGITS
    return found


@dataclass
class Losses:
    """What was passed over in a table, for its notes."""

    numbers: NumberCells = field(default_factory=NumberCells)
    rows: int = 0
    known: int = 0
    other_items: set[str] = field(default_factory=set)
    ownerless: int = 0
    blank: int = 0
    no_number: int = 0
    stand_ins: int = 0
    bad_times: int = 0
    owners: set[str] = field(default_factory=set)
    """As the table spells them."""
    outside: int = 0
    unitless: int = 0
    zones: set[bool] = field(default_factory=set)
    """Whether times say their zone: both, where some do and others do not."""
    converted: Counter[tuple[str, str]] = field(default_factory=Counter)
    bad_units: Counter[tuple[str, str]] = field(default_factory=Counter)

    def notes(self) -> tuple[str, ...]:
        """One sentence for each kind of loss, and for what was made of unusual cells."""
        said = [f"{len(self.other_items)} other items passed over"] if self.other_items else []
        counts = {
            "rows belong to no sample": self.ownerless,
            "values are blank and count as not measured": self.blank,
            "values are no numbers and count as not measured": self.no_number,
            "values such as -999 or 9999999 stand for none and count as not measured": self.stand_ins,
            "times cannot be read; such values count last, or not at all in a window": self.bad_times,
            "values lie outside the window around their sample's time": self.outside,
            "values have no unit and count as in the panel's own": self.unitless,
        }
        said += [f"{count:,} {what}" for what, count in counts.items() if count]
        said += self.numbers.notes()
        for (name, unit), count in self.converted.most_common():
            said.append(f"{count:,} values of {name} converted from {unit}")
        for (name, unit), count in self.bad_units.most_common():
            said.append(f"{count:,} values of {name} left out: unit '{unit}'")
        return tuple(said)

    def require_numbers(self, place: str, num_cells: int, max_bad_fraction: float) -> None:
        """Refuse a table in which too many cells hold no number.

        Raises:
            DataError: more than the share allowed.
        """
        bad = self.no_number + self.stand_ins
        if bad > max_bad_fraction * num_cells:
            stand_ins = f" ({self.stand_ins} stand for none, such as -999 or 9999999)" if self.stand_ins else ""
            raise DataError(
                f"{place}: {bad} of {num_cells} values are no numbers{stand_ins}; leave blank what was not measured, "
                "write decimal points, or allow a larger share of bad values to leave them out"
            )
