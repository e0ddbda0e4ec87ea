"""Films as the files of an official layout, one at a time, and the count of what was written.

Stands between a cohort and the twins: they say which patients and which names; here the films are rendered in chunks,
with a progress bar, and turned into the bytes of a file. The same pixels always give the same bytes.
"""

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from pacx.core.progress import progress
from pacx.simulation.cohort import film_chunks
from pacx.simulation.patients.physiology import Physiology
from pacx.simulation.patients.sites import CohortConfig
from pacx.simulation.written_counts import Census

_LATERAL_WIDTH = 0.7


@dataclass(frozen=True, kw_only=True)
class RenderedFilm:
    """One film of a cohort.

    Args:
        row: its place among the film ids.
        image: uint8 (S, S), dense is bright.
        is_ap: taken bedside rather than standing (PA).
        wires: 0 to 1, how many leads and tubes lie on the chest.
    """

    row: int
    image: NDArray[np.uint8]
    is_ap: bool
    wires: float


def films_of(
    patients: Physiology, film_ids: Sequence[str], patient_rows: NDArray[np.int64], config: CohortConfig, *, title: str
) -> Iterator[RenderedFilm]:
    """Render a cohort's films one after the other; arguments as ``film_chunks``, ``title`` for the progress bar."""
    row = 0
    with progress(title, len(film_ids), "films") as shown:
        for chunk in film_chunks(patients, film_ids, patient_rows, config):
            for image, is_ap, wires in zip(chunk.films.images, chunk.nuisance.is_ap, chunk.nuisance.wires, strict=True):
                yield RenderedFilm(row=row, image=image, is_ap=bool(is_ap), wires=float(wires))
                row += 1
                shown.advance()


def jpeg_bytes(image: NDArray[np.uint8], *, quality: int = 90) -> bytes:
    """A grey JPEG of uint8 (H, W)."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def png_bytes(image: NDArray[np.uint8], *, mode: str = "L") -> bytes:
    """A PNG of uint8 (H, W) whose pixels are stored in a mode of Pillow: "L" grey, "RGB" or "RGBA" equal channels."""
    buffer = io.BytesIO()
    Image.fromarray(image).convert(mode).save(buffer, "PNG", compress_level=2)
    return buffer.getvalue()


def as_lateral(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What stands for a side view, which the simulator cannot project: the frontal film mirrored and squeezed."""
    side = image.shape[0]
    width = round(_LATERAL_WIDTH * side)
    squeezed = np.asarray(Image.fromarray(image[:, ::-1].copy()).resize((width, side), Image.Resampling.BILINEAR))
    lateral = np.zeros_like(image)
    left = (side - width) // 2
    lateral[:, left : left + width] = squeezed
    return lateral


def counts_of(films: pd.DataFrame, label_names: Sequence[str]) -> Mapping[str, int]:
    """Count what was written, in the words of ``pacx.data.checks.record_counts``.

    Args:
        films: one row per film; columns patient, split ("" for none), view ("" for none) and one per label, in which 1
            is present, 0 absent and everything else unknown.
        label_names: the label columns.
    """
    census = Census(label_names)
    for _, film in films.iterrows():
        labels = {name: film[name] if film[name] in (0, 1) else math.nan for name in label_names}
        census.add(film["patient"], split=film["split"], view=film["view"], labels=labels)
    return census.counts()
