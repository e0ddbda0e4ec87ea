"""Patients of a simulated hospital and their films, in chunks: what whoever writes an official layout starts from.

`patient ids -> physiology, nuisance, films`. Every patient and film is a pure function of seed, id and site, so the
chunks may be made in any order and by anybody.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pacx.simulation.film.thorax import RenderedFilms, render_films
from pacx.simulation.patients.physiology import Nuisance, Physiology
from pacx.simulation.patients.population import draw_nuisance, draw_physiology
from pacx.simulation.patients.sites import CohortConfig

_FILMS_PER_CHUNK = 32


@dataclass(frozen=True, kw_only=True)
class FilmChunk:
    """Some films of a cohort, row by row."""

    film_ids: tuple[str, ...]
    patient_rows: NDArray[np.int64]
    """(n,), whose film it is: the row among the cohort's patients."""

    physiology: Physiology
    """The patient on each film, (n,) per quantity."""

    nuisance: Nuisance
    films: RenderedFilms


def film_chunks(
    patients: Physiology, film_ids: Sequence[str], patient_rows: NDArray[np.int64], config: CohortConfig
) -> Iterator[FilmChunk]:
    """Render a cohort's films, a few at a time.

    Args:
        patients: as ``patients_of`` draws them.
        film_ids: (N,) unique names; with the seed they fix how the film was taken.
        patient_rows: (N,), the row of ``patients`` on each film.
        config: the world.
    """
    for start in range(0, len(film_ids), _FILMS_PER_CHUNK):
        names, rows = tuple(film_ids[start : start + _FILMS_PER_CHUNK]), patient_rows[start : start + _FILMS_PER_CHUNK]
        on_film = patients.take(rows)
        nuisance = draw_nuisance(names, on_film, seed=config.seed, site=config.site)
        films = render_films(
            on_film,
            nuisance,
            film_ids=names,
            seed=config.seed,
            image_size_px=config.image_size_px,
            visibility=config.visibility,
            scanner=config.site.scanner,
        )
        yield FilmChunk(film_ids=names, patient_rows=rows, physiology=on_film, nuisance=nuisance, films=films)


def patients_of(patient_ids: Sequence[str], config: CohortConfig) -> Physiology:
    """Draw the patients with these ids."""
    return draw_physiology(patient_ids, seed=config.seed, site=config.site)
