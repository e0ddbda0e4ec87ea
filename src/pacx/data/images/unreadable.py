"""Why a file cannot become a film, and how large a film may be: what every reader of image files agrees on."""

from collections.abc import Sequence
from pathlib import Path

from pacx.core.errors import DataError

NUM_BAD_SHOWN = 3
MIN_SIDE_PX = 16
MAX_IMAGE_PX = 100_000_000
DAMAGED = "the file is damaged or truncated"


class UnreadableImage(DataError):  # noqa: N818 - named for what it says of the file
    """An image file cannot become a film; ``reason`` says why in a few words, without any of the file's content."""

    def __init__(self, reason: str, path: Path | None = None) -> None:
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


def require_few_bad(bad: Sequence[tuple[str, str]], num_files: int, max_bad_fraction: float) -> None:
    """Refuse work that had to leave out too much.

    Args:
        bad: file and reason of each film that cannot be read.
        num_files: of all films.
        max_bad_fraction: share that may be bad.

    Raises:
        DataError: more than the share allowed, or everything.
    """
    if len(bad) > max_bad_fraction * num_files:
        named = "; ".join(f"{file} ({reason})" for file, reason in bad[:NUM_BAD_SHOWN])
        raise DataError(
            f"{len(bad)} of {num_files} films cannot be read, more than the {max_bad_fraction:.2%} allowed: {named}"
            f"{' ...' if len(bad) > NUM_BAD_SHOWN else ''}; mend or remove them, or allow a larger share of bad files"
        )
    if len(bad) == num_files:
        raise DataError(f"none of {num_files} films can be read, for example {bad[0][0]} ({bad[0][1]})")
