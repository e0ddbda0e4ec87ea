"""Which kinds of file are served as films, and whether a body is one of them and nothing else.

A file that is two things at once (a DICOM file that begins as a picture or a program, a picture with something behind
its end) is refused: another program would see in it what this one does not. So is a JPEG of more scans than any camera
writes, each of which costs a decoder its time again.
"""

from pacx.data.file_kinds import START_OF_SCAN, STARTS, FileKind, jpeg_markers, png_chunks
from pacx.data.images.unreadable import UnreadableImage

ANY_BYTES = "application/octet-stream"
SERVED = (FileKind.PNG, FileKind.JPEG, FileKind.DICOM)

_FOREIGN_PREAMBLES = (b"MZ", b"\x7fELF", b"%PDF", b"PK\x03\x04", b"GIF8", b"#!", b"<", b"Rar!", b"7z\xbc\xaf", b"RIFF")
_PREAMBLES = tuple(start for start, kind in STARTS.items() if kind in SERVED) + _FOREIGN_PREAMBLES
_MAX_SCANS = 64
_PADDING = b"\0\n\r \xff"


def accepts(media_type: str) -> bool:
    """Whether a body of this media type may be a film."""
    return media_type == ANY_BYTES or media_type in {each.value for each in SERVED}


def require_nothing_else(data: bytes, kind: FileKind) -> None:
    """Refuse a file that is something else besides.

    Args:
        data: the whole file.
        kind: one of ``SERVED``.

    Raises:
        UnreadableImage: it is, or it ends before it says that it does.
    """
    if kind is FileKind.DICOM:
        if data.startswith(_PREAMBLES):
            raise UnreadableImage("the file begins as another kind of file and is a DICOM file as well")
        return
    end = max(end for _, _, end in png_chunks(data)) if kind is FileKind.PNG else _end_of_jpeg(data)
    if data[end:].strip(_PADDING):
        raise UnreadableImage("the file goes on behind the end of its image")


def _end_of_jpeg(data: bytes) -> int:
    end, num_scans = 0, 0
    for marker, end in jpeg_markers(data):  # noqa: B007 - the last one is the image's
        num_scans += marker == START_OF_SCAN
        if num_scans > _MAX_SCANS:
            raise UnreadableImage(f"the JPEG has more than {_MAX_SCANS} scans")
    return end
