"""Where a film's targets were read: one picture of some films with each modality's attention over their patches.

`films (grey), attention over patches -> one PNG`. For looking at while a run goes on.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pacx.core.artifacts import staged_file

_INCHES, _DPI = 1.6, 110


def patch_grid(maps: NDArray[np.floating]) -> NDArray[np.floating]:
    """Attention over patches (B, L), row by row, as squares (B, g, g).

    Raises:
        ValueError: L is no square number.
    """
    side = round(maps.shape[1] ** 0.5)
    return maps.reshape(len(maps), side, side)


def save_reading_sheet(films: NDArray[np.uint8], maps: Mapping[str, NDArray[np.floating]], path: Path) -> None:
    """One PNG: a column per film; the film, then each modality's map over it.

    Args:
        films: (B, S, S) grey.
        maps: by modality (B, L), each row adding up to 1; a row of the picture shares one scale, from none to its most.
        path: the file.
    """
    size_px, num_rows = films.shape[1], 1 + len(maps)
    figure = Figure(figsize=(_INCHES * len(films), _INCHES * num_rows + 0.3), dpi=_DPI, layout="constrained")
    axes = figure.subplots(num_rows, len(films), squeeze=False)
    for row, (name, shown) in enumerate([("film", None), *maps.items()]):
        for column, film in enumerate(films):
            axis = axes[row][column]
            axis.imshow(film, cmap="gray", vmin=0, vmax=255)
            if shown is not None:
                share = patch_grid(shown)
                extent = (-0.5, size_px - 0.5, size_px - 0.5, -0.5)
                drawn = axis.imshow(
                    share[column], cmap="magma", alpha=0.55, vmin=0, vmax=float(share.max()), extent=extent
                )
            axis.set_xticks([])
            axis.set_yticks([])
        axes[row][0].set_ylabel(name)
        if shown is not None:
            bar = figure.colorbar(drawn, ax=axes[row].tolist(), fraction=0.02, pad=0.01)
            bar.set_label("share of attention", fontsize=7)
            bar.ax.axhline(1 / shown.shape[1], color="white")  # what each patch would get if all were alike
            bar.ax.tick_params(labelsize=7)
    with staged_file(path) as partial:
        figure.savefig(partial, format="png")
