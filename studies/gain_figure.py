"""One picture of the study: gain over the MAE by what Stage 2 was taught, with intervals, controls among them."""

from pacx.evaluation.results import Subject
from pacx.models.encoders.names import PACX
from pacx.reporting.result_rows import Rows
from pacx.reporting.style import GREY, INK, drawing, encoder_colour, png_bytes
from studies.simulated.names import BLIND, CONTROLS
from studies.simulated.tables import DENSE, IN_WORLDS, TAUGHT, baseline_of, study_row

_FRACTIONS = {0.01: "1 % of the labels", 1.0: "all labels"}
_CONTROLS = (*map(Subject, CONTROLS), Subject(PACX, condition=BLIND))


def draw_gains(rows: Rows) -> bytes:
    """A PNG: one line per Stage 2, one panel per share of the labels; what was not measured is left out."""
    names = TAUGHT | {subject: f"PaCX: {called}" for subject, called in IN_WORLDS.items() if subject not in TAUGHT}
    measured = [each for each in names if study_row(rows, DENSE, each, baseline_of(each), 1.0) is not None]
    with drawing(9.6, 0.9 + 0.3 * len(measured)) as figure:
        panels = figure.subplots(1, len(_FRACTIONS), sharey=True)
        for axes, (fraction, called) in zip(panels, _FRACTIONS.items(), strict=True):
            axes.axvline(0, color=GREY, linewidth=0.8)
            for place, name in enumerate(measured):
                row = study_row(rows, DENSE, name, baseline_of(name), fraction)
                if row is None:
                    continue
                colour = encoder_colour(PACX) if name == Subject(PACX) else GREY if name in _CONTROLS else INK
                ends = [[100 * (row.value - row.ci_low)], [100 * (row.ci_high - row.value)]]
                axes.errorbar([100 * row.value], [place], xerr=ends, fmt="o", color=colour, markersize=5, linewidth=1.6)
            axes.set_title(called)
            axes.set_xlabel("gain over the MAE, points of AUROC")
            axes.grid(axis="x", color="#e6e9ec", linewidth=0.6)
            axes.set_axisbelow(True)
        panels[0].set_yticks(range(len(measured)), [names[name] for name in measured])
        panels[0].invert_yaxis()
        for label, name in zip(panels[0].get_yticklabels(), measured, strict=True):
            label.set_color(GREY if name in _CONTROLS else INK)
        return png_bytes(figure)
