"""A twelve-lead ECG as cardiologists read it: on paper of millimetres, 25 mm a second and 10 mm a millivolt.

Three rows of four leads, 2.5 s each and one after the other in time, and lead II over all 10 s below them; before each
row the calibration pulse of 1 mV and 0.2 s. Nothing is filtered, scaled or centred: what the file holds is drawn, and
what was not recorded stays empty. Printed at its size, or as SVG, every millimetre is one.
"""

import io
import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pacx.core.vocabulary import ECG_LEADS

SHEET_S = 10.0
"""Seconds on a sheet."""

_MM_PER_S, _MM_PER_MV = 25.0, 10.0
_MM_PER_INCH, _POINTS_PER_MM = 25.4, 72 / 25.4
_DOTS_PER_INCH = 200
_COLUMNS = (("I", "II", "III"), ("aVR", "aVL", "aVF"), ("V1", "V2", "V3"), ("V4", "V5", "V6"))
_RHYTHM = "II"
_MARGIN_MM, _PULSE_MM = 10.0, 15.0
_ROW_MM, _HEAD_MM, _LINE_MM = 35.0, 20.0, 4.0
_WIDTH_MM = 2 * _MARGIN_MM + _PULSE_MM + SHEET_S * _MM_PER_S
_LINE_LETTERS = 150
_INK, _FINE, _COARSE = "#1f2933", "#f6dcd9", "#e9aca6"


def draw_ecg(
    signals: NDArray[np.float64], rate_hz: float, *, title: str, remarks: Sequence[str] = (), as_svg: bool = False
) -> bytes:
    """Draw one sheet.

    Args:
        signals: (12, T) in the order of ``ECG_LEADS``, in millivolts, NaN = not recorded; the first ``SHEET_S`` seconds
            are drawn. A lead is all NaN where there is none.
        rate_hz: samples per second.
        title: what stands at the head.
        remarks: what stands at the foot, one line each.
        as_svg: SVG instead of PNG.

    Returns:
        The picture's bytes, the same for the same arguments.
    """
    lines = [line for remark in remarks for line in textwrap.wrap(remark, _LINE_LETTERS)]
    height_mm = _HEAD_MM + 4 * _ROW_MM + _LINE_MM * len(lines) + _MARGIN_MM
    style: Any = {"font.family": "DejaVu Sans", "svg.fonttype": "none", "svg.hashsalt": "pacx", "path.simplify": False}
    with mpl.rc_context(style):
        figure = Figure(figsize=(_WIDTH_MM / _MM_PER_INCH, height_mm / _MM_PER_INCH), facecolor="white")
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, _WIDTH_MM), ylim=(height_mm, 0))
        axes.axis("off")
        _paper(axes, _HEAD_MM, 4 * _ROW_MM)
        _text(axes, _MARGIN_MM, 8, title, size_mm=3.6)
        _text(axes, _MARGIN_MM, 14, "25 mm/s   10 mm/mV   unfiltered")
        for row in range(3):
            middle = _HEAD_MM + (row + 0.5) * _ROW_MM
            _pulse(axes, middle)
            for column, leads in enumerate(_COLUMNS):
                _trace(axes, signals, rate_hz, leads[row], middle, (column * SHEET_S / 4, (column + 1) * SHEET_S / 4))
        _pulse(axes, _HEAD_MM + 3.5 * _ROW_MM)
        _trace(axes, signals, rate_hz, _RHYTHM, _HEAD_MM + 3.5 * _ROW_MM, (0.0, SHEET_S))
        for number, line in enumerate(lines):
            _text(axes, _MARGIN_MM, _HEAD_MM + 4 * _ROW_MM + _LINE_MM * (number + 1.2), line)
        buffer = io.BytesIO()
        kind, undated = ("svg", {"Date": None}) if as_svg else ("png", {"Software": None})
        figure.savefig(buffer, format=kind, dpi=_DOTS_PER_INCH, metadata=undated)
    return buffer.getvalue()


def _paper(axes: Axes, top_mm: float, height_mm: float) -> None:
    """Lines at every millimetre, stronger ones at every fifth."""
    left, right, bottom = _MARGIN_MM, _WIDTH_MM - _MARGIN_MM, top_mm + height_mm
    for spacing, colour, width_mm in ((1.0, _FINE, 0.1), (5.0, _COARSE, 0.2)):
        style: Any = {"colors": colour, "linewidth": width_mm * _POINTS_PER_MM, "zorder": spacing / 10}
        axes.vlines(np.arange(left, right + 0.5, spacing), top_mm, bottom, **style)
        axes.hlines(np.arange(top_mm, bottom + 0.5, spacing), left, right, **style)


def _pulse(axes: Axes, middle_mm: float) -> None:
    x = _MARGIN_MM + np.array([2.5, 5.0, 5.0, 10.0, 10.0, 12.5])
    y = middle_mm - _MM_PER_MV * np.array([0, 0, 1, 1, 0, 0])
    axes.plot(x, y, color=_INK, linewidth=0.3 * _POINTS_PER_MM, solid_joinstyle="miter")


def _trace(
    axes: Axes,
    signals: NDArray[np.float64],
    rate_hz: float,
    lead: str,
    middle_mm: float,
    span_s: tuple[float, float],
) -> None:
    """A stretch of a lead at the place of its time; a mark and the lead's name where it begins."""
    left = _MARGIN_MM + _PULSE_MM
    start_mm = left + span_s[0] * _MM_PER_S
    first, last = (round(each * rate_hz) for each in span_s)
    millivolts = signals[ECG_LEADS.index(lead), first : last + 1]
    time_s = (first + np.arange(len(millivolts))) / rate_hz
    axes.plot(
        left + time_s * _MM_PER_S,
        middle_mm - millivolts * _MM_PER_MV,
        color=_INK,
        linewidth=0.25 * _POINTS_PER_MM,
        solid_joinstyle="round",
    )
    axes.vlines(start_mm, middle_mm - 3, middle_mm + 3, colors=_INK, linewidth=0.2 * _POINTS_PER_MM)
    _text(axes, start_mm + 1.5, middle_mm - 0.36 * _ROW_MM, lead if len(millivolts) else f"{lead} (not recorded)", 3.2)


def _text(axes: Axes, x_mm: float, y_mm: float, text: str, size_mm: float = 2.8) -> None:
    axes.text(x_mm, y_mm, text, fontsize=size_mm * _POINTS_PER_MM, color=_INK, va="center", parse_math=False)
