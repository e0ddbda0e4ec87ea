"""What this study had to show, and whether it did."""

from collections.abc import Callable, Sequence
from itertools import product

from pacx.evaluation.masks.segmentation import PROTOCOL as SEGMENTATION
from pacx.evaluation.results import ResultRow, Subject, difference_metric
from pacx.reporting.result_rows import Rows
from pacx.reporting.tables import Table
from studies.illness import names
from studies.illness.names import AREA, EQUALLY_ILL, OWN, RANDOM_VECTORS, WITHIN, baseline, subject
from studies.illness.tables import FRACTIONS, GROUPS, SHOWN, illness_row, measured_pairs
from studies.stepwise.bars import Bar, Judge, above, at_least, at_most, near, no_less, nothing

_FEWEST, _FEW, _MANY = 900, 3000, 10000
_TRAINED = (names.PAPER, names.CONDITIONED)
_READ_BY_PAPERS = (*_TRAINED, names.AFTER, names.OF_MEASURES_AFTER)
_ASKED = (names.CLOSED_FORM, names.OF_MEASURES, names.OF_ECG_AND_MEASURES, *_READ_BY_PAPERS)
_WITH_RANDOM_VECTORS = (
    (names.CLOSED_FORM, _MANY),
    *product((names.PAPER, names.OF_MEASURES_AFTER), (_FEW, _MANY)),
)
_PROBES = {False: "", True: ", read by the paper's probe"}
Find = Callable[[float], ResultRow | None]


def _bar(asked: str, find: Find, judges: Sequence[Judge | None]) -> Bar:
    return Bar(asked=asked, rows=[find(part) for part in FRACTIONS], judges=judges)


def _beyond(rows: Rows, method: str, number: int, measure: str, judge: Judge, asked: str, *, by_papers: bool) -> Bar:
    """Own minus equally ill."""
    own, equal = (subject(method, number, each, by_papers_probe=by_papers) for each in (OWN, EQUALLY_ILL))

    def find(part: float) -> ResultRow | None:
        return illness_row(rows, difference_metric(measure), own, equal, fraction=part)

    return _bar(f"{SHOWN[method]}, {number:,} pairs{_PROBES[by_papers]}: {asked}", find, [None, judge, judge])


def _over(rows: Rows, asked: str, first: Subject, second: Subject, judge: Judge, *, is_blind: bool = False) -> Bar:
    def find(part: float) -> ResultRow | None:
        return illness_row(rows, difference_metric(AREA), first, second, fraction=part, is_blind=is_blind)

    return _bar(asked, find, [judge] * len(FRACTIONS))


def _share(rows: Rows, metric: str, asked: str, first: Subject, second: Subject, judge: Judge) -> Bar:
    def find(part: float) -> ResultRow | None:
        return illness_row(rows, metric, first, second, fraction=part)

    return _bar(asked, find, [judge] * len(FRACTIONS))


def bars(rows: Rows) -> list[Bar]:
    """What had to hold, for every setting that was measured."""
    few = [method for method in _ASKED if _FEW in measured_pairs(rows, method)]
    many = [method for method in _ASKED if _MANY in measured_pairs(rows, method)]
    within = "own minus equally ill among equally ill patients at least +1.5"
    found = [
        _beyond(rows, method, _FEW, WITHIN, above(0.015), within, by_papers=by_papers)
        for method, by_papers in product(few, _PROBES)
        if method in _READ_BY_PAPERS or not by_papers
    ]
    found += [
        _over(
            rows,
            f"{SHOWN[method]}, {_FEW:,} pairs{_PROBES[by_papers]}: own gain no less than Stage 2's as in the paper",
            subject(method, _FEW, OWN, by_papers_probe=by_papers),
            subject(names.PAPER, _FEW, OWN, by_papers_probe=by_papers),
            no_less,
        )
        for method, by_papers in product(few, _PROBES)
        if method != names.PAPER and (method in _READ_BY_PAPERS or not by_papers)
    ]
    found += [
        _beyond(rows, method, _MANY, AREA, above(0.02), "own minus equally ill at least +2", by_papers=by_papers)
        for method, by_papers in product(many, _PROBES)
        if method in _READ_BY_PAPERS or not by_papers
    ]
    for method in many:
        own, best = subject(method, _MANY, OWN), subject(names.ORACLE, _MANY, OWN)
        asked = f"{SHOWN[method]}, {_MANY:,} pairs: at least half of the oracle's own minus equally ill"
        found.append(_share(rows, names.share_of_oracle(AREA), asked, own, best, at_least(0.5)))
    for method, number in _WITH_RANDOM_VECTORS:
        own, none = subject(method, number, OWN), subject(method, number, RANDOM_VECTORS)
        asked = f"{SHOWN[method]}, {number:,} pairs: random vectors keep at most a quarter of the gain"
        found.append(_share(rows, names.SHARE, asked, none, own, at_most(0.25)))
    for method in (names.CLOSED_FORM, names.CONDITIONED, names.OF_MEASURES_AFTER):
        own, equal = subject(method, _FEWEST, OWN), subject(method, _FEWEST, EQUALLY_ILL)
        asked = f"{SHOWN[method]}, {_FEWEST:,} pairs, films that show nothing: own minus equally ill, nothing"
        found.append(_over(rows, asked, own, equal, nothing, is_blind=True))
    return found + _outlines(rows)


def _outlines(rows: Rows) -> list[Bar]:
    found = []
    for method, label in product(_TRAINED, ("lung", "heart")):
        row = rows.find(
            protocol=SEGMENTATION,
            dataset=names.HOSPITAL,
            subject=str(subject(method, _FEW, OWN)),
            contrast=str(baseline()),
            label=label,
            metric=difference_metric("iou"),
        )
        asked = f"{SHOWN[method]}, {_FEW:,} pairs, {label}: IoU within half a point of the MAE's"
        found.append(Bar(asked=asked, rows=[None, None, row], judges=[None, None, near]))
    return found


def bar_table(rows: Rows) -> Table:
    """What had to hold."""
    return Table(
        caption=f"Points of macro AUROC on {GROUPS[0]} labels (or shares, or points of IoU), read by ridge on "
        "standardized features unless said otherwise. Open: the value would do, but its interval does not settle it.",
        header=("what had to hold", *(f"{100 * part:g} %" for part in FRACTIONS)),
        rows=tuple(bar.told for bar in bars(rows)),
    )
