"""What earlier calls decoded for a pack that was never finished, though the films or the table have changed since.

A call that finds another order of films, a mended film or a film more cannot go on writing where the last one stopped.
It sets that work aside, begins anew, and copies what it finds here instead of decoding it again. Only pixels are taken:
what was bad is looked at again, for its disk may have been away, or its decoder not installed.
"""

import shutil
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.data.decoded_films import DecodedFilm, Film

_ASIDE = "earlier-"


class Earlier:
    """Decoded films by the words of their sources (``SourceStamps.films``), until somebody takes them."""

    def __init__(self) -> None:
        self._films: dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]] = {}

    def add(
        self, words: Iterable[str], images: NDArray[np.uint8], masks: NDArray[np.uint8], leave_out: Container[str]
    ) -> None:
        """Remember films whose pixels, (n, S, S) and (n, K, S, S), are mapped from a file."""
        for word, image, several in zip(words, images, masks, strict=True):
            if word not in leave_out:
                self._films[word] = image, several

    def __contains__(self, word: str) -> bool:
        return word in self._films

    def __len__(self) -> int:
        return len(self._films)

    def film(self, film: Film, word: str) -> DecodedFilm:
        """The film as it was decoded then."""
        square, masks = self._films.pop(word)
        return DecodedFilm(film, square, masks, (), ())


def set_aside(folder: Path, names: Iterable[str]) -> None:
    """Move the files of a work that cannot be continued out of the way of the next one."""
    numbers = [int(path.name.removeprefix(_ASIDE)) for path in aside(folder)]
    place = folder / f"{_ASIDE}{max(numbers, default=0) + 1}"
    place.mkdir()
    for path in (folder / name for name in names):
        if path.exists():  # masks are removed where there are none
            path.rename(place / path.name)


def aside(folder: Path) -> Iterator[Path]:
    """The folders with work that was set aside."""
    yield from folder.glob(f"{_ASIDE}*")


def forget(folder: Path) -> None:
    """Remove all work that was set aside."""
    for place in aside(folder):
        shutil.rmtree(place)
