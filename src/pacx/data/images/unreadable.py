"""Why a file cannot become a film, and how large a film may be: what every reader of image files agrees on."""

import errno
from pathlib import Path

from pacx.core.errors import DataError

MIN_SIDE_PX = 16
MAX_IMAGE_PX = 100_000_000
DAMAGED = "the file is damaged or truncated"
ONE_GREY = "it shows one grey only"
"""No film does: its pixels lie outside its window, were never written, or are of something else."""
_OF_THE_FILE = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.ENXIO,
    errno.EINVAL,
)
_CLOSED = (errno.EACCES, errno.EPERM)


class UnreadableImage(DataError):  # noqa: N818 - named for what it says of the file
    """An image file cannot become a film; ``reason`` says why in a few words, without any of the file's content."""

    def __init__(self, reason: str, path: Path | str | None = None) -> None:
        super().__init__(f"{path}: {reason}" if path else reason)
        self.reason = reason


def require_reachable(error: OSError, path: Path) -> None:
    """Refuse to call a film bad that may not be opened, whose disk does not answer, or for which there is no room.

    Raises:
        DataError: the error says something of the machine or its rights, and nothing of the file.
    """
    if error.errno in _CLOSED:
        raise DataError(
            f"{path} cannot be opened ({error.strerror}); see to it that it can be read, or leave it out"
        ) from error
    if error.errno is not None and error.errno not in _OF_THE_FILE:
        raise DataError(
            f"{path} cannot be read: {error.strerror}; the disk, the server or the memory behind it is at fault, "
            "not the film: run again when that is mended, or leave the film out"
        ) from error


class TooLargeImage(UnreadableImage):
    """It has more pixels than any film."""


def check_size(height: int, width: int) -> None:
    """Refuse a declared size before a pixel is decoded or a byte allocated for it.

    Raises:
        UnreadableImage: the image is smaller than 16 x 16 pixels.
        TooLargeImage: it is larger than 100 megapixels.
    """
    if min(height, width) < MIN_SIDE_PX:
        raise UnreadableImage(
            f"the image has {width} x {height} pixels, expected at least {MIN_SIDE_PX} x {MIN_SIDE_PX}"
        )
    if height * width > MAX_IMAGE_PX:
        raise TooLargeImage(f"the image has {width} x {height} pixels, more than {MAX_IMAGE_PX // 10**6} megapixels")
