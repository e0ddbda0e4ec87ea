"""Finding films that look alike among many, without comparing each with each.

`film -> low frequencies -> bits -> films that share a band of bits`. The bits say whether a film has more or less of a
frequency than the films at hand have on average, so that radiographs, which are all alike, still spread over the bits.
Two films whose bits differ in at most seven places share one of eight bands; a film is compared with a bounded number
of others per band, so that time grows as N log N whatever the films are.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

NUM_FREQUENCIES = 128
_SIDE_PX = 32
_NUM_BANDS = 8
_MAX_BITS_APART = 24
_MOST_COMPARED = 64
"""Neighbours a film is compared with, per band."""
_ALL_COMPARED = 2000
"""So few films are compared each with each: with few, an average frequency may fall between two copies."""
_PAIRS_AT_ONCE = 200_000


def thumbnails(images: NDArray[np.uint8], side_px: int) -> NDArray[np.float32]:
    """Films (n, S, S) shrunk by averaging to (n, side, side), each with mean 0 and norm 1; an even film is all zero."""
    if images.shape[1] == side_px:
        small = images
    else:
        size = (side_px, side_px)
        small = np.stack([np.asarray(Image.fromarray(film).resize(size, Image.Resampling.BOX)) for film in images])
    values = small.astype(np.float32)
    values -= values.mean(axis=(1, 2), keepdims=True)
    norm = np.sqrt((values**2).sum(axis=(1, 2), keepdims=True))
    return values / np.maximum(norm, 1e-6)


def low_frequencies(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What of each film (n, S, S) survives scaling, recompression and a change of brightness: (n, 128), norm 1.

    The lowest frequencies of the cosine transform but the first, of the film with its mean and contrast taken out.
    """
    from scipy.fft import dctn

    spectrum = dctn(thumbnails(images, _SIDE_PX), axes=(1, 2), norm="ortho")
    rows, columns = np.indices((_SIDE_PX, _SIDE_PX))
    lowest = np.argsort((rows + columns).ravel(), kind="stable")[1 : NUM_FREQUENCIES + 1]
    chosen = spectrum.reshape(len(images), -1)[:, lowest].astype(np.float32)
    return chosen / np.maximum(np.linalg.norm(chosen, axis=1, keepdims=True), 1e-6)


def alike(frequencies: NDArray[np.float32], min_cosine: float) -> NDArray[np.int64]:
    """Pairs of films whose low frequencies point the same way.

    Args:
        frequencies: (N, 128), as ``low_frequencies`` makes them.
        min_cosine: how alike, in [-1, 1].

    Returns:
        (P, 2), the lower row first, in ascending order. Complete for N up to 2,000; beyond that, for films whose bits
        differ in at most seven places, and most others.
    """
    found = [_as_alike(pairs, frequencies, min_cosine) for pairs in _candidates(frequencies)]
    return np.unique(np.concatenate([np.empty((0, 2), np.int64), *found]), axis=0)


def _as_alike(pairs: NDArray[np.int64], frequencies: NDArray[np.float32], min_cosine: float) -> NDArray[np.int64]:
    kept = []
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        part = pairs[start : start + _PAIRS_AT_ONCE]
        cosine = np.einsum("pf,pf->p", frequencies[part[:, 0]], frequencies[part[:, 1]])
        kept.append(part[cosine >= min_cosine])
    return np.sort(np.concatenate([np.empty((0, 2), np.int64), *kept]), axis=1)


def _candidates(frequencies: NDArray[np.float32]) -> Iterator[NDArray[np.int64]]:
    num_films = len(frequencies)
    if num_films <= _ALL_COMPARED:
        yield np.stack(np.triu_indices(num_films, 1), axis=1)
        return
    bits = np.ascontiguousarray(np.packbits(frequencies > frequencies.mean(axis=0), axis=1))  # (N, 16) bytes
    words, bands = bits.view(np.uint64), bits.view(np.uint16)  # (N, 2), (N, 8)
    for band in range(_NUM_BANDS):
        # Among films with an equal band, those with similar remaining bits stand close together.
        line = np.lexsort((words[:, 1], words[:, 0], bands[:, band]))
        first = np.arange(num_films)
        for offset in range(1, _MOST_COMPARED + 1):
            first = first[first + offset < num_films]
            first = first[bands[line[first], band] == bands[line[first + offset], band]]
            if len(first) == 0:
                break
            pairs = np.stack([line[first], line[first + offset]], axis=1)
            apart = np.bitwise_count(words[pairs[:, 0]] ^ words[pairs[:, 1]]).sum(axis=1)
            yield pairs[apart <= _MAX_BITS_APART]
