"""PNG and TIFF files of every depth, written by hand: as scanners write them, and no library does."""

import io
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

GREY_12 = np.add.outer(np.arange(40) * 40, np.arange(48) * 50).astype(np.uint16)
"""A film of twelve bits, 0 to 3910, in the 16-bit numbers it usually comes in."""
GREY_8 = (GREY_12 >> 4).astype(np.uint8)
RGB, GREY_ALPHA, RGBA = 2, 4, 6
"""Colour types of PNG; 0 is grey."""
WHITE_IS_ZERO, BLACK_IS_ZERO, TIFF_RGB, TIFF_PALETTE = 0, 1, 2, 3
"""Photometric interpretations of TIFF."""
SHORT, LONG, RATIONAL = 3, 4, 5
"""Types of TIFF tags."""
_LETTERS = {SHORT: "H", LONG: "I", RATIONAL: "I"}
Tag = tuple[int, int, Sequence[int]]


def shown(share: np.ndarray) -> np.ndarray:
    """Greys of shares of white, by the definition."""
    return np.floor(np.clip(share, 0, 1) * 255 + 0.5).astype(np.uint8)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(samples: np.ndarray, colour_type: int = 0, *between: bytes, rows: int | None = None) -> bytes:
    """A PNG file of (H, W) or (H, W, C); so many ``rows`` where the file is to hold fewer than it says."""
    height, width = samples.shape[:2]
    depth = 8 * samples.dtype.itemsize
    lines = samples.astype(samples.dtype.newbyteorder(">"))[:rows].reshape(rows or height, -1)
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + line.tobytes() for line in lines))
    body = chunk(b"IHDR", header) + b"".join(between) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def packed(values: np.ndarray, bits: int) -> bytes:
    """Rows of numbers of so many bits, each row filled up to whole bytes."""
    digits = values.astype(np.int64)[:, :, None] >> np.arange(bits - 1, -1, -1) & 1
    return np.packbits(digits.astype(np.uint8).reshape(len(values), -1), axis=1).tobytes()


def tiff(
    samples: np.ndarray,
    photometric: int = BLACK_IS_ZERO,
    *more: Tag,
    order: str = "<",
    bits: int = 0,
    is_planar: bool = False,
    reduced: np.ndarray | None = None,
) -> bytes:
    """An uncompressed TIFF file of (H, W) or (H, W, C).

    Args:
        samples: of the type that the file is to have.
        photometric: what the numbers stand for.
        more: further tags, or others in the place of ours: (number, type, values).
        order: "<" or ">".
        bits: of a sample, where they are packed.
        is_planar: one plane after the other.
        reduced: a smaller copy, in a page of its own before the film's.
    """
    file = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 0)
    pages = [] if reduced is None else [(reduced, ((254, LONG, [1]), *more))]
    link = 4
    for pixels, tags in [*pages, (samples, more)]:
        file, at = _with_page(file, pixels, photometric, tags, order=order, bits=bits, is_planar=is_planar)
        file = file[:link] + struct.pack(order + "I", at) + file[link + 4 :]
        link = len(file) - 4
    return file


def _with_page(
    file: bytes, samples: np.ndarray, photometric: int, more: Sequence[Tag], *, order: str, bits: int, is_planar: bool
) -> tuple[bytes, int]:
    """The file with one more page, and where its directory begins; its last four bytes link to the next."""
    height, width, num_channels = (*samples.shape, 1)[:3]
    swapped = samples.astype(samples.dtype.newbyteorder(order))
    planes = np.moveaxis(swapped, 2, 0) if is_planar else [swapped]
    starts, lengths = [], []
    for plane in planes:
        strip = packed(samples, bits) if bits else plane.tobytes()
        starts.append(len(file))
        lengths.append(len(strip))
        file += strip + bytes(len(strip) % 2)
    tags = {
        256: (SHORT, [width]),
        257: (SHORT, [height]),
        258: (SHORT, [bits or 8 * samples.dtype.itemsize] * num_channels),
        259: (SHORT, [1]),
        262: (SHORT, [photometric]),
        273: (LONG, starts),
        277: (SHORT, [num_channels]),
        278: (SHORT, [height]),
        279: (LONG, lengths),
        284: (SHORT, [1 + is_planar]),
        339: (SHORT, [{"i": 2, "f": 3}.get(samples.dtype.kind, 1)] * num_channels),
    } | {number: (kind, list(values)) for number, kind, values in more}
    directory = struct.pack(order + "H", len(tags))
    for number, (kind, values) in sorted(tags.items()):
        content = struct.pack(f"{order}{len(values)}{_LETTERS[kind]}", *values)
        if len(content) > 4:
            place = struct.pack(order + "I", len(file))
            file += content + bytes(len(content) % 2)
            content = place
        directory += struct.pack(order + "HHI", number, kind, len(values) // (2 if kind == RATIONAL else 1))
        directory += content.ljust(4, b"\0")
    return file + directory + bytes(4), len(file)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
