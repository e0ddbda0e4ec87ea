"""Films that come as rows of a numpy array file: ``cxr_train.npy#17`` is row 17.

Symile-MIMIC ships its films so: float32 (N, 3, H, W), three equal channels, normalised with ImageNet's statistics. The
normalisation is undone here and the film goes back to the eight bits it had. The file is memory-mapped, so that one row
costs one row.
"""

import hashlib
import re
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.core.artifacts import sha256_of
from pacx.core.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from pacx.data.images.unreadable import UnreadableImage, check_size

_ROW = re.compile(r"(.+\.npy)#(\d+)")
_TOLERANCE = 1e-3
"""In units of the full grey range: far more than float32 rounds, a quarter of one grey value."""


def array_row(path: Path) -> tuple[Path, int] | None:
    """The file and the row that an image path names; None for an image file of its own."""
    match = _ROW.fullmatch(path.name)
    return (path.with_name(match[1]), int(match[2])) if match else None


def file_of(path: Path) -> Path:
    """The file on disk that holds the image at ``path``."""
    row = array_row(path)
    return path if row is None else row[0]


def is_there(path: Path) -> bool:
    """Whether there is a file that may hold the image at ``path``; whether it does, only decoding tells."""
    try:
        return file_of(path).is_file()
    except OSError:  # a name longer than a file's may be
        return False


def sha256_of_image(path: Path) -> str:
    """The SHA-256 of an image's own bytes: its file's, or its row's.

    Raises:
        OSError: there is no such file.
        UnreadableImage: there is no such row.
    """
    row = array_row(path)
    return sha256_of(path) if row is None else hashlib.sha256(_mapped(*row).tobytes()).hexdigest()


def grey_from_array_row(file: Path, row: int) -> NDArray[np.uint8]:
    """One row of a file of normalised films as grey pixels.

    Returns:
        uint8 (H, W), dark is low.

    Raises:
        UnreadableImage: the file is missing or cut short, is not float32 (N, 3, H, W), has no such row, or the row
            holds NaN, unequal channels, or values that no normalised film has.
    """
    values = _mapped(file, row)
    check_size(*values.shape[1:])
    first = _unit_grey(values, 0, row)
    for channel in (1, 2):
        if np.abs(_unit_grey(values, channel, row) - first).max() > _TOLERANCE:
            raise UnreadableImage(f"row {row} of the array has unequal channels; expected one grey film, three times")
    if first.min() < -_TOLERANCE or first.max() > 1 + _TOLERANCE:
        raise UnreadableImage(f"row {row} of the array is no film normalised with ImageNet's mean and deviation")
    return np.rint(np.clip(first, 0, 1) * 255).astype(np.uint8)


def _unit_grey(values: NDArray[np.float32], channel: int, row: int) -> NDArray[np.float32]:
    """One channel (H, W) of a normalised film, back in [0, 1]; one at a time, as a row may be large."""
    if not np.isfinite(values[channel]).all():
        raise UnreadableImage(f"row {row} of the array holds NaN or infinite values")
    return values[channel] * np.float32(IMAGENET_STD[channel]) + np.float32(IMAGENET_MEAN[channel])


def _mapped(file: Path, row: int) -> NDArray[np.float32]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            array = np.load(file, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise UnreadableImage(f"the array file cannot be opened ({error.strerror or 'it is cut short'})") from None
    except Exception:
        # Damaged headers are parsed as Python: nearly anything is raised, and its message may quote the file.
        raise UnreadableImage("the array file is damaged or truncated") from None
    if not isinstance(array, np.ndarray) or array.dtype != np.float32 or array.ndim != 4 or array.shape[1] != 3:
        raise UnreadableImage("the array file does not hold float32 films of shape (N, 3, H, W)")
    if row >= len(array):
        raise UnreadableImage(f"the array file has {len(array)} rows, so no row {row} (the first is row 0)")
    return array[row]
