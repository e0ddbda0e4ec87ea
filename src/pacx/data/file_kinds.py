"""What kind of file some bytes are, by how they begin; and the parts of a JPEG and a PNG, along which readers walk.

The one place that looks at first bytes: for folders, for decoding and for the server. Knows no torch and no decoder.
"""

import enum
import re
import struct
from collections.abc import Iterator
from pathlib import Path

from pacx.data.images.unreadable import DAMAGED, UnreadableImage

FILM_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".dcm", ".dicom")
"""File name endings a folder is searched for, lower case; what a file is, its content decides."""
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
PNG_START = b"\x89PNG\r\n\x1a\n"

_DICOM_AT, _DICOM_START = 128, b"DICM"
NUM_BYTES_TOLD_BY = _DICOM_AT + len(_DICOM_START)
"""So many from its start say what a file is."""
_BARE_DICOM = re.compile(
    rb"""\x02\x00[\x00-\x02]\x00(UL\x04\x00|OB\x00\x00|UI[\x00-\x40]\x00)  # explicit: a header of the file itself
    | \x08\x00[\x00-\x18]\x00(UL\x04\x00|(CS|UI|SH|DA|TM)[\x00-\x40]\x00)
    | \x00\x08\x00[\x00-\x18](UL\x00\x04|(CS|UI|SH|DA|TM)\x00[\x00-\x40])  # the same, big end first
    | \x08\x00\x00\x00\x04\x00\x00\x00....\x08\x00  # implicit: the length of the group, then one of its elements
    | \x08\x00(\x05\x00[\x02-\x40]\x00{3}ISO|\x08\x00[\x02-\x40]\x00{3}[A-Z]|[\x16\x18]\x00[\x02-\x40]\x00{3}[0-9])
    """,
    re.VERBOSE | re.DOTALL,
)
"""How a DICOM file begins that an old system wrote without preamble: with the first element of its first group."""
_BMP_HEADER = slice(14, 18)
_BMP_HEADER_SIZES = (12, 40, 52, 56, 64, 108, 124)  # the headers Pillow reads; two letters alone say little
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xDA)}  # TEM, RST0 to RST7, SOI and EOI stand alone
_AFTER_SCAN = re.compile(rb"\xff[^\x00-\x7f\xff\xd0-\xd7]")  # JPEG-LS fills up with less than 80, others with 00


class FileKind(enum.Enum):
    """A kind of image file that is read; the value is its media type."""

    PNG = "image/png"
    JPEG = "image/jpeg"
    TIFF = "image/tiff"
    BMP = "image/bmp"
    DICOM = "application/dicom"


STARTS = {
    PNG_START: FileKind.PNG,
    b"\xff\xd8\xff": FileKind.JPEG,
    b"II*\0": FileKind.TIFF,
    b"MM\0*": FileKind.TIFF,
    b"II+\0": FileKind.TIFF,  # BigTIFF
    b"MM\0+": FileKind.TIFF,
    b"BM": FileKind.BMP,
}
"""How pictures begin. A DICOM file may begin as anything."""


def kind_of(data: bytes) -> FileKind | None:
    """What the first 132 bytes say the file is; None for nothing that is read.

    A DICOM file's first 128 bytes are anybody's (PS3.10 section 7.1), so it is one even if it begins as a picture. Old
    systems leave them away, with or without what follows about the file itself.
    """
    if has_preamble(data) or _BARE_DICOM.match(data):
        return FileKind.DICOM
    kind = next((kind for start, kind in STARTS.items() if data.startswith(start)), None)
    if kind is FileKind.BMP and int.from_bytes(data[_BMP_HEADER], "little") not in _BMP_HEADER_SIZES:
        return None
    return kind


def has_preamble(data: bytes) -> bool:
    """Whether the first 132 bytes are those of a DICOM file as the standard has it today."""
    return data[_DICOM_AT:NUM_BYTES_TOLD_BY] == _DICOM_START


def kind_of_file(path: Path) -> FileKind | None:
    """``kind_of`` a file on disk.

    Raises:
        OSError: it cannot be opened, so nobody knows.
    """
    with path.open("rb") as file:
        return kind_of(file.read(NUM_BYTES_TOLD_BY))


def jpeg_markers(data: bytes) -> Iterator[tuple[int, int]]:
    """The markers of a JPEG codestream in their order, each with the place behind it, the end of the image last.

    Raises:
        UnreadableImage: something else stands where a marker should, or the file ends before the image does.

    Source: ITU-T T.81, section B.1.1.
    """
    place = 2
    while place + 2 <= len(data):
        if data[place] != 0xFF:
            break
        marker = data[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
            continue
        place += 2
        yield marker, place
        if marker == END_OF_IMAGE:
            return
        if marker in _WITHOUT_LENGTH:
            continue
        place += int.from_bytes(data[place : place + 2], "big")
        if marker == START_OF_SCAN:
            found = _AFTER_SCAN.search(data, place)
            if found is None:
                break
            place = found.start()
    raise UnreadableImage(DAMAGED)


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The chunks of a PNG file up to the end of its image: the name of each, where it starts and where it ends.

    Raises:
        UnreadableImage: the file ends before the image does.
    """
    start = len(PNG_START)
    while start + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, start)
        end = start + 12 + length
        if end > len(data):
            break
        yield name, start, end
        if name == b"IEND":
            return
        start = end
    raise UnreadableImage(DAMAGED)
