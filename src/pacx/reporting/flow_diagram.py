"""The way from rows to pairs as one page, as trials draw theirs (CONSORT): what is left, and what is lost.

Boxes of text and arrows are drawn by Pillow alone: importing matplotlib and drawing by it takes as long as linking a
small hospital does.
"""

import io
import textwrap
from collections.abc import Mapping, Sequence
from html import escape
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from pacx.linking.flow import Flow, Loss, Step
from pacx.reporting.style import GREY, INK

_TRACKS = ("films", "admissions", "recordings", "measurements")
_PAIRS = "pairs"
_LINE_PT, _COLUMN_PT, _MARGIN_PT = 11.2, 216.0, 8.0
_BOX_CHARACTERS, _LOSS_CHARACTERS = 25, 25
_GAP_LINES = 1.6
_POINTS_PER_INCH, _DOTS_PER_INCH = 72, 200
_SIZE_PT, _STROKE_PT, _HEAD_PT = 7.5, 0.8, 4.0
_FONTS = {False: "DejaVuSans.ttf", True: "DejaVuSans-Bold.ttf"}
_PER_POINT = _DOTS_PER_INCH / _POINTS_PER_INCH


def draw_flow(flow: Flow) -> Mapping[str, bytes]:
    """The diagram as ``flow.png`` and ``flow.svg``."""
    tracks = {of: [step for step in flow.steps if step.of == of] for of in _TRACKS}
    columns = [_Column(steps) for steps in tracks.values() if steps]
    ends = [step for step in flow.steps if step.of == _PAIRS]
    floor = max(column.height for column in columns) + _GAP_LINES + 1
    num_lines = floor + len(ends) + 1.2
    page = _Page(max(len(columns), 2) * _COLUMN_PT + 2 * _MARGIN_PT, num_lines * _LINE_PT)
    for place, column in enumerate(columns):
        column.draw(page, place, floor)
    lines = [f"{step.count:,} pairs of {step.patients:,} patients{_shown(step)}" for step in ends]
    _box(page, (0.03, len(columns) - 0.03), (floor, floor + len(lines) + 0.6), lines, is_bold=True)
    return {"flow.png": page.png(), "flow.svg": page.svg()}


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

    def draw(self, page: "_Page", place: int, floor: float) -> None:
        """Into a column, down to the box of pairs."""
        middle, top = place + 0.3, 0.6
        for step, box in enumerate(self._boxes):
            bottom = top + len(box) + 0.6
            _box(page, (place + 0.03, place + 0.62), (top, bottom), box, is_bold=True)
            lost = self._losses[step] if step < len(self._losses) else None
            top = bottom + (max(_GAP_LINES, len(lost) + 0.9) if lost is not None else 0)
            page.arrow(_at(middle, bottom), _at(middle, top if lost is not None else floor))
            if lost:
                level = (bottom + top) / 2
                page.arrow(_at(middle, level), _at(place + 0.43, level))
                half = len(lost) / 2 + 0.2
                _box(page, (place + 0.43, place + 0.99), (level - half, level + half), lost)


def _lost(losses: Sequence[Loss]) -> list[str]:
    lines = []
    for loss in losses:
        lines += textwrap.wrap(f"{loss.count:,} {loss.reason}", _LOSS_CHARACTERS, subsequent_indent="  ")
    return lines


def _box(
    page: "_Page", across: tuple[float, float], down: tuple[float, float], lines: list[str], *, is_bold: bool = False
) -> None:
    """A box from one column to another and from one line to another."""
    (left, right), (top, bottom) = across, down
    page.box(_at(left, top), ((right - left) * _COLUMN_PT, (bottom - top) * _LINE_PT))
    first = top + (bottom - top - len(lines)) / 2 + 0.5
    for row, line in enumerate(lines):
        page.text(_at(left + 0.02, first + row), line, is_bold=is_bold and row == 0)


def _at(column: float, line: float) -> tuple[float, float]:
    return _MARGIN_PT + column * _COLUMN_PT, line * _LINE_PT


def _shown(step: Step) -> str:
    return "" if step.what == "made" else f" {step.what}"


class _Page:
    """What was drawn so far; lengths are points from the upper left corner.

    Args:
        width: of the page.
        height: of the page.
    """

    def __init__(self, width: float, height: float) -> None:
        self._size, self._elements = (width, height), list[str]()
        dots = round(width * _PER_POINT), round(height * _PER_POINT)
        self._image = Image.new("RGB", dots, "white")
        self._pen = ImageDraw.Draw(self._image)
        self._fonts = {is_bold: _font(name) for is_bold, name in _FONTS.items()}

    def box(self, corner: tuple[float, float], size: tuple[float, float]) -> None:
        """A white rectangle with a grey edge.

        Args:
            corner: the upper left one.
            size: width and height.
        """
        (left, top), (width, height) = corner, size
        self._elements.append(
            f'<rect x="{left:.2f}" y="{top:.2f}" width="{width:.2f}" height="{height:.2f}" fill="white" '
            f'stroke="{GREY}" stroke-width="{_STROKE_PT}"/>'
        )
        corners = [each * _PER_POINT for each in (left, top, left + width, top + height)]
        self._pen.rectangle(corners, "white", GREY, round(_STROKE_PT * _PER_POINT))

    def text(self, place: tuple[float, float], text: str, *, is_bold: bool = False) -> None:
        """A line of text.

        Args:
            place: its left end, half-way up.
            text: no markup.
            is_bold: how it is written.
        """
        left, middle = place
        weight = ' font-weight="bold"' if is_bold else ""
        self._elements.append(
            f'<text x="{left:.2f}" y="{middle + 0.36 * _SIZE_PT:.2f}" font-size="{_SIZE_PT}" fill="{INK}"{weight}>'
            f"{escape(text, quote=False)}</text>"
        )
        self._pen.text((left * _PER_POINT, middle * _PER_POINT), text, INK, self._fonts[is_bold], "lm")

    def arrow(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """A grey line with a head, down or to the right."""
        (left, top), (right, bottom) = start, end
        across, down = (0.4 * _HEAD_PT, 0.0) if left == right else (0.0, 0.4 * _HEAD_PT)
        back = (right, bottom - _HEAD_PT) if left == right else (right - _HEAD_PT, bottom)
        head = [(back[0] - across, back[1] - down), end, (back[0] + across, back[1] + down)]
        corners = " ".join(f"{x:.2f},{y:.2f}" for x, y in head)
        self._elements.append(
            f'<path d="M{left:.2f} {top:.2f}L{back[0]:.2f} {back[1]:.2f}" stroke="{GREY}" stroke-width="{_STROKE_PT}"/>'
            f'<polygon points="{corners}" fill="{GREY}"/>'
        )
        self._pen.line(_dots([start, back]), GREY, round(_STROKE_PT * _PER_POINT))
        self._pen.polygon(_dots(head), GREY)

    def png(self) -> bytes:
        """The page for screens; the same page gives the same bytes."""
        buffer = io.BytesIO()
        self._image.save(buffer, "PNG", dpi=(_DOTS_PER_INCH, _DOTS_PER_INCH))
        return buffer.getvalue()

    def svg(self) -> bytes:
        """The page for print; text stays text."""
        width, height = self._size
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.2f}pt" height="{height:.2f}pt" '
            f'viewBox="0 0 {width:.2f} {height:.2f}" font-family="DejaVu Sans, Verdana, sans-serif">',
            f'<rect width="{width:.2f}" height="{height:.2f}" fill="white"/>',
            *self._elements,
            "</svg>",
        ]
        return ("\n".join(lines) + "\n").encode()


def _dots(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(x * _PER_POINT, y * _PER_POINT) for x, y in places]


def _font(name: str) -> ImageFont.FreeTypeFont:
    """The font of all figures, from where matplotlib keeps it."""
    spec = find_spec("matplotlib")
    assert spec is not None
    assert spec.origin is not None
    return ImageFont.truetype(Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / name, _SIZE_PT * _PER_POINT)
