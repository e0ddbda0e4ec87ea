"""What is refused because another program would take it for something else; no whole file of two kinds is made here."""

import io

import numpy as np
import pytest
from PIL import Image

from pacx.data.file_kinds import FileKind
from pacx.data.images.unreadable import UnreadableImage
from pacx.serving.decoding import film_format
from pacx.serving.decoding.film_format import require_nothing_else

GREY = (np.add.outer(np.arange(20), np.arange(24)) * 5).astype(np.uint8)
BEGINNINGS = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff\xe0",
    b"MZ",
    b"\x7fELF",
    b"%PDF-1.7",
    b"PK\x03\x04",
    b"#!/",
    b"<html>",
)


def encoded(kind: FileKind, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(GREY).save(file, kind.name, **options)
    return file.getvalue()


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_a_dicom_file_may_not_begin_as_anything_that_others_open(beginning: bytes) -> None:
    preamble = beginning.ljust(128, b"\0")  # all that the guard looks at; nothing follows
    with pytest.raises(UnreadableImage, match="begins as another kind of file"):
        require_nothing_else(preamble, FileKind.DICOM)
    require_nothing_else(bytes(128), FileKind.DICOM)
    require_nothing_else(b"II*\0".ljust(128, b"\0"), FileKind.DICOM)  # slides have a TIFF header there, by the standard


@pytest.mark.parametrize("kind", [FileKind.PNG, FileKind.JPEG])
def test_padding_behind_the_end_is_let_be_and_anything_else_is_not(kind: FileKind) -> None:
    whole = encoded(kind)
    for padding in (b"", b"\0" * 7, b"\r\n", b"  \n"):
        require_nothing_else(whole + padding, kind)
    for more in (b"x", b"\0\0note", whole):
        with pytest.raises(UnreadableImage, match="goes on behind the end"):
            require_nothing_else(whole + more, kind)


def test_scans_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(FileKind.JPEG, progressive=True)
    scans = data.count(b"\xff\xda")
    assert scans > 2
    monkeypatch.setattr(film_format, "_MAX_SCANS", scans)
    require_nothing_else(data, FileKind.JPEG)
    monkeypatch.setattr(film_format, "_MAX_SCANS", scans - 1)
    with pytest.raises(UnreadableImage, match=f"more than {scans - 1} scans"):
        require_nothing_else(data, FileKind.JPEG)
