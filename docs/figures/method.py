"""Draw the method: what is trained, adapted and frozen in Stage 1, in Stage 2 and at use.

After figure 1 of the paper (arXiv:2606.01537), drawn anew from its text; no part of the original is copied.

Run: python docs/figures/method.py --out docs/images/method.svg
"""

import argparse
import io
import itertools
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch

from pacx.core.artifacts import staged_file
from pacx.reporting.style import GREY, INK, drawing

TRAINED, ADAPTED, FROZEN, DATA = "#f3c1ba", "#f6d8a8", "#c3d9ea", "#eef0f2"
STAGE_1 = (
    # row, data, encoder, what is learnt there
    (2, "film, 90 % of\npatches hidden", "film encoder\n(ViT)", "decoder: paint the\nhidden patches"),
    (1, "ECG,\n12 leads", "ECG encoder\n(ECGFounder)", "learnt elsewhere,\ntaken as it is"),
    (0, "50 laboratory\nvalues", "lab encoder\n(autoencoder)", "decoder: restore\nvalues left out"),
)
ROW_Y = (0.5, 2.0, 3.5)
BOX = (1.75, 0.95)


def box(axes: Axes, x: float, y: float, text: str, colour: str) -> tuple[float, float]:
    """A box with its left lower corner at x, y; returns the corner."""
    shape = FancyBboxPatch((x, y), *BOX, boxstyle="round,pad=0,rounding_size=0.12", facecolor=colour, edgecolor=GREY)
    axes.add_patch(shape)
    axes.text(x + BOX[0] / 2, y + BOX[1] / 2, text, ha="center", va="center", fontsize=8)
    return x, y


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """An arrow from the right edge of one box to the left edge of another."""
    begin, finish = (start[0] + BOX[0] + 0.05, start[1] + BOX[1] / 2), (end[0] - 0.05, end[1] + BOX[1] / 2)
    axes.add_patch(FancyArrowPatch(begin, finish, arrowstyle="-|>", mutation_scale=11, color=INK, linewidth=0.9))


def draw_stage_1(axes: Axes) -> None:
    """Each kind of data trains an encoder of its own."""
    for row, data, encoder, learnt in STAGE_1:
        is_taken = row == 1
        places = [box(axes, 0, ROW_Y[row], data, DATA)]
        places.append(box(axes, 2.25, ROW_Y[row], encoder, FROZEN if is_taken else TRAINED))
        places.append(box(axes, 4.5, ROW_Y[row], learnt, "white" if is_taken else TRAINED))
        arrow(axes, places[0], places[1])
        if not is_taken:
            arrow(axes, places[1], places[2])


def draw_stage_2(axes: Axes) -> None:
    """The film encoder learns to agree with the frozen encoders of the same patient's physiology."""
    film = box(axes, 7.1, ROW_Y[2], "film", DATA)
    encoder = box(axes, 9.35, ROW_Y[2], "film encoder\n+ LoRA, norms", ADAPTED)
    heads = box(axes, 11.6, ROW_Y[2], "heads: project,\npredict", TRAINED)
    agree = box(axes, 13.85, ROW_Y[1], "contrast with other\npatients; predict\nthe embeddings", "white")
    arrow(axes, film, encoder)
    arrow(axes, encoder, heads)
    arrow(axes, heads, agree)
    for row, data, name in (
        (1, "ECG of the\nsame patient", "ECG encoder"),
        (0, "labs of the\nsame patient", "lab encoder"),
    ):
        known = box(axes, 7.1, ROW_Y[row], data, DATA)
        frozen = box(axes, 9.35, ROW_Y[row], name, FROZEN)
        embedding = box(axes, 11.6, ROW_Y[row], "embedding", FROZEN)
        arrow(axes, known, frozen)
        arrow(axes, frozen, embedding)
        arrow(axes, embedding, agree)


def draw_use(axes: Axes) -> None:
    """What is released sees the film and nothing else."""
    places = [box(axes, 3.4, -1.9, "any film", DATA), box(axes, 5.65, -1.9, "film encoder,\nadapters merged", FROZEN)]
    places.append(box(axes, 7.9, -1.9, "one vector", "white"))
    for start, end in itertools.pairwise(places):
        arrow(axes, start, end)


def svg() -> bytes:
    """The picture; the same every time, without a date and with its letters as shapes."""
    buffer = io.BytesIO()
    with drawing(11.0, 5.0) as figure, mpl.rc_context({"svg.hashsalt": "method"}):
        axes = figure.add_subplot()
        axes.set_xlim(-0.1, 15.75)
        axes.set_ylim(-2.2, 5.2)
        axes.set_aspect("equal")
        axes.axis("off")
        draw_stage_1(axes)
        draw_stage_2(axes)
        draw_use(axes)
        for x, y, title in (
            (0, 4.75, "Stage 1: each kind of data alone"),
            (7.1, 4.75, "Stage 2: films and what else is known of the same patients"),
            (0, -1.55, "At use: the film alone"),
        ):
            axes.text(x, y, title, fontsize=10.5, weight="bold")
        axes.axvline(6.7, 0.31, 0.96, color=GREY, linewidth=0.8, linestyle=":")
        meanings = {"trained": TRAINED, "adapted": ADAPTED, "frozen": FROZEN, "data": DATA}
        patches = [Patch(facecolor=colour, edgecolor=GREY, label=name) for name, colour in meanings.items()]
        axes.legend(handles=patches, loc="lower right", ncols=4, fontsize=8.5, handlelength=1.2)
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def main() -> None:
    """Parse the one option, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="SVG to write")
    out = parser.parse_args().out
    with staged_file(out) as partial:
        partial.write_bytes(svg())


if __name__ == "__main__":
    main()
