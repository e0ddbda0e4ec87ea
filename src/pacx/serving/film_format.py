"""What an uploaded file is, by its first bytes, and whether it is that and nothing else.

Three formats are served. A file that is two things at once (a DICOM file that begins as a picture or a program, a
picture with something behind its end) is refused: another program would see in it what this one does not. So is a JPEG
of more scans than any camera writes, which is a way to keep a decoder busy for minutes.
"""

import enum
import re
import struct

from pacx.data.images.unreadable import DAMAGED, UnreadableImage

ANY_BYTES = "application/octet-stream"

_PNG_START, _JPEG_START = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_DICOM_AT, _DICOM_START = 128, b"DICM"
_FOREIGN_PREAMBLES = (b"MZ", b"\x7fELF", b"%PDF", b"PK\x03\x04", b"GIF8", b"#!", b"<", b"Rar!", b"7z\xbc\xaf", b"RIFF")
_MAX_SCANS = 64
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_PADDING = b"\0\n\r \xff"
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9


class FilmFormat(enum.Enum):
    """A format that is served; the value is its media type."""

    PNG = "image/png"
    JPEG = "image/jpeg"
    DICOM = "application/dicom"


def accepts(media_type: str) -> bool:
    """Whether a body of this media type may be a film."""
    return media_type == ANY_BYTES or media_type in {each.value for each in FilmFormat}


def format_of(data: bytes) -> FilmFormat | None:
    """What the first bytes say the file is; None for nothing that is served."""
    if data[_DICOM_AT : _DICOM_AT + len(_DICOM_START)] == _DICOM_START:
        return FilmFormat.DICOM
    if data.startswith(_PNG_START):
        return FilmFormat.PNG
    if data.startswith(_JPEG_START):
        return FilmFormat.JPEG
    return None


def require_nothing_else(data: bytes, kind: FilmFormat) -> None:
    """Refuse a file that is something else besides.

    Raises:
        UnreadableImage: it is, or it ends before it says that it does.
    """
    if kind is FilmFormat.DICOM:
        foreign = (_PNG_START, _JPEG_START, *_FOREIGN_PREAMBLES)
        if data.startswith(foreign):
            raise UnreadableImage("the file begins as another kind of file and is a DICOM file as well")
        return
    end = _end_of_png(data) if kind is FilmFormat.PNG else _end_of_jpeg(data)
    if data[end:].strip(_PADDING):
        raise UnreadableImage("the file goes on behind the end of its image")


def _end_of_png(data: bytes) -> int:
    place = len(_PNG_START)
    while place + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        place += 12 + length
        if name == b"IEND":
            return place
    raise UnreadableImage(DAMAGED)


def _end_of_jpeg(data: bytes) -> int:
    place, num_scans = 2, 0
    while place + 4 <= len(data) or data[place : place + 2] == b"\xff\xd9":
        if data[place] != 0xFF:
            raise UnreadableImage(DAMAGED)
        marker = data[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
            continue
        if marker == _END_OF_IMAGE:
            return place + 2
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        if marker == _START_OF_SCAN:
            num_scans += 1
            if num_scans > _MAX_SCANS:
                raise UnreadableImage(f"the JPEG has more than {_MAX_SCANS} scans")
            found = _AFTER_SCAN.search(data, place)
            if found is None:
                raise UnreadableImage(DAMAGED)
            place = found.start()
    raise UnreadableImage(DAMAGED)
