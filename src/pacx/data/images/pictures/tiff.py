"""A TIFF file in, grey 8-bit pixels out. What its numbers mean stands in its tags, which are read first.

Grey, colour and palettes come through libtiff as numbers of any depth; inks and video colours through Pillow. The tags
are read here, because Pillow's reader gives up those that follow one that is damaged, and has no name for many kinds of
pixels. The orientation of a TIFF file is applied: it says in which order the file holds the rows.

Source: TIFF revision 6.0; BigTIFF.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pacx.data.file_kinds import FileKind
from pacx.data.images.pictures.by_pillow import grey_by_pillow
from pacx.data.images.pictures.samples import COMPRESSED_OTHERWISE, grey_from_samples
from pacx.data.images.unreadable import DAMAGED, UnreadableImage, check_size

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _ORIENTATION = 254, 256, 257, 258, 259, 262, 274
_SAMPLES, _PLANAR, _COLOUR_MAP, _TILE_WIDTH, _TILE_HEIGHT, _EXTRA, _FORMAT = 277, 284, 320, 322, 323, 338, 339
_DEFAULTS: Mapping[int, tuple[int, ...]] = MappingProxyType(
    {
        _SUBFILE: (0,),
        _WIDTH: (0,),
        _HEIGHT: (0,),
        _BITS: (1,),
        _COMPRESSION: (1,),
        _PHOTOMETRIC: (),
        _ORIENTATION: (1,),
        _SAMPLES: (1,),
        _PLANAR: (1,),
        _COLOUR_MAP: (),
        _TILE_WIDTH: (0,),
        _TILE_HEIGHT: (0,),
        _EXTRA: (),
        _FORMAT: (1,),
    }
)
"""What a file means that does not say; these tags are read, and no others."""
_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}
_MOST_VALUES = 3 * 2**16
_MOST_PAGES = 64
_NO_FILM = 1 | 4
"""In the kind of a page: a smaller copy of another, or a mask of its opacity."""
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_NUM_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1}
_UNSIGNED, _FLOAT = 1, 3
_PREMULTIPLIED, _UNSPECIFIED = 1, 0
_JPEG = 7
_COMPRESSIONS = (1, 2, 3, 4, 5, _JPEG, 8, 32773, 32946, 34887, 34925, 50000)
"""None, CCITT, LZW, JPEG, deflate, PackBits, LERC, LZMA and Zstandard."""
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How an orientation comes upright."""


@dataclass(frozen=True)
class _Page:
    """One image of the file.

    Args:
        number: from 0.
        tags: by number.
    """

    number: int
    tags: Mapping[int, tuple[int, ...]]

    def all(self, tag: int) -> tuple[int, ...]:
        return self.tags.get(tag, _DEFAULTS[tag])

    def one(self, tag: int) -> int:
        """The first value of a tag; a tag without one is a damaged one."""
        values = self.all(tag)
        if not values:
            raise UnreadableImage(DAMAGED)
        return values[0]

    @property
    def is_film(self) -> bool:
        return not self.one(_SUBFILE) & _NO_FILM


def grey_from_tiff(data: bytes) -> NDArray[np.uint8]:
    """Decode a TIFF or BigTIFF file that holds one film; smaller copies of it are passed over.

    Raises:
        UnreadableImage: it is damaged or cut short, holds several films, or pixels of a kind or size that no film has.
    """
    try:
        page = _only_film(data)
    except (struct.error, OverflowError):
        raise UnreadableImage(DAMAGED) from None
    check_size(page.one(_HEIGHT), page.one(_WIDTH))
    if not page.all(_PHOTOMETRIC):
        raise UnreadableImage("the TIFF file does not say whether black or white is zero; save it again")
    photometric, (num_bits, *others) = page.one(_PHOTOMETRIC), page.all(_BITS)
    if photometric in (_CMYK, _YCBCR) and num_bits == 8:
        return grey_by_pillow(data, FileKind.TIFF, page.number)
    if photometric not in _NUM_COLOURS:
        raise UnreadableImage("its pixels are neither grey nor colour (RGB); save it as grey")
    if any(bits != num_bits for bits in others) or page.one(_FORMAT) > _FLOAT:
        raise UnreadableImage("its pixels are neither whole numbers of one depth nor floating point; save it as grey")
    if page.one(_COMPRESSION) not in _COMPRESSIONS or (page.one(_COMPRESSION) == _JPEG and num_bits != 8):
        raise UnreadableImage(COMPRESSED_OTHERWISE)
    samples = _samples(data, page, _NUM_COLOURS[photometric])
    is_short = page.one(_FORMAT) == _UNSIGNED and num_bits < 16
    if photometric == _PALETTE:
        samples, is_short = _coloured(samples, page.all(_COLOUR_MAP)), False
    grey = grey_from_samples(
        samples, num_bits=num_bits if is_short else None, is_white_zero=photometric == _WHITE_IS_ZERO
    )
    turn = _UPRIGHT.get(page.one(_ORIENTATION))
    return grey if turn is None else np.asarray(Image.fromarray(grey).transpose(turn))


def _samples(data: bytes, page: _Page, num_colours: int) -> NDArray[np.generic]:
    """The samples (H, W, C): colours, and their opacity where the file has one."""
    num_samples, extra = page.one(_SAMPLES), page.all(_EXTRA)
    if num_samples not in (num_colours, num_colours + 1):
        raise UnreadableImage(f"it holds {num_samples} values a pixel, of which it does not say what they are")
    check_size(max(page.one(_TILE_HEIGHT), 16), max(page.one(_TILE_WIDTH), 16))
    try:
        samples: NDArray[np.generic] = imagecodecs.tiff_decode(data, index=page.number)
    except (imagecodecs.TiffError, IndexError, UnicodeDecodeError):  # the last while it puts a message together
        # The cause is left out on purpose: a decoder's message may quote the file.
        raise UnreadableImage(DAMAGED) from None
    except ValueError:
        raise UnreadableImage(f"its pixels have {page.one(_BITS)} bits, which are not read; save it as grey") from None
    if samples.ndim == 2:
        samples = samples[:, :, None]
    elif page.one(_PLANAR) != 1:
        samples = np.moveaxis(samples, 0, 2)
    if samples.shape != (page.one(_HEIGHT), page.one(_WIDTH), num_samples):
        raise UnreadableImage(DAMAGED)
    is_opacity = extra[:1] not in ((_UNSPECIFIED,), (_PREMULTIPLIED,))  # premultiplied is laid on black already
    return np.ascontiguousarray(samples if is_opacity else samples[:, :, :num_colours])


def _coloured(samples: NDArray[np.generic], colours: tuple[int, ...]) -> NDArray[np.uint8]:
    """Numbers of colours replaced by the luma of these; ``colours`` are all reds, then all greens, then all blues."""
    numbers, num_colours = samples[:, :, 0], len(colours) // 3
    if samples.dtype.itemsize > 1 or int(numbers.max()) >= num_colours:
        raise UnreadableImage("its pixels are numbers of colours that it does not hold")
    palette = np.array(colours[: 3 * num_colours]).reshape(3, -1)
    if palette.max() > 255:  # else a palette of 8 bits, which is against the standard and common
        palette //= 256
    luma = np.asarray(Image.fromarray(palette.T.astype(np.uint8)[None]).convert("L"))[0]
    return np.dstack([luma[numbers.astype(np.uint8)], samples[:, :, 1:].astype(np.uint8)])


def _only_film(data: bytes) -> _Page:
    films = []
    for page in _pages(data):
        if page.is_film:
            films.append(page)
        if len(films) > 1 or page.number >= _MOST_PAGES:
            raise UnreadableImage("the file holds more than one image")
    if not films:
        raise UnreadableImage(DAMAGED)
    return films[0]


def _pages(data: bytes) -> Iterator[_Page]:
    """The pages of the file, in its order, each once."""
    order = "<" if data[:1] == b"I" else ">"
    is_big = b"+" in data[2:4]
    offset, count, entry, value_at = ("Q", "Q", "HHQ", 12) if is_big else ("I", "H", "HHI", 8)
    at: int = struct.unpack_from(order + offset, data, 8 if is_big else 4)[0]
    seen: set[int] = set()
    while at and at not in seen:
        seen.add(at)
        (num_tags,) = struct.unpack_from(order + count, data, at)
        at += struct.calcsize(order + count)
        tags: dict[int, tuple[int, ...]] = {}
        for _ in range(num_tags):
            tag, kind, num_values = struct.unpack_from(order + entry, data, at)
            if tag in _DEFAULTS and tag not in tags and kind in _TYPES:
                values = f"{order}{min(num_values, _MOST_VALUES)}{_TYPES[kind]}"
                is_here = struct.calcsize(values) <= struct.calcsize(offset)
                place = at + value_at if is_here else struct.unpack_from(order + offset, data, at + value_at)[0]
                tags[tag] = struct.unpack_from(values, data, place)
            at += struct.calcsize(order + entry) + struct.calcsize(offset)
        yield _Page(len(seen) - 1, tags)
        (at,) = struct.unpack_from(order + offset, data, at)
