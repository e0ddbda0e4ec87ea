"""COVID-QU-Ex for simulated patients: a lung tree and, for a part of the films, an infection tree.

Both trees are nested twice under names with spaces, as they come out of the official archive. COVID films show a focus
low in one lung, which is their infection mask; other pneumonias and normal films have infection masks that are empty.
Films of the class Non-COVID are stored with three equal channels. COVID and viral films are those of ChestX6's twin.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pacx.core.findings import COVID_QU_EX_CLASSES
from pacx.simulation.film.thorax import RenderedFilms
from pacx.simulation.patients.physiology import Physiology
from pacx.simulation.recruitment import (
    COVID_LINE,
    VIRAL_LINE,
    cast,
    cast_films,
    has_covid,
    has_viral_pneumonia,
    is_healthy,
    mask_picture,
    stretched,
)
from pacx.simulation.twin import Twin, TwinConfig
from pacx.simulation.written_counts import Census

_SIDE_PX = 256
_AT_LEAST = 5
_CLASSES: Mapping[str, tuple[str, Callable[[Physiology], NDArray[np.bool_]], str, int]] = {
    "COVID-19": (COVID_LINE, has_covid, "covid_{}.png", 2),
    "Non-COVID": (VIRAL_LINE, has_viral_pneumonia, "non_COVID ({}).png", 4),
    "Normal": ("covid-qu-ex-normal", is_healthy, "Normal_{}.png", 4),
}
"""Line of patients, who belongs to it, how files are named, and one of how many is in the infection tree too."""


class CovidQuExTwin(Twin):
    """Writes both trees of COVID-QU-Ex, lung masks and infection masks, over the same simulated patients."""

    name = "covid-qu-ex"

    def write(self, root: Path, config: TwinConfig) -> Mapping[str, int]:
        """Fill the trees; each class has a third of the patients, and five at least. Counts are the lung tree's."""
        census = Census(COVID_QU_EX_CLASSES, ("lung",))
        for name, (line, fits, pattern, one_of) in _CLASSES.items():
            part = cast(line, max(config.num_patients // len(_CLASSES), _AT_LEAST), fits, config)
            place = 0
            for chunk in cast_films(part, config, f"simulate covid-qu-ex {name}"):
                for row in range(len(chunk.film_ids)):
                    split, file = _split(place), pattern.format(part.numbers[place])
                    _save(_tree(root, "Lung") / split / name, file, chunk.films, row, name, has_infection=False)
                    if place // 5 % one_of == 0:
                        _save(_tree(root, "Infection") / split / name, file, chunk.films, row, name, has_infection=True)
                    labels = {other: float(other == name) for other in COVID_QU_EX_CLASSES}
                    census.add(f"{split}/{name}/{file}", split=split.lower(), labels=labels, masks=("lung",))
                    place += 1
        return census.counts()


TWIN = CovidQuExTwin()


def _split(place: int) -> str:
    """Three of five films train; of the first five, each split has one."""
    return ("Train", "Val", "Test", "Train", "Train")[place % 5]


def _tree(root: Path, kind: str) -> Path:
    name = f"{kind} Segmentation Data"
    return root / name / name


def _save(folder: Path, file: str, films: RenderedFilms, row: int, name: str, *, has_infection: bool) -> None:
    """One film with its masks."""
    film = Image.fromarray(stretched(films.images[row], _SIDE_PX, _SIDE_PX))
    pictures = {"images": film.convert("RGB") if name == "Non-COVID" else film}
    pictures["lung masks"] = Image.fromarray(mask_picture(films.lung[row], _SIDE_PX, _SIDE_PX))
    if has_infection:
        infected = films.opacity[row] & (name == "COVID-19")
        pictures["infection masks"] = Image.fromarray(mask_picture(infected, _SIDE_PX, _SIDE_PX))
    for place, picture in pictures.items():
        (folder / place).mkdir(parents=True, exist_ok=True)
        picture.save(folder / place / file, format="PNG", compress_level=2)
