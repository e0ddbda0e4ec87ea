"""What a file is by its first bytes, in every coding that is read, and the markers of a JPEG."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from dicom_files import dicom
from PIL import Image

from pacx.data.file_kinds import END_OF_IMAGE, START_OF_SCAN, FileKind, jpeg_markers, kind_of, kind_of_file
from pacx.data.images.decode import grey_from_bytes
from pacx.data.images.unreadable import UnreadableImage

GREY = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)


def saved(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(GREY).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_what_pillow_writes_is_told_apart(kind: str, tmp_path: Path) -> None:
    assert kind_of(saved(kind)) is FileKind[kind]
    (tmp_path / "film").write_bytes(saved(kind))
    assert kind_of_file(tmp_path / "film") is FileKind[kind]


def test_other_files_are_nothing(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("no film")
    assert kind_of_file(tmp_path / "note") is None
    with pytest.raises(FileNotFoundError):
        kind_of_file(tmp_path / "none")
    assert kind_of(b"") is kind_of(b"\x89PN") is kind_of(saved("GIF")) is None
    assert kind_of(b"II+\0" + bytes(200)) is FileKind.TIFF
    assert kind_of(b"BMI,age\n31.2,64\n" * 20) is None, "two letters make no picture"


def test_a_dicom_file_is_one_whatever_it_begins_as() -> None:
    """As the standard says of the first 128 bytes; the folder reader, the decoder and the server have to agree."""
    plain = dicom(GREY, bits_stored=8)
    for start in (saved("JPEG")[:128], saved("PNG")[:128]):
        both = start.ljust(128, b"\0") + plain[128:]
        assert kind_of(both) is FileKind.DICOM
        np.testing.assert_array_equal(grey_from_bytes(both), grey_from_bytes(plain))


def test_the_walk_along_a_jpeg_ends_at_its_end() -> None:
    film = saved("JPEG", progressive=True)
    markers = list(jpeg_markers(film + b"more"))
    assert markers[-1] == (END_OF_IMAGE, len(film))
    assert all(film[place - 2 : place] == bytes([0xFF, marker]) for marker, place in markers)
    assert sum(marker == START_OF_SCAN for marker, _ in markers) > 1
    ((height, width),) = [struct.unpack_from(">HH", film, place + 3) for marker, place in markers if marker == 0xC2]
    assert (height, width) == GREY.shape


def test_markers_without_a_length_and_fill_bytes_are_stepped_over() -> None:
    film = saved("JPEG")
    stuffed = film[:2] + b"\xff\x01" + b"\xff\xd0" + b"\xff" * 5 + film[2:]
    assert [marker for marker, _ in jpeg_markers(stuffed)][2:] == [marker for marker, _ in jpeg_markers(film)]


@pytest.mark.parametrize("keep", [2, 3, 40, -3, -1])
def test_a_jpeg_that_is_cut_off_is_damaged(keep: int) -> None:
    with pytest.raises(UnreadableImage, match="damaged"):
        list(jpeg_markers(saved("JPEG")[:keep]))
