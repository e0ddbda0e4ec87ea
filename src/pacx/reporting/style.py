"""How everything drawn by the project looks: one palette, one way to a PNG."""

import contextlib
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

INK = "#1f2933"
GREY = "#8a94a0"
ENCODER_COLOURS = {
    "pacx": "#c0392b",
    "pacx#mean": "#e08a80",
    "mae": "#3d4b59",
    "mae#mean": "#8fa1b3",
    "random": "#c3c9cf",
    "imagenet": "#2f7fb8",
}
SPARE_COLOURS = ("#2f7fb8", "#2a9d78", "#c98a1b", "#7b5ea7", "#5b6b7b")

_RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "xtick.color": GREY,
    "ytick.color": GREY,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "pacx",  # the same figure gives the same file
}


def encoder_colour(name: str, position: int = 0) -> str:
    """The colour of an encoder: fixed for the paper's, from a spare list for others."""
    return ENCODER_COLOURS.get(name, SPARE_COLOURS[position % len(SPARE_COLOURS)])


def heat() -> "ListedColormap":
    """A colour map from transparent to red for overlays on a grey film."""
    from matplotlib.colors import ListedColormap

    strength = np.linspace(0, 1, 256)
    colours = np.stack([0.85 + 0 * strength, 0.65 * (1 - strength), 0.10 * (1 - strength), 0.75 * strength], axis=1)
    return ListedColormap(colours)


@contextlib.contextmanager
def drawing(width_in: float, height_in: float) -> Iterator["Figure"]:
    """A figure in the project's style; it is never registered with pyplot, so nothing leaks."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_RC):
        yield Figure(figsize=(width_in, height_in), layout="constrained")


def png_bytes(figure: "Figure", dots_per_inch: int = 130) -> bytes:
    """The figure as PNG bytes without a creation date, so that the same figure gives the same file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dots_per_inch, metadata={"Software": None})
    return buffer.getvalue()


def svg_bytes(figure: "Figure") -> bytes:
    """The figure as SVG for print, without a creation date; call it within ``drawing``."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
