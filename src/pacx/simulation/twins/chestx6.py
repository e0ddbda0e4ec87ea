"""ChestX6 for simulated patients: six folders of films of 224 pixels, tuberculosis multiplied by augmented copies.

Each class shows what it is named after: COVID and bacterial pneumonia a focus low in one lung, tuberculosis one near
the apex, viral pneumonia a diffuse veil, emphysema inflated lungs. Of every tuberculosis original there are copies,
turned and brightened, and as in the official collection they lie in whichever split chance put them; one normal film
occurs twice. COVID films are those that COVID-QU-Ex and QaTa-COV19 have.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pacx.core.findings import CHESTX6_CLASSES
from pacx.core.randomness import sample_keys, uniform
from pacx.simulation.patients.physiology import Physiology
from pacx.simulation.patients.population import CLEARLY_DISEASED
from pacx.simulation.recruitment import (
    COVID_LINE,
    VIRAL_LINE,
    cast,
    cast_films,
    has_covid,
    has_viral_pneumonia,
    is_healthy,
    stretched,
)
from pacx.simulation.twin import Twin, TwinConfig
from pacx.simulation.written_counts import Census

_SIDE_PX = 224
_COPIES = 3
_AT_LEAST = 5


def _has_bacterial(physiology: Physiology) -> NDArray[np.bool_]:
    return (physiology.pneumonia > 0.5) & (physiology.infection > 0.4)


def _has_emphysema(physiology: Physiology) -> NDArray[np.bool_]:
    return (physiology.hyperinflation > CLEARLY_DISEASED) & (physiology.pneumonia < 0.1)


def _has_tuberculosis(physiology: Physiology) -> NDArray[np.bool_]:
    return (physiology.pneumonia > CLEARLY_DISEASED) & (physiology.pneumonia_height > 0.6)


_CLASSES: Mapping[str, tuple[str, Callable[[Physiology], NDArray[np.bool_]], str]] = {
    "Covid-19": (COVID_LINE, has_covid, "COVID-{}.jpg"),
    "Emphysema": ("emphysema", _has_emphysema, "Emphysema_{}.jpg"),
    "Normal": ("normal", is_healthy, "Normal ({}).jpg"),
    "Pneumonia-Bacterial": ("bacterial", _has_bacterial, "Pneumonia-Bacterial ({}).jpg"),
    "Pneumonia-Viral": (VIRAL_LINE, has_viral_pneumonia, "Viral Pneumonia-{}.jpg"),
    "Tuberculosis": ("tuberculosis", _has_tuberculosis, "Tuberculosis-{}.png"),
}
"""Line of patients, who belongs to it, and how the files are named."""


class ChestX6Twin(Twin):
    """Writes the six folders in three splits."""

    name = "chestx6"

    def write(self, root: Path, config: TwinConfig) -> Mapping[str, int]:
        """Fill ``root/chest-xray``; each class has a sixth of the patients, and five at least."""
        census = Census(CHESTX6_CLASSES)
        for name in CHESTX6_CLASSES:
            labels = {other: float(other == name) for other in CHESTX6_CLASSES}
            for split, file, picture, patient in _files(name, config):
                folder = root / "chest-xray" / split / name
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(folder / file)
                census.add(patient, split=split, labels=labels)
        return census.counts()


TWIN = ChestX6Twin()


def _files(name: str, config: TwinConfig) -> Iterator[tuple[str, str, NDArray[np.uint8], str]]:
    """Split, file name, pixels and patient of each file of a class."""
    line, fits, pattern = _CLASSES[name]
    part = cast(line, max(config.num_patients // len(_CLASSES), _AT_LEAST), fits, config)
    place = 0
    for chunk in cast_films(part, config, f"simulate chestx6 {name}"):
        for film in chunk.films.images:
            number, picture = part.numbers[place], stretched(film, _SIDE_PX, _SIDE_PX)
            split = _split(place)
            file = pattern.format(number)
            if name == "Tuberculosis":
                yield split, file, picture, f"tuberculosis {number}"
                yield from _copies(number, place, picture, config)
            else:
                yield split, file, picture, f"{split}/{name}/{file}"
            if name == "Normal" and place == 0:
                again = pattern.format(10_000 + number)
                yield split, again, picture, f"{split}/{name}/{again}"
            place += 1


def _split(place: int) -> str:
    """Three of five films train; of the first five, each split has one."""
    return ("train", "val", "test", "train", "train")[place % 5]


def _copies(
    number: int, place: int, original: NDArray[np.uint8], config: TwinConfig
) -> Iterator[tuple[str, str, NDArray[np.uint8], str]]:
    """Augmented copies of one film, each in the next split."""
    for copy in range(_COPIES):
        turn, light = uniform(config.seed, "chestx6-augmented", copy, sample_keys([str(number)]), 2)[0]
        turned = Image.fromarray(original).rotate(16.0 * turn - 8.0, Image.Resampling.BILINEAR)
        bright = np.clip(np.asarray(turned, np.float64) * (0.9 + 0.2 * light), 0, 255).astype(np.uint8)
        file = f"augmented_Tuberculosis-{number}_0_{1000 + 37 * copy}.jpeg"
        yield _split(place + copy), file, bright, f"tuberculosis {number}"
