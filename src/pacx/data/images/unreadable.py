"""Why a file cannot become a film, and how large a film may be: what every reader of image files agrees on."""

from pathlib import Path

from pacx.core.errors import DataError

MIN_SIDE_PX = 16
MAX_IMAGE_PX = 100_000_000
DAMAGED = "the file is damaged or truncated"
ONE_GREY = "it shows one grey only"
"""No film does: its pixels lie outside its window, were never written, or are of something else."""


class UnreadableImage(DataError):  # noqa: N818 - named for what it says of the file
    """An image file cannot become a film; ``reason`` says why in a few words, without any of the file's content."""

    def __init__(self, reason: str, path: Path | str | None = None) -> None:
        super().__init__(f"{path}: {reason}" if path else reason)
        self.reason = reason


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
