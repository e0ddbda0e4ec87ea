"""Pictures of inputs, reconstructions, segmentations and attention, drawn from arrays and kept as PNG files.

A run folder keeps them under ``figures/`` with one ``figures.json`` that says where each belongs, so that a report can
be made again without the model. Curves and tables are not drawn here: they come from journals and result rows.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pacx.core.artifacts import read_json, staged_file, write_json
from pacx.core.vocabulary import ECG_LEADS
from pacx.reporting.style import INK, drawing, heat, png_bytes

Image = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class FigureEntry:
    """One picture on disk and its place in a report."""

    file: str
    section: str
    title: str
    caption: str


def save_figure(folder: Path, entry: FigureEntry, png: bytes) -> None:
    """Add or replace one picture in a folder and its index."""
    with staged_file(folder / entry.file) as partial:
        partial.write_bytes(png)
    others = [known for known in read_figures(folder) if known.file != entry.file]
    write_json(folder / "figures.json", [asdict(known) for known in [*others, entry]])


def read_figures(folder: Path) -> list[FigureEntry]:
    """The pictures of a folder in the order they were added; empty when there are none."""
    index = folder / "figures.json"
    return [FigureEntry(**entry) for entry in read_json(index)] if index.exists() else []


def _film(axes: Axes, image: NDArray[np.generic], title: str = "") -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="bilinear")
    axes.set_axis_off()
    axes.set_title(title, fontsize=7, color=INK, loc="left")


def _grid(figure: Figure, num_rows: int, num_columns: int) -> NDArray[np.object_]:
    grid = figure.subplots(num_rows, num_columns, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    return grid


def draw_films(films: Image, captions: Sequence[str], outlines: Sequence[Image] = (), num_columns: int = 8) -> bytes:
    """A gallery of films.

    Args:
        films: (N, S, S) uint8.
        captions: one line per film.
        outlines: masks (N, S, S) of 0 and 1 whose borders are drawn over the films, each in its own colour.
        num_columns: films per row.
    """
    num_rows = -(-len(films) // num_columns)
    with drawing(1.35 * num_columns, 1.5 * num_rows) as figure:
        grid = _grid(figure, num_rows, num_columns)
        for index, axes in zip(range(len(films)), grid.ravel(), strict=False):
            _film(axes, films[index], captions[index])
            for masks, colour in zip(outlines, ("#37b6ff", "#ffb000", "#ff4f4f"), strict=False):
                if (masks[index] == 1).any():
                    axes.contour(masks[index] == 1, levels=[0.5], colors=colour, linewidths=0.7)
        return png_bytes(figure)


def draw_reconstructions(originals: Image, masked: Image, reconstructions: Image) -> bytes:
    """Figure 2 of the paper: original, what the encoder saw, and what the decoder made of it; each (N, S, S) uint8."""
    with drawing(1.35 * len(originals), 4.3) as figure:
        grid = _grid(figure, 3, len(originals))
        titles = ("original", "visible to the encoder", "reconstruction")
        for row, (images, title) in enumerate(zip((originals, masked, reconstructions), titles, strict=True)):
            for column, image in enumerate(images):
                _film(grid[row, column], image, title if column == 0 else "")
        return png_bytes(figure)


def draw_rollouts(
    films: Image,
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    captions: Sequence[str],
    names: tuple[str, str] = ("MAE", "PaCX"),
) -> bytes:
    """Figure 4 of the paper: attention rollout of the MAE and of PaCX, and PaCX minus MAE.

    Args:
        films: (N, S, S) uint8.
        before: rollout of the MAE in [0, 1], (N, S, S).
        after: rollout of PaCX in [0, 1], (N, S, S).
        captions: one line per film.
        names: of the two encoders, in this order.
    """
    with drawing(1.45 * len(films), 5.9) as figure:
        grid = _grid(figure, 4, len(films))
        for column, film in enumerate(films):
            _film(grid[0, column], film, captions[column])
            for row, rollout in ((1, before), (2, after)):
                _film(grid[row, column], film, names[row - 1] if column == 0 else "")
                grid[row, column].imshow(rollout[column], cmap=heat(), vmin=0, vmax=1)
            difference = after[column] - before[column]
            grid[3, column].imshow(difference, cmap="RdBu_r", vmin=-1, vmax=1)
            grid[3, column].set_title(f"{names[1]} minus {names[0]}" if column == 0 else "", fontsize=7, loc="left")
        return png_bytes(figure)


def draw_ecg(signal_mv: NDArray[np.floating], sample_rate_hz: float, title: str) -> bytes:
    """A twelve-lead ECG in the usual 4 by 3 layout of 2.5 s each.

    Args:
        signal_mv: (12, T) in millivolt, leads in the project's order.
        sample_rate_hz: samples per second.
        title: one line.
    """
    window = int(2.5 * sample_rate_hz)
    with drawing(9.0, 3.4) as figure:
        axes = figure.subplots()
        for index, lead in enumerate(ECG_LEADS):
            column, row = divmod(index, 3)
            part = signal_mv[index, column * window : (column + 1) * window]
            time_s = (np.arange(len(part)) + column * window) / sample_rate_hz
            axes.plot(time_s, part - 2.5 * row, color=INK, linewidth=0.7)
            axes.text(column * 2.5 + 0.05, -2.5 * row + 0.85, lead, fontsize=8, color="#c0392b")
        axes.set_xlim(0, 10)
        axes.set_ylim(-7.0, 2.0)
        axes.set_xlabel("seconds")
        axes.set_ylabel("millivolt, rows 2.5 mV apart")
        axes.set_title(title)
        axes.grid(color="#f0c9c4", linewidth=0.4)
        return png_bytes(figure)
