"""A film has the same greys in whatever picture file it comes; what has none of its own is refused by its reason."""

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from picture_files import (
    GREY_8,
    GREY_12,
    GREY_ALPHA,
    LONG,
    RATIONAL,
    RGB,
    RGBA,
    SHORT,
    TIFF_PALETTE,
    TIFF_RGB,
    WHITE_IS_ZERO,
    chunk,
    png,
    saved,
    shown,
    tiff,
)
from PIL import Image

from pacx.data.images.decode import decode_grey, decode_mask
from pacx.data.images.unreadable import UnreadableImage

FILM = shown(GREY_12 / 4095)
OPAQUE, NOTHING = np.full_like(GREY_12, 65535), np.zeros_like(GREY_12)
COLOUR_12, COLOUR_8 = np.dstack([GREY_12] * 3), np.dstack([GREY_8] * 3)
UNIT = GREY_12 / 4095
SIGNED = GREY_12.astype(np.int16)
OPACITY, UNSPECIFIED, PREMULTIPLIED = ((338, SHORT, [meaning]) for meaning in (2, 0, 1))
BMP = saved(Image.fromarray(GREY_8), "BMP")
INKS = Image.merge("CMYK", [Image.new("L", (48, 40))] * 3 + [Image.fromarray(255 - GREY_8)])

SAME_FILM = {
    "PNG": png(GREY_12),
    "PNG in colour": png(COLOUR_12, RGB),
    "PNG with opacity": png(np.dstack([GREY_12, OPAQUE]), GREY_ALPHA),
    "PNG in colour with opacity": png(np.dstack([COLOUR_12, OPAQUE]), RGBA),
    "PNG with a gamma": png(GREY_12, 0, chunk(b"gAMA", struct.pack(">I", 20_000))),
    "PNG that says 12 bits matter": png(GREY_12, 0, chunk(b"sBIT", b"\x0c")),
    "TIFF": tiff(GREY_12),
    "TIFF, big-endian": tiff(GREY_12, order=">"),
    "TIFF, 12 bits": tiff(GREY_12, bits=12),
    "TIFF, 12 bits, big-endian": tiff(GREY_12, bits=12, order=">"),
    "TIFF, white is zero": tiff(4095 - GREY_12, WHITE_IS_ZERO),
    "TIFF, white is zero, big-endian": tiff(4095 - GREY_12, WHITE_IS_ZERO, order=">"),
    "TIFF, white is zero, turned round in 16 bits": tiff(65535 - GREY_12, WHITE_IS_ZERO),
    "TIFF, white is zero, 12 bits": tiff(4095 - GREY_12, WHITE_IS_ZERO, bits=12),
    "TIFF in colour": tiff(COLOUR_12, TIFF_RGB),
    "TIFF in colour, big-endian": tiff(COLOUR_12, TIFF_RGB, order=">"),
    "TIFF in colour, plane by plane": tiff(COLOUR_12, TIFF_RGB, is_planar=True),
    "TIFF in colour with opacity": tiff(np.dstack([COLOUR_12, OPAQUE]), TIFF_RGB, OPACITY),
    "TIFF with opacity": tiff(np.dstack([GREY_12, OPAQUE]), 1, OPACITY),
    "TIFF with a sample that is nothing": tiff(np.dstack([GREY_12, NOTHING]), 1, UNSPECIFIED),
    "TIFF, premultiplied": tiff(np.dstack([GREY_12, GREY_12]), 1, PREMULTIPLIED),
    "TIFF, signed": tiff(SIGNED),
    "TIFF, signed, from the middle": tiff(SIGNED - 2048),
    "TIFF, signed, from the middle, white is zero": tiff(2047 - SIGNED, WHITE_IS_ZERO),
    "TIFF, 32 bits": tiff(GREY_12.astype(np.uint32)),
    "TIFF, 32 bits, big-endian": tiff(GREY_12.astype(np.uint32), order=">"),
    "TIFF, 32 bits, signed": tiff(GREY_12.astype(np.int32)),
    "TIFF, floating point": tiff(UNIT.astype(np.float32)),
    "TIFF, floating point, big-endian": tiff(UNIT.astype(np.float32), order=">"),
    "TIFF, floating point, white is zero": tiff(1 - UNIT.astype(np.float32), WHITE_IS_ZERO),
    "TIFF, double": tiff(UNIT),
    "TIFF, LZW": saved(Image.fromarray(GREY_12), "TIFF", compression="tiff_lzw"),
    "TIFF, deflate": saved(Image.fromarray(GREY_12), "TIFF", compression="tiff_adobe_deflate"),
    "BigTIFF": saved(Image.fromarray(GREY_12), "TIFF", big_tiff=True),
    "TIFF with a smaller copy": tiff(GREY_12, reduced=GREY_12[::2, ::2]),
    "TIFF upside down": tiff(GREY_12[::-1], 1, (274, SHORT, [4])),
    "TIFF on its side": tiff(np.rot90(GREY_12), 1, (274, SHORT, [6])),
    "TIFF, two resolutions in one tag": tiff(GREY_12, 1, (283, RATIONAL, [72, 1, 72, 1])),
    "TIFF, a description past the end": tiff(GREY_12, 1, (270, LONG, [10**9])),
    "JPEG, 12 bits, lossless": imagecodecs.jpeg8_encode(GREY_12, lossless=True, bitspersample=12),
    "JPEG, 16 bits, lossless": imagecodecs.jpeg8_encode(GREY_12, lossless=True),
}
"""The film of twelve bits; each is that of the one-channel PNG file."""

OTHER_FILMS = {
    "PNG, 8 bits": (png(GREY_8), GREY_8),
    "PNG, 8 bits, a damaged resolution": (png(GREY_8, 0, chunk(b"pHYs", b"x")), GREY_8),
    "PNG, 8 bits, a damaged gamma": (png(GREY_8, 0, chunk(b"gAMA", b"x")), GREY_8),
    "PNG, 8 bits, a damaged profile": (png(GREY_8, 0, chunk(b"iCCP", b"x\0\0x")), GREY_8),
    "PNG, 8 bits, a damaged comment": (png(GREY_8, 0, chunk(b"zTXt", b"x\0\7x")), GREY_8),
    "PNG, a transparent grey": (
        png(GREY_12, 0, chunk(b"tRNS", struct.pack(">H", GREY_12[5, 5]))),
        np.where(GREY_12[5, 5] == GREY_12, 0, FILM),
    ),
    "PNG, a transparent grey of 8 bits": (
        png(GREY_8, 0, chunk(b"tRNS", struct.pack(">H", GREY_8[5, 5]))),
        np.where(GREY_8[5, 5] == GREY_8, 0, GREY_8),
    ),
    "TIFF, 8 bits, white is zero": (tiff(255 - GREY_8, WHITE_IS_ZERO), GREY_8),
    "TIFF, 8 bits, plane by plane": (tiff(COLOUR_8, TIFF_RGB, is_planar=True), GREY_8),
    "TIFF, 8 bits, signed": (tiff((GREY_8.astype(np.int16) - 128).astype(np.int8)), GREY_8),
    "TIFF, 4 bits": (tiff(GREY_8 >> 4, bits=4), (GREY_8 >> 4) * 17),
    "TIFF, 4 bits, white is zero": (tiff(15 - (GREY_8 >> 4), WHITE_IS_ZERO, bits=4), (GREY_8 >> 4) * 17),
    "TIFF, 1 bit": (tiff((GREY_8 > 99).astype(np.uint8), bits=1), np.where(GREY_8 > 99, 255, 0)),
    "TIFF, 1 bit, white is zero": (
        tiff((GREY_8 <= 99).astype(np.uint8), WHITE_IS_ZERO, bits=1),
        np.where(GREY_8 > 99, 255, 0),
    ),
    "TIFF, 10 bits": (tiff(GREY_12 >> 2, bits=10), shown((GREY_12 >> 2) / 1023)),
    "TIFF, 14 bits": (tiff(GREY_12 << 2, bits=14), shown((GREY_12 << 2) / 16383)),
    "TIFF, half precision": (tiff((GREY_8 / 255).astype(np.float16)), GREY_8),
    "TIFF, a palette": (saved(Image.fromarray(GREY_8).convert("P"), "TIFF"), GREY_8),
    "TIFF, a palette of 8 bits": (
        tiff(255 - GREY_8, TIFF_PALETTE, (320, SHORT, [*range(255, -1, -1)] * 3)),
        GREY_8,
    ),
    "BMP": (BMP, GREY_8),
    "BMP in colour": (saved(Image.fromarray(COLOUR_8), "BMP"), GREY_8),
}


def test_a_marker_burnt_in_at_full_scale_leaves_the_film_its_greys(tmp_path: Path) -> None:
    marked = GREY_12.copy()
    marked[:4, :12] = 65535
    for name, data in {
        "film.png": png(marked),
        "film.tif": tiff(marked),
        "rgb.png": png(np.dstack([marked] * 3), RGB),
    }.items():
        (tmp_path / name).write_bytes(data)
        np.testing.assert_array_equal(decode_grey(tmp_path / name), np.where(marked == 65535, 255, FILM))


@pytest.mark.parametrize("name", SAME_FILM)
def test_a_film_of_twelve_bits_is_the_same_in_every_container(tmp_path: Path, name: str) -> None:
    (tmp_path / "film").write_bytes(SAME_FILM[name])
    np.testing.assert_array_equal(decode_grey(tmp_path / "film"), FILM)


@pytest.mark.parametrize("name", OTHER_FILMS)
def test_the_greys_are_what_the_file_means(tmp_path: Path, name: str) -> None:
    data, expected = OTHER_FILMS[name]
    (tmp_path / "film").write_bytes(data)
    np.testing.assert_array_equal(decode_grey(tmp_path / "film"), expected)


def test_a_lossy_jpeg_of_twelve_bits_is_near_the_film(tmp_path: Path) -> None:
    for film in (GREY_12, COLOUR_12):
        (tmp_path / "film").write_bytes(imagecodecs.jpeg8_encode(film, level=98, bitspersample=12))
        assert np.abs(decode_grey(tmp_path / "film").astype(int) - FILM).max() <= 3


def test_colour_of_sixteen_bits_is_its_luma(tmp_path: Path) -> None:
    channels = np.random.default_rng(0).integers(0, 65536, (40, 48, 3), dtype=np.uint16)
    for data in (png(channels, RGB), tiff(channels, TIFF_RGB)):
        (tmp_path / "film").write_bytes(data)
        luma = channels @ np.array([0.299, 0.587, 0.114])
        assert np.abs(decode_grey(tmp_path / "film") - luma / 257).max() < 0.51


def test_opacity_of_sixteen_bits_is_laid_on_black(tmp_path: Path) -> None:
    half = NOTHING + np.where(np.arange(48) < 24, 65535, 32768).astype(np.uint16)
    samples = np.dstack([GREY_12 * 16, half])
    for data in (png(samples, GREY_ALPHA), tiff(samples, 1, OPACITY)):
        (tmp_path / "film").write_bytes(data)
        expected = GREY_12 * 16 / 65535 * (half / 65535)
        assert np.abs(decode_grey(tmp_path / "film") - expected * 255).max() < 0.51


def without_adobe(jpeg: bytes) -> bytes:
    at = jpeg.find(b"\xff\xee")
    return jpeg[:at] + jpeg[at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big") :]


REFUSED = {
    "PNG of too few rows": (png(GREY_8, rows=30), "damaged or truncated"),
    "PNG of too few rows, 16 bits": (png(GREY_12, rows=30), "damaged or truncated"),
    "PNG with a chunk of its own": (png(GREY_8, 0, chunk(b"CgBI", b"\0")), "not written by the standard"),
    "PNG, animated": (png(GREY_8, 0, chunk(b"acTL", struct.pack(">II", 2, 0))), "more than one image"),
    "TIFF cut in its pixels": (tiff(GREY_12)[:1000], "damaged or truncated"),
    "TIFF cut in its directory": (tiff(GREY_12)[:-30], "damaged or truncated"),
    "TIFF whose strips are elsewhere": (tiff(GREY_12, 1, (273, LONG, [10**8])), "damaged or truncated"),
    "TIFF of two films": (saved(INKS, "TIFF", save_all=True, append_images=[INKS]), "more than one image"),
    "TIFF, beyond 16 bits": (tiff(GREY_12.astype(np.uint32) << 16), "beyond 16 bits"),
    "TIFF, beyond 16 bits, negative": (tiff(GREY_12.astype(np.int32) - 40_000), "beyond 16 bits"),
    "TIFF, floating point from 0 to 4095": (tiff(GREY_12.astype(np.float32)), "not from 0 to 1"),
    "TIFF, floating point, negative": (tiff(UNIT - 0.5), "not from 0 to 1"),
    "TIFF, NaN": (tiff(np.where(UNIT == 0, np.nan, UNIT)), "NaN or infinite"),
    "TIFF, floating point in colour": (tiff(np.dstack([UNIT] * 3), TIFF_RGB), "colour or transparency"),
    "TIFF, complex": (tiff(GREY_12.astype(np.uint32), 1, (339, SHORT, [5])), "neither whole numbers"),
    "TIFF, signed colour": (tiff(COLOUR_12.astype(np.int16) - 9, TIFF_RGB), "signed"),
    "TIFF, five samples": (tiff(np.dstack([GREY_8] * 5)), "5 values a pixel"),
    "TIFF, samples of two depths": (tiff(COLOUR_8, TIFF_RGB, (258, SHORT, [8, 8, 4])), "of one depth"),
    "TIFF in Lab": (tiff(COLOUR_8, 8), "neither grey nor colour"),
    "TIFF that does not say which end is black": (tiff(GREY_8, 1, (262, SHORT, [])), "whether black or white is zero"),
    "TIFF, a palette that is too small": (tiff(GREY_8, TIFF_PALETTE, (320, SHORT, [0] * 48)), "numbers of colours"),
    "TIFF, JPEG 2000 inside": (tiff(GREY_8, 1, (259, SHORT, [34712])), "compressed in a way that is not read"),
    "BMP with a PNG inside": (BMP[:30] + b"\5" + BMP[31:], "BMP header is damaged or of a kind"),
    "JPEG-LS": (imagecodecs.jpegls_encode(GREY_8), "compressed in a way that is not read"),
    "JPEG of 12 bits, cut": (imagecodecs.jpeg8_encode(GREY_12, bitspersample=12)[:-200], "damaged or truncated"),
    "JPEG of inks": (without_adobe(saved(INKS, "JPEG")), "which way round"),
    "black": (png(GREY_8 * 0), "one grey only"),
    "white of 16 bits": (png(GREY_12 * 0 + 65535), "one grey only"),
    "one grey in JPEG": (saved(Image.new("L", (40, 40), 7), "JPEG"), "one grey only"),
    "one grey in TIFF": (tiff(GREY_12 * 0 + 5, WHITE_IS_ZERO), "one grey only"),
    "one grey in BMP": (saved(Image.new("RGB", (40, 40), "blue"), "BMP"), "one grey only"),
    "two values of 65,536": (png(GREY_12 % 2 + 30_000), "one grey only"),
    "transparent everywhere": (png(np.dstack([GREY_12, NOTHING]), GREY_ALPHA), "one grey only"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_greys_of_its_own_is_refused_by_its_reason(tmp_path: Path, name: str) -> None:
    data, reason = REFUSED[name]
    (tmp_path / "film").write_bytes(data)
    with pytest.raises(UnreadableImage, match=reason):
        decode_grey(tmp_path / "film")


def test_an_empty_mask_is_right_and_a_mask_may_be_of_any_depth(tmp_path: Path) -> None:
    structure = (GREY_8 > 200).astype(np.uint16)
    masks = {
        "empty": (png(GREY_8 * 0), structure * 0),
        "full": (png(GREY_8 * 0 + 255), structure * 0 + 1),
        "16 bits": (png(structure * 65535), structure),
        "16 bits in colour": (png(np.dstack([structure] * 3), RGB), structure),
        "white is zero": (tiff(1 - structure, WHITE_IS_ZERO, bits=1), structure),
        "32 bits": (tiff(structure.astype(np.int32)), structure),
    }
    for name, (data, expected) in masks.items():
        (tmp_path / "mask").write_bytes(data)
        np.testing.assert_array_equal(decode_mask(tmp_path / "mask"), expected, err_msg=name)


def test_a_comment_of_any_length_is_not_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    comment = chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(10**6)))
    (tmp_path / "film").write_bytes(png(GREY_8, 0, comment))
    seen = []
    decode = imagecodecs.png_decode
    monkeypatch.setattr(imagecodecs, "png_decode", lambda data: seen.append(data) or decode(data))
    np.testing.assert_array_equal(decode_grey(tmp_path / "film"), GREY_8)
    assert b"zTXt" not in seen[0]


def test_memory_that_is_not_there_is_not_called_damage(tmp_path: Path) -> None:
    """In a process that may use little: the file is whole, and whoever asked must learn that it was too costly."""
    side = 9000
    Image.new("RGB", (side, side)).save(tmp_path / "film.bmp")
    Image.new("RGB", (side, side)).save(tmp_path / "film.png")
    Image.new("RGB", (side, side)).save(tmp_path / "film.tif", compression="tiff_lzw")
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom pacx.data.images.pictures import by_pillow, png, tiff\n"
        "from pacx.data.images.decode import grey_from_bytes\n"
        "data = Path(sys.argv[1]).read_bytes()\n"
        "size = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize() + 100 * 2**20\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size, size))\n"
        "try: grey_from_bytes(data)\nexcept MemoryError: print('memory')\nexcept Exception as error: print(error)\n"
    )
    for name in ("film.bmp", "film.png", "film.tif"):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / name)],
            capture_output=True,
            text=True,
            check=True,
            env=dict(os.environ),
        )
        assert done.stdout == "memory\n", name


def test_the_room_offers_its_readers_and_loads_none_before_they_are_used() -> None:
    code = (
        "import sys, pacx.data.images as images\n"
        "assert not {'numpy', 'PIL', 'imagecodecs'} & set(sys.modules)\n"
        "assert images.decode_grey.__module__ == 'pacx.data.images.decode'\n"
        "assert issubclass(images.UnreadableImage, Exception)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
