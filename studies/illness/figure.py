"""What a patient's own pair adds to an equally ill patient's, by the number of pairs, below the oracle's line."""

from matplotlib.axes import Axes

from pacx.evaluation.results import difference_metric
from pacx.reporting.result_rows import Rows
from pacx.reporting.style import GREY, INK, drawing, png_bytes
from studies.illness import names
from studies.illness.tables import FRACTIONS, SHOWN, illness_row, measured_pairs

_COLOURS = {
    names.ORACLE: GREY,
    names.CLOSED_FORM: "#c0392b",
    names.OF_MEASURES: "#d98e04",
    names.PAPER: INK,
    names.CONDITIONED: "#2f7fb8",
    names.OF_MEASURES_AFTER: "#2e8b57",
}
_MEASURES = {names.AREA: "all patients", names.WITHIN: "among equally ill patients"}
_CALLED = {
    **SHOWN,
    names.OF_MEASURES: "closed form, ECG measures",
    names.PAPER: "Stage 2",
    names.OF_MEASURES_AFTER: "Stage 2, then closed form, ECG measures",
    names.ORACLE: "oracle (true physiology)",
}
_IN_A_ROW = 3
"""Of the legend."""
_STEP_APART = 1.06
"""Methods with the same number of pairs stand beside each other on the logarithmic axis."""


def draw_beyond(rows: Rows) -> bytes:
    """A PNG: one column per share of the labels, one row per measure; what was not measured is left out."""
    with drawing(9.6, 5.4) as figure:
        panels = figure.subplots(len(_MEASURES), len(FRACTIONS), sharex=True, sharey=True, squeeze=False)
        for line, (measure, where) in zip(panels, _MEASURES.items(), strict=True):
            for axes, fraction in zip(line, FRACTIONS, strict=True):
                _panel(axes, rows, measure, fraction)
            line[0].set_ylabel(f"{where}\nown minus equally ill, points")
        for axes, fraction in zip(panels[0], FRACTIONS, strict=True):
            axes.set_title("all labels" if fraction == 1.0 else f"{100 * fraction:g} % of the labels")
        for axes in panels[-1]:
            axes.set_xlabel("pairs")
        handles, called = panels[0][0].get_legend_handles_labels()
        if handles:
            figure.legend(handles, called, loc="outside lower center", ncols=_IN_A_ROW)
        return png_bytes(figure)


def _panel(axes: Axes, rows: Rows, measure: str, fraction: float) -> None:
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xscale("log")
    ticks = sorted({number for method in _COLOURS for number in measured_pairs(rows, method)})
    axes.set_xticks(ticks, [f"{number:,}" for number in ticks])
    axes.minorticks_off()
    axes.grid(axis="y", color="#e6e9ec", linewidth=0.6)
    axes.set_axisbelow(True)
    for place, (method, colour) in enumerate(_COLOURS.items()):
        found = {
            number: illness_row(
                rows,
                difference_metric(measure),
                names.subject(method, number, names.OWN),
                names.subject(method, number, names.EQUALLY_ILL),
                fraction=fraction,
            )
            for number in measured_pairs(rows, method)
        }
        known = {number: row for number, row in found.items() if row is not None}
        if not known:
            continue
        values = [100 * row.value for row in known.values()]
        ends = [
            [100 * (row.value - row.ci_low) for row in known.values()],
            [100 * (row.ci_high - row.value) for row in known.values()],
        ]
        apart = _STEP_APART ** (place - (len(_COLOURS) - 1) / 2)
        axes.errorbar(
            [apart * number for number in known],
            values,
            yerr=ends,
            fmt="o",
            linestyle="--" if method == names.ORACLE else "-",
            color=colour,
            label=_CALLED[method],
            markersize=4,
            linewidth=1.4,
        )
