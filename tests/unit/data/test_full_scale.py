"""Black and white of deep pixels: the depth of the film, not that of the file or of a marker."""

import numpy as np
import pytest

from pacx.data.images.full_scale import counts_of, full_scale, usual_depth


def scale_of(pixels: np.ndarray, lowest: int = 0, highest: int = 65535) -> tuple[int, int]:
    return full_scale(np.bincount(pixels.astype(int) - lowest, minlength=highest - lowest + 1), lowest)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_a_film_has_the_smallest_usual_depth_that_holds_it(bits: int) -> None:
    ramp = np.linspace(0, 2**bits - 1, 1000).round()
    assert scale_of(ramp) == (0, 2**bits - 1)
    assert scale_of(ramp * 0.8) == (0, 2**bits - 1)
    centred = ramp - 2 ** (bits - 1)
    assert scale_of(centred, -32768, 32767) == (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


@pytest.mark.parametrize("share", [0.0005, 0.0083, 0.031, 0.05])
def test_a_marker_does_not_darken_a_film(share: float) -> None:
    film = np.linspace(100, 3500, 10_000).round()
    film[: round(share * len(film))] = 65535
    assert scale_of(film) == (0, 4095)


def test_what_a_tenth_of_the_film_reaches_is_part_of_it() -> None:
    film = np.full(10_000, 3500)
    film[:1000] = 5000
    assert scale_of(film) == (0, 2**14 - 1)


def test_signed_pixels_without_a_negative_one_are_as_bright_as_unsigned_ones() -> None:
    film = np.linspace(0, 4000, 10_000).round()
    assert scale_of(film, -32768, 32767) == scale_of(film) == (0, 4095)
    film[:400] = -30  # a few do not halve the contrast
    assert scale_of(film, -32768, 32767) == (0, 4095)
    film[:600] = -30
    assert scale_of(film, -32768, 32767) == (-8192, 8191)


@pytest.mark.parametrize("bits", [9, 11, 13, 15])
def test_white_is_no_value_that_cannot_be_stored(bits: int) -> None:
    ramp = np.arange(2**bits)
    assert scale_of(ramp, 0, 2**bits - 1) == (0, 2**bits - 1)
    assert scale_of(ramp, -(2**bits), 2**bits - 1) == (0, 2**bits - 1)


def test_counts_and_depths() -> None:
    pixels = np.random.default_rng(0).integers(0, 2**16, (700, 30)).astype(np.uint16)
    counts = counts_of(pixels)
    assert counts.shape == (65536,)
    assert all(counts[value] == (pixels == value).sum() for value in pixels[::90].ravel())
    assert counts.sum() == pixels.size
    assert [usual_depth(largest) for largest in (0, 255, 256, 1024, 4095, 4096, 65535)] == [8, 8, 10, 12, 12, 14, 16]
