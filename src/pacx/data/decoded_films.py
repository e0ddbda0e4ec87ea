"""Films read and decoded one after the other, on worker processes, whatever is wrong with some of them.

`references -> decoded film, or why there is none`. Packing, the doctor, embedding and predicting read their films here.
A film that cannot be read is named with a reason and never stops the others; how many of them are too many, whoever
asks decides. Knows no torch.
"""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pacx.core.quarantine import Quarantined
from pacx.core.workers import in_order
from pacx.data.images.array_rows import ImageRef
from pacx.data.images.decode import MASK_IGNORE, Decoding, decode_grey, decode_mask, to_square, to_square_mask
from pacx.data.images.unreadable import UnreadableImage

FILMS_AT_ONCE = 32
"""Sent to a worker, and written down as done, together."""
_PLAIN = Decoding()
ItemT = TypeVar("ItemT")


@dataclass(frozen=True)
class Film:
    """One film to read; None stands for a mask that there is not. A negative is turned round."""

    sample_id: str
    image: ImageRef
    masks: tuple[ImageRef | None, ...] = ()
    is_negative: bool = False


@dataclass(frozen=True, eq=False)
class DecodedFilm:
    """What came of a film.

    Args:
        film: which.
        square: uint8 (S, S); None where the image cannot be read.
        masks: uint8 (K, S, S): 1 structure, 0 background, 255 unknown, and everywhere where there is no readable mask.
        faults: of the image and of each mask that cannot be read, in this order.
        misfits: masks that do not have their film's height and width.
    """

    film: Film
    square: NDArray[np.uint8] | None
    masks: NDArray[np.uint8]
    faults: tuple[Quarantined, ...]
    misfits: tuple[str, ...]


def decoded_films(
    films: Iterable[Film], *, size_px: int, decoding: Decoding = _PLAIN, num_workers: int = 1
) -> Generator[DecodedFilm, None, None]:
    """Read films, in their order; taken from ``films`` a few ahead of whoever asks.

    Args:
        films: what to read.
        size_px: side S of the squares; 0 decodes in full and keeps no pixel, for those who want the faults only.
        decoding: what may be done on the way from a file to its pixels.
        num_workers: decoding processes, which never change a bit; 1, or very few films, decode in this one. A script
            that asks for more needs the usual ``if __name__ == "__main__"``, because each of them imports it again.

    Raises:
        DataError: a worker process died.
    """
    decode = partial(_decode_each, size_px=size_px, decoding=decoding)
    pieces = batched(films, FILMS_AT_ONCE)
    first = list(islice(pieces, 2))
    for piece in in_order(decode, chain(first, pieces), num_workers if len(first) > 1 else 1):
        yield from piece


def batched(items: Iterable[ItemT], size: int) -> Iterator[list[ItemT]]:
    """The items in lists of so many; the last may be shorter. As ``itertools.batched`` of Python 3.12."""
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch


def _decode_each(films: list[Film], size_px: int, decoding: Decoding) -> list[DecodedFilm]:
    return [_decode(film, size_px, decoding) for film in films]


def _decode(film: Film, size_px: int, decoding: Decoding) -> DecodedFilm:
    square, shape = None, None
    masks = np.full((len(film.masks), size_px, size_px), MASK_IGNORE, np.uint8)
    faults, misfits = [], []
    try:
        grey = decode_grey(film.image, decoding, wanted_px=size_px)
        shape = grey.shape
        grey = 255 - grey if film.is_negative else grey
        square = to_square(grey, size_px) if size_px else np.empty((0, 0), np.uint8)
    except UnreadableImage as error:
        faults.append(_fault(film, film.image, error))
    for row, ref in enumerate(film.masks):
        if ref is None:
            continue
        try:
            mask = decode_mask(ref.file)
        except UnreadableImage as error:
            faults.append(_fault(film, ref, error))
        else:
            if size_px:
                masks[row] = to_square_mask(mask, size_px)
            if shape not in (None, mask.shape):
                misfits.append(ref.name)
    return DecodedFilm(film, square, masks, tuple(faults), tuple(misfits))


def _fault(film: Film, ref: ImageRef, error: UnreadableImage) -> Quarantined:
    return Quarantined(sample_id=film.sample_id, file=ref.name, reason=error.reason, sha256=ref.sha256())
