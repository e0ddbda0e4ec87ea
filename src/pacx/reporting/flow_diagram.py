"""The way from rows to pairs as one page, as trials draw theirs (CONSORT): what is left, and what is lost."""

import textwrap
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from pacx.linking.flow import Flow, Loss, Step
from pacx.reporting.style import GREY, INK, drawing, png_bytes, svg_bytes

_TRACKS = ("films", "admissions", "recordings", "measurements")
_PAIRS = "pairs"
_LINE_IN, _COLUMN_IN = 0.155, 2.75
_BOX_CHARACTERS, _LOSS_CHARACTERS = 25, 25
_GAP_LINES = 1.6


def draw_flow(flow: Flow) -> Mapping[str, bytes]:
    """The diagram as ``flow.png`` and ``flow.svg``."""
    tracks = {of: [step for step in flow.steps if step.of == of] for of in _TRACKS}
    columns = [_Column(steps) for steps in tracks.values() if steps]
    ends = [step for step in flow.steps if step.of == _PAIRS]
    height = max(column.height for column in columns) + _GAP_LINES + _end_height(ends) + 2
    with drawing(max(len(columns), 2) * _COLUMN_IN + 0.3, height * _LINE_IN) as figure:
        axes = figure.subplots()
        axes.set(xlim=(0, len(columns)), ylim=(-height, 0))
        axes.axis("off")
        floor = -height + _end_height(ends) + 1
        for place, column in enumerate(columns):
            column.draw(axes, place, floor)
        _end(axes, len(columns), ends, floor)
        return {"flow.png": png_bytes(figure, dots_per_inch=200), "flow.svg": svg_bytes(figure)}


class _Column:
    """One thing that is counted, from the table to the pairs.

    Args:
        steps: of it.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        first = steps[0]
        total = first.count + sum(loss.count for loss in first.losses)
        self._boxes = [[f"{total:,} {first.of}", "in the table"]]
        self._losses: list[list[str]] = []
        for step in steps:
            self._losses.append(_lost(step.losses))
            what = "usable" if step is first else step.what
            self._boxes.append(
                [f"{step.count:,} {step.of}", *textwrap.wrap(what, _BOX_CHARACTERS), f"{step.patients:,} patients"]
            )
        if not self._losses[0]:
            del self._boxes[0], self._losses[0]

    @property
    def height(self) -> float:
        """In lines."""
        boxes = sum(len(box) + 0.8 for box in self._boxes)
        return boxes + sum(max(_GAP_LINES, len(lost) + 0.9) for lost in self._losses)

    def draw(self, axes: Axes, place: int, floor: float) -> None:
        """Into a column, down to the box of pairs."""
        middle, top = place + 0.3, -0.6
        for step, box in enumerate(self._boxes):
            bottom = top - len(box) - 0.6
            _box(axes, (place + 0.03, place + 0.57), (bottom, top), box, is_bold=True)
            lost = self._losses[step] if step < len(self._losses) else None
            top = bottom - (max(_GAP_LINES, len(lost) + 0.9) if lost is not None else 0)
            _arrow(axes, (middle, bottom), (middle, top if lost is not None else floor))
            if lost:
                level = (bottom + top) / 2
                _arrow(axes, (middle, level), (place + 0.42, level))
                _box(
                    axes, (place + 0.42, place + 0.99), (level - len(lost) / 2 - 0.2, level + len(lost) / 2 + 0.2), lost
                )


def _lost(losses: Sequence[Loss]) -> list[str]:
    lines = []
    for loss in losses:
        lines += textwrap.wrap(f"{loss.count:,} {loss.reason}", _LOSS_CHARACTERS, subsequent_indent="  ")
    return lines


def _end_height(ends: Sequence[Step]) -> float:
    return len(ends) + 1.2


def _end(axes: Axes, num_columns: int, ends: Sequence[Step], floor: float) -> None:
    lines = [f"{step.count:,} pairs of {step.patients:,} patients{_shown(step)}" for step in ends]
    _box(axes, (0.03, num_columns - 0.03), (floor - len(lines) - 0.6, floor), lines, is_bold=True)


def _box(
    axes: Axes, across: tuple[float, float], up: tuple[float, float], lines: Sequence[str], *, is_bold: bool = False
) -> None:
    left, right = across
    bottom, top = up
    axes.fill([left, right, right, left], [bottom, bottom, top, top], facecolor="white", edgecolor=GREY, linewidth=0.8)
    for row, line in enumerate(lines):
        level = top - (top - bottom - len(lines)) / 2 - row - 0.5
        weight = "bold" if is_bold and row == 0 else "normal"
        inset = left + 0.02
        axes.text(inset, level, line, va="center", ha="left", fontsize=7.5, color=INK, fontweight=weight)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate(
        "", end, start, arrowprops={"arrowstyle": "-|>", "color": GREY, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0}
    )


def _shown(step: Step) -> str:
    return "" if step.what == "made" else f" {step.what}"
