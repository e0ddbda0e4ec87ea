"""Patients for a part: the first ones of a named line whose bodies show what a collection was gathered for.

A twin of a collection of COVID films wants patients with pneumonia, one of tuberculosis patients with another shadow.
They are found, not made: everybody in the line is drawn as always, and whoever fits is taken. Twins that name the same
line and the same part therefore share patients and films, as the official collections do that took from one another.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pacx.core.progress import progress
from pacx.simulation.cohort import FilmChunk, film_chunks, patients_of
from pacx.simulation.patients.physiology import Physiology
from pacx.simulation.patients.population import CLEARLY_DISEASED
from pacx.simulation.patients.sites import CohortConfig

COVID_LINE = "covid"
"""Whoever needs a COVID film takes it from here: ChestX6, QaTa-COV19 and COVID-QU-Ex share such films in life too."""

VIRAL_LINE = "viral"
"""The same for other viral pneumonia, in ChestX6 and COVID-QU-Ex."""

_PATIENTS_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class Cast:
    """The patients that fit a part."""

    line: str
    numbers: tuple[int, ...]
    """Their places in the line, ascending, from 1."""

    physiology: Physiology

    @property
    def ids(self) -> tuple[str, ...]:
        """The patients' ids, and of their films, for everybody has one."""
        return tuple(f"{self.line}-{number}" for number in self.numbers)


def cast(line: str, count: int, fits: Callable[[Physiology], NDArray[np.bool_]], config: CohortConfig) -> Cast:
    """Take the first ``count`` patients of a line that fit.

    Args:
        line: its name; patient number n has the id "line-n".
        count: how many are wanted.
        fits: which of N patients fit, (N,); a share of every population has to.
        config: the world they live in.
    """
    numbers: list[int] = []
    start = 1
    while len(numbers) < count:
        block = np.arange(start, start + _PATIENTS_AT_ONCE)
        drawn = patients_of([f"{line}-{number}" for number in block], config)
        numbers += block[fits(drawn)].tolist()
        start += _PATIENTS_AT_ONCE
    chosen = tuple(numbers[:count])
    return Cast(line=line, numbers=chosen, physiology=patients_of([f"{line}-{number}" for number in chosen], config))


def has_covid(physiology: Physiology) -> NDArray[np.bool_]:
    """Whose film will do for COVID: a clear focus in the lower half of a lung."""
    return (physiology.pneumonia > CLEARLY_DISEASED) & (physiology.pneumonia_height < 0.5)


def has_viral_pneumonia(physiology: Physiology) -> NDArray[np.bool_]:
    """Whose film will do for a viral pneumonia other than COVID: a diffuse veil and no focus."""
    return (physiology.congestion > CLEARLY_DISEASED) & (physiology.pneumonia < 0.1)


def is_healthy(physiology: Physiology) -> NDArray[np.bool_]:
    """Whose film will do for normal: heart and lungs without anything to speak of, and no device."""
    severities = np.maximum.reduce(
        [
            physiology.pneumonia,
            physiology.congestion,
            physiology.hyperinflation,
            physiology.effusion_left,
            physiology.effusion_right,
        ]
    )
    return (severities < 0.1) & (physiology.has_pacemaker == 0)


def cast_films(part: Cast, config: CohortConfig, title: str) -> Iterator[FilmChunk]:
    """One film of each of them, a few at a time."""
    yield from filmed(part.physiology, part.ids, np.arange(len(part.numbers)), config, title)


def filmed(
    patients: Physiology, film_ids: Sequence[str], patient_rows: NDArray[np.int64], config: CohortConfig, title: str
) -> Iterator[FilmChunk]:
    """``film_chunks`` with a progress bar of that title."""
    with progress(title, len(film_ids), "films") as shown:
        for chunk in film_chunks(patients, film_ids, patient_rows, config):
            yield chunk
            shown.advance(len(chunk.film_ids))


def stretched(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """A film or a mask of 0 and 255 in the size an official collection has."""
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))


def mask_picture(mask: NDArray[np.bool_], width: int, height: int) -> NDArray[np.uint8]:
    """A mask as a picture of 0 and 255 and nothing between."""
    return np.where(stretched(np.where(mask, np.uint8(255), np.uint8(0)), width, height) > 127, 255, 0).astype(np.uint8)
