"""Curves drawn from result rows and journals: label efficiency and training."""

from collections.abc import Mapping, Sequence

from pacx.reporting.result_rows import Rows
from pacx.reporting.style import GREY, drawing, encoder_colour, png_bytes
from pacx.reporting.tables import SHOWN_ENCODERS
from pacx.training.monitoring.journal import TRAIN, VALIDATION, JournalEntry, curve

_MOST_PANELS_ABREAST = 3


def draw_label_efficiency(rows: Rows, datasets: Sequence[str], encoders: Sequence[str]) -> bytes:
    """The paper's Figure 3: macro AUROC against the share of training labels, with intervals."""
    num_columns = min(len(datasets), _MOST_PANELS_ABREAST)
    num_lines = -(-len(datasets) // num_columns)
    with drawing(3.8 * num_columns + 1.6, 3.1 * num_lines) as figure:
        grid = figure.subplots(num_lines, num_columns, squeeze=False, sharey=True)
        panels = grid.ravel()
        for axes in panels[len(datasets) :]:
            axes.set_axis_off()
        for axes, dataset in zip(panels, datasets, strict=False):
            for position, encoder in enumerate(encoders):
                points = sorted(
                    (row.fraction, row.value, row.ci_low, row.ci_high)
                    for row in rows.rows
                    if (row.protocol, row.dataset, row.subject, row.label, row.metric)
                    == ("low-data", dataset, encoder, "macro", "auroc")
                )
                if not points:
                    continue
                fractions, values, lows, highs = zip(*points, strict=True)
                colour = encoder_colour(encoder, position)
                axes.plot(
                    fractions,
                    values,
                    marker="o",
                    markersize=3.5,
                    color=colour,
                    label=SHOWN_ENCODERS.get(encoder, encoder),
                )
                axes.fill_between(fractions, lows, highs, color=colour, alpha=0.13, linewidth=0)
            axes.set_xscale("log")
            axes.set_xticks([0.01, 0.1, 1.0], ["1 %", "10 %", "100 %"])
            axes.minorticks_off()
            axes.set_title(dataset)
            axes.set_xlabel("training labels used")
        for axes in grid[:, 0]:
            axes.set_ylabel("macro AUROC")
        panels[num_columns - 1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        return png_bytes(figure)


def draw_training(journal: Sequence[JournalEntry], shown: Mapping[str, str], title: str, y_label: str) -> bytes:
    """Training and validation curves of one run.

    Args:
        journal: the run's journal.
        shown: metric name to legend text; a metric is drawn wherever the journal has it.
        title: one line above.
        y_label: what the vertical axis measures, with its unit.
    """
    with drawing(4.6, 2.9) as figure:
        axes = figure.subplots()
        for position, (metric, name) in enumerate(shown.items()):
            for kind, style in ((TRAIN, ":"), (VALIDATION, "-")):
                steps, values = curve(list(journal), kind, metric)
                if steps:
                    label = f"{name} ({'training' if kind == TRAIN else 'held out'})"
                    axes.plot(steps, values, style, color=encoder_colour("", position), label=label)
        axes.set_xlabel("optimiser steps")
        axes.set_ylabel(y_label)
        axes.set_title(title)
        axes.grid(color=GREY, alpha=0.18, linewidth=0.5)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
        return png_bytes(figure)
