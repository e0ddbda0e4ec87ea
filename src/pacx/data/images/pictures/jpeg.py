"""A JPEG file in, grey 8-bit pixels out: the luma as it is stored where there is one."""

import struct

import imagecodecs
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from pacx.data.file_kinds import FileKind, jpeg_markers
from pacx.data.images.pictures.by_pillow import grey_by_pillow
from pacx.data.images.pictures.samples import COMPRESSED_OTHERWISE, grey_from_samples
from pacx.data.images.unreadable import DAMAGED, UnreadableImage, check_size

_FRAME_HEADERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15 and JPEG-LS, less DHT, JPG and DAC
_HUFFMAN = (0xC0, 0xC1, 0xC2, 0xC3)  # baseline, extended, progressive, lossless


def grey_from_jpeg(data: bytes, min_side_px: int = 0) -> NDArray[np.uint8]:
    """Decode a JPEG file.

    Args:
        data: the whole file.
        min_side_px: the decoder may shrink the film by eighths, but not below this; 0 asks for all of it.

    Raises:
        UnreadableImage: it is damaged, of a size that no film has, or compressed in a way that is not read.
    """
    try:
        height, width, colour_space, _ = simplejpeg.decode_jpeg_header(data)
        check_size(height, width)
        if colour_space in ("Gray", "YCbCr"):
            # (H, W, 1) -> (H, W)
            return simplejpeg.decode_jpeg(data, "GRAY", min_height=min_side_px, min_width=min_side_px)[:, :, 0]
    except ValueError:
        # The cause is left out on purpose: a decoder's message may quote the file.
        return _grey_from_deep_jpeg(data)
    return grey_by_pillow(data, FileKind.JPEG)


def _grey_from_deep_jpeg(data: bytes) -> NDArray[np.uint8]:
    """A JPEG of 9 to 16 bits; or why it is none."""
    frame, num_bits, height, width, num_channels = _frame(data)
    if frame not in _HUFFMAN:
        raise UnreadableImage(COMPRESSED_OTHERWISE)
    if num_bits <= 8 or num_channels not in (1, 3):
        raise UnreadableImage(DAMAGED)
    check_size(height, width)
    for _ in jpeg_markers(data):  # up to the end of the image, which the decoder would make up
        pass
    try:
        samples = imagecodecs.jpeg8_decode(data)
    except (imagecodecs.Jpeg8Error, ValueError):
        raise UnreadableImage(DAMAGED) from None
    return grey_from_samples(samples, num_bits=num_bits)


def _frame(data: bytes) -> tuple[int, int, int, int, int]:
    """Kind, bits, height, width and number of channels, as the header of the frame has them."""
    place = next((place for marker, place in jpeg_markers(data) if marker in _FRAME_HEADERS), len(data))
    if place + 8 > len(data):
        raise UnreadableImage(DAMAGED)
    return data[place - 1], *struct.unpack_from(">BHHB", data, place + 2)
