"""What a study had to show, and whether it did: met, MISSED, or open where the interval does not settle it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from pacx.evaluation.results import ResultRow
from pacx.reporting.tables import Cell
from studies.stepwise.cells import NOT_MEASURED, points, share

_POINT, _HALF_A_POINT = 0.01, 0.005
_EMPTY = Cell(text="", is_quiet=True)


class BarVerdict(Enum):
    """What an interval says of a bar."""

    MET = "met"
    MISSED = "MISSED"
    OPEN = "open"


Judge = Callable[[ResultRow], BarVerdict]


@dataclass(frozen=True, kw_only=True)
class Bar:
    """Something the study had to show, at one or more shares of the labels.

    Args:
        asked: in words.
        rows: what was measured at each share of the labels; None = not measured, or not asked for.
        judges: what it takes there; None = not asked for.
        is_later: added after a first look at the results.
    """

    asked: str
    rows: Sequence[ResultRow | None]
    judges: Sequence[Judge | None]
    is_later: bool = False

    @property
    def verdicts(self) -> tuple[BarVerdict | None, ...]:
        """At each share; None where nothing was asked for or measured."""
        pairs = zip(self.rows, self.judges, strict=True)
        return tuple(None if row is None or judge is None else judge(row) for row, judge in pairs)

    @property
    def told(self) -> tuple[Cell, ...]:
        """In words, and what was measured at each share."""
        shown = []
        for row, judge, verdict in zip(self.rows, self.judges, self.verdicts, strict=True):
            if judge is None:
                shown.append(_EMPTY)
            elif row is None or verdict is None:
                shown.append(NOT_MEASURED)
            else:
                number = share(row) if row.metric.startswith("share") else points(row)
                shown.append(replace(number, small=f"{number.small}: {verdict.value}", is_quiet=False))
        return (Cell(text=self.asked), *shown)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """A line of a table that says what was asked for before anything was measured."""
        return (*self.told, Cell(text="later" if self.is_later else "before"))


def above(least: float) -> Judge:
    """At least so much, with an interval above 0."""
    return lambda row: BarVerdict.MET if row.value >= least and row.ci_low > 0 else BarVerdict.MISSED


def at_most(most: float) -> Judge:
    """The whole interval at most so much."""

    def judge(row: ResultRow) -> BarVerdict:
        if row.value > most:
            return BarVerdict.MISSED
        return BarVerdict.MET if row.ci_high <= most else BarVerdict.OPEN

    return judge


def at_least(least: float) -> Judge:
    """The whole interval at least so much."""

    def judge(row: ResultRow) -> BarVerdict:
        if row.value < least:
            return BarVerdict.MISSED
        return BarVerdict.MET if row.ci_low >= least else BarVerdict.OPEN

    return judge


def no_less(row: ResultRow) -> BarVerdict:
    """A difference that is not below 0; open where it is, but cannot be told from 0."""
    if row.value >= 0:
        return BarVerdict.MET
    return BarVerdict.MISSED if row.ci_high < 0 else BarVerdict.OPEN


def nothing(row: ResultRow) -> BarVerdict:
    """No gain that can be told from none, and none of a point or more that could hide in the interval."""
    if row.ci_low > 0:
        return BarVerdict.MISSED
    return BarVerdict.MET if row.ci_high < _POINT else BarVerdict.OPEN


def near(row: ResultRow) -> BarVerdict:
    """The whole interval within half a point on either side of 0."""
    if abs(row.value) > _HALF_A_POINT:
        return BarVerdict.MISSED
    return BarVerdict.MET if row.ci_low >= -_HALF_A_POINT and row.ci_high <= _HALF_A_POINT else BarVerdict.OPEN
