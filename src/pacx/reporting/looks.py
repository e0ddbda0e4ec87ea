"""Pictures of what an encoder rests on: deletion and insertion curves, and embeddings on two principal components."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from pacx.evaluation.evidence.deletion import LEAST_FIRST, MOST_FIRST, RANDOM, DeletionCurve
from pacx.evaluation.evidence.embedding_view import EmbeddingView
from pacx.reporting.style import GREY, drawing, encoder_colour, png_bytes

_LINES = {MOST_FIRST: "-", LEAST_FIRST: "--", RANDOM: ":"}
_CLASSES = ((0.0, "without", "#9fb3c8"), (1.0, "with", "#c0392b"))


def draw_deletion(curves: Sequence[DeletionCurve], answer: str) -> bytes:
    """One panel per encoder: how the answer changes while patches go, in three orders, each with its 95 % band.

    Args:
        curves: of all encoders.
        answer: what changes, in words ("probability of effusion").
    """
    names = list(dict.fromkeys(curve.encoder for curve in curves))
    with drawing(3.0 * len(names) + 0.6, 3.0) as figure:
        panels = figure.subplots(1, len(names), squeeze=False, sharey=True)[0]
        for position, (axes, name) in enumerate(zip(panels, names, strict=True)):
            _curves(axes, [curve for curve in curves if curve.encoder == name], encoder_colour(name, position))
            axes.set_title(name)
            axes.set_xlabel("share of the patches removed")
        panels[0].set_ylabel(f"change of {answer}")
        panels[0].legend(fontsize=7)
        return png_bytes(figure)


def _curves(axes: Axes, curves: Sequence[DeletionCurve], colour: str) -> None:
    for curve in curves:
        shade = GREY if curve.order == RANDOM else colour
        values = np.array(curve.change)  # (F, 3)
        axes.plot(curve.removed, values[:, 0], _LINES[curve.order], color=shade, linewidth=1.5, label=curve.order)
        axes.fill_between(curve.removed, values[:, 1], values[:, 2], color=shade, alpha=0.12, linewidth=0)


def draw_views(views: Mapping[str, EmbeddingView], label: NDArray[np.floating], name: str) -> bytes:
    """One panel per encoder: films on their first two principal components.

    Args:
        views: by encoder name, each of the same N films.
        label: (N,) 1 / 0 / NaN; films of which nothing is known are left out.
        name: the label's.
    """
    with drawing(3.0 * len(views) + 0.3, 3.3) as figure:
        panels = figure.subplots(1, len(views), squeeze=False)[0]
        for axes, (encoder, view) in zip(panels, views.items(), strict=True):
            for value, word, colour in _CLASSES:
                chosen = view.coordinates[label == value]
                axes.scatter(*chosen.T, s=6, color=colour, alpha=0.6, linewidths=0, label=f"{word} (n = {len(chosen)})")
            first, second = (f"{100 * share:.0f} %" for share in view.explained)
            axes.set_title(encoder)
            axes.set_xlabel(f"component 1, {first} of the variance")
            axes.set_ylabel(f"component 2, {second}")
            axes.set_xticks([])
            axes.set_yticks([])
        panels[0].legend(title=name, fontsize=7, title_fontsize=7, markerscale=2, loc="best")
        return png_bytes(figure)
