"""Compressed pixels inside a DICOM file: what size they declare, and decoding them.

`encapsulated frame -> declared size and depth -> pixels`. The size is read from the codestream itself before its
decoder runs, because it need not be the one in the DICOM header, and a decoder allocates what the codestream asks for.
"""

import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from pacx.data.file_kinds import START_OF_SCAN, jpeg_markers
from pacx.data.images.jpeg_xl import STARTS as JPEG_XL_STARTS
from pacx.data.images.jpeg_xl import declared_by_jpeg_xl
from pacx.data.images.unreadable import DAMAGED, UnreadableImage

Decoder = Callable[[bytes], NDArray[np.generic]]

DECODERS: Mapping[str, Decoder] = MappingProxyType(
    {
        "1.2.840.10008.1.2.4.50": imagecodecs.jpeg8_decode,  # JPEG baseline
        "1.2.840.10008.1.2.4.51": imagecodecs.jpeg8_decode,  # JPEG extended, 8 and 12 bit
        "1.2.840.10008.1.2.4.57": imagecodecs.jpeg8_decode,  # JPEG lossless
        "1.2.840.10008.1.2.4.70": imagecodecs.jpeg8_decode,  # JPEG lossless, first-order prediction
        "1.2.840.10008.1.2.4.80": imagecodecs.jpegls_decode,  # JPEG-LS
        "1.2.840.10008.1.2.4.81": imagecodecs.jpegls_decode,  # JPEG-LS, near-lossless
        "1.2.840.10008.1.2.4.90": imagecodecs.jpeg2k_decode,  # JPEG 2000, lossless
        "1.2.840.10008.1.2.4.91": imagecodecs.jpeg2k_decode,  # JPEG 2000
        "1.2.840.10008.1.2.4.110": imagecodecs.jpegxl_decode,  # JPEG XL, lossless
        "1.2.840.10008.1.2.4.111": imagecodecs.jpegxl_decode,  # a JPEG recompressed as JPEG XL
        "1.2.840.10008.1.2.4.112": imagecodecs.jpegxl_decode,  # JPEG XL
        "1.2.840.10008.1.2.4.201": imagecodecs.jpeg2k_decode,  # high-throughput JPEG 2000, lossless
        "1.2.840.10008.1.2.4.202": imagecodecs.jpeg2k_decode,  # the same with resolution levels first
        "1.2.840.10008.1.2.4.203": imagecodecs.jpeg2k_decode,  # high-throughput JPEG 2000
    }
)
"""By DICOM transfer syntax; the run-length syntax is pydicom's to decode."""

_JPEG_2000_START = b"\xff\x4f\xff\x51"
_FRAME_HEADERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15 and JPEG-LS, less DHT, JPG and DAC


class Declared(NamedTuple):
    """What a codestream says of its pixels; each has so many samples, which are so deep."""

    height: int
    width: int
    samples: int
    bits: int


def declared(codestream: bytes) -> Declared:
    """The size and depth that a JPEG, JPEG-LS, JPEG 2000 or JPEG XL codestream says it has.

    Raises:
        UnreadableImage: it is none of these, or ends before it says so, or is a JPEG XL picture of more than one
            channel or frame, which takes a multiple of the declared size to decode.
    """
    try:
        if codestream.startswith(_JPEG_2000_START):
            width, height, left, top = struct.unpack_from(">4I", codestream, 8)
            samples, depth = struct.unpack_from(">HB", codestream, 40)
            return Declared(height - top, width - left, samples, (depth & 0x7F) + 1)
        if codestream.startswith(JPEG_XL_STARTS):
            height, width, bits = declared_by_jpeg_xl(codestream)
            return Declared(height, width, 1, bits)
        if codestream.startswith(b"\xff\xd8"):
            for marker, place in jpeg_markers(codestream):
                if marker in _FRAME_HEADERS:
                    bits, height, width, samples = struct.unpack_from(">BHHB", codestream, place + 2)
                    return Declared(height, width, samples, bits)
                if marker == START_OF_SCAN:
                    break
            raise UnreadableImage(DAMAGED)
    except struct.error:
        raise UnreadableImage(DAMAGED) from None
    raise UnreadableImage("its pixels are not compressed as its header says")
