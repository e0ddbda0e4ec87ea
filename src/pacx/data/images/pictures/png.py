"""A PNG file in, grey 8-bit pixels out."""

import struct

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from pacx.data.file_kinds import PNG_START, png_chunks
from pacx.data.images.pictures.samples import grey_from_samples
from pacx.data.images.unreadable import DAMAGED, UnreadableImage, check_size

_WHAT_PIXELS_NEED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


def grey_from_png(data: bytes) -> NDArray[np.uint8]:
    """Decode a PNG file of any depth and colour type.

    The decoder is given the chunks that pixels need and no others, so that neither a damaged profile nor a comment that
    inflates without end matters. Gamma and profiles are left out of account, as in every published loader.

    Raises:
        UnreadableImage: it is damaged, cut short, animated, or of a size that no film has.
    """
    kept = [PNG_START]
    for name, start, end in png_chunks(data):
        if name == b"IHDR":
            width, height = struct.unpack_from(">II", data, start + 8)
            check_size(height, width)
        if name == b"acTL" and int.from_bytes(data[start + 8 : start + 12], "big") > 1:
            raise UnreadableImage("the file holds more than one image")
        if name in _WHAT_PIXELS_NEED:
            kept.append(data[start:end])
        elif name[:1].isupper():
            raise UnreadableImage("the PNG file is not written by the standard; save it again with another program")
    try:
        samples = imagecodecs.png_decode(b"".join(kept))
    except MemoryError:
        raise
    except Exception:
        # Not PngError alone: libpng's message quotes the file, and fails to become text where that is no UTF-8.
        raise UnreadableImage(DAMAGED) from None
    return grey_from_samples(samples)
