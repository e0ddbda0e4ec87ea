"""How studies print a number: a difference in points, a share of a gain, and where all of them come from."""

import math
from collections.abc import Sequence

from pacx.evaluation.results import ResultRow
from pacx.reporting.tables import Cell, Table, format_interval, is_distinguishable

NOT_MEASURED = Cell(text="not measured", is_quiet=True)


def points(row: ResultRow | None) -> Cell:
    """A difference in points; quiet and named where it cannot be told from 0."""
    if row is None or math.isnan(row.value):
        return NOT_MEASURED
    text, small = f"{100 * row.value:+.1f}", format_interval(row, digits=1, scale=100)
    if is_distinguishable(row):
        return Cell(text=text, small=small)
    return Cell(text=text, small=f"{small} n. d.", is_quiet=True)


def share(row: ResultRow) -> Cell:
    """A share of the full method's gain."""
    return Cell(text=f"{row.value:.2f}", small=format_interval(row, digits=2))


def origin_table(rows: Sequence[ResultRow]) -> Table:
    """Where the numbers come from: each distinct provenance with what was measured so."""
    groups: dict[tuple[str, str], list[ResultRow]] = {}
    for row in rows:
        groups.setdefault((row.protocol, row.provenance), []).append(row)
    body = []
    for (protocol, provenance), members in groups.items():
        ns = sorted({row.n for row in members})
        shown = f"{ns[0]}" if len(ns) == 1 else f"{ns[0]} to {ns[-1]}"
        seeds = ", ".join(map(str, sorted({row.seed for row in members})))
        body.append((protocol, str(len(members)), shown, seeds, provenance))
    return Table(
        caption="Each group of rows with how it was made.",
        header=("protocol", "rows", "n", "seed", "command, commit, chip"),
        rows=tuple(tuple(Cell(text=text) for text in line) for line in body),
    )
