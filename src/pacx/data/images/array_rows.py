"""Films that come as rows of a numpy array file: ``cxr_train.npy#17`` is row 17.

Symile-MIMIC ships its films so: float32 (N, 3, H, W), three equal channels, normalised with ImageNet's statistics. The
normalisation is undone here and the film goes back to the eight bits it had. The file is memory-mapped, so that one row
costs one row.
"""

import hashlib
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.core.artifacts import sha256_of
from pacx.core.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from pacx.data.file_names import as_text, on_disk
from pacx.data.images.unreadable import UnreadableImage, check_size, require_reachable

_ROW = re.compile(r"(.+\.npy)#(\d+)")
_ARCHIVE = b"PK\x03\x04"
_TOLERANCE = 1e-3
"""In units of the full grey range: far more than float32 rounds, a quarter of one grey value."""


@dataclass(frozen=True)
class ImageRef:
    """Where an image lies: in a file of its own, or in a row of an array file.

    Args:
        name: as a table or a person writes it; "cxr.npy#7" is row 7.
        file: the file on disk.
        row: of the array; None for a file of its own.
    """

    name: str
    file: Path
    row: int | None

    @classmethod
    def parse(cls, name: str | Path, root: Path = Path()) -> "ImageRef":
        """Read a name, relative to ``root`` or absolute; one that is no valid text is named by ``as_text``."""
        path, name = on_disk(root / name), as_text(name)
        match = _ROW.fullmatch(path.name)
        return cls(name, path.with_name(match[1]), int(match[2])) if match else cls(name, path, None)

    def is_there(self) -> bool:
        """Whether there is a file that may hold the image; whether it does, only decoding tells."""
        try:
            return self.file.is_file()
        except OSError:  # a name longer than a file's may be
            return False

    def stamp(self) -> str:
        """Size and time of the file, which change with it; "none" where it is not there.

        Raises:
            DataError: its disk or server does not answer.
        """
        try:
            status = self.file.stat()
        except OSError as error:
            require_reachable(error, self.file)
            return "none"
        return f"{status.st_size} {status.st_mtime_ns}"

    def sha256(self) -> str:
        """The SHA-256 of the image's own bytes, its file's or its row's; "" where they cannot be read."""
        try:
            if self.row is None:
                return sha256_of(self.file)
            return hashlib.sha256(_mapped(self.file, self.row).tobytes()).hexdigest()
        except (OSError, UnreadableImage):
            return ""


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
            warnings.simplefilter("ignore")  # of how a header is written; pixels that are not there are an error
            _require_films(file)
            array = np.load(file, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        require_reachable(error, file)
        raise UnreadableImage(f"the array file cannot be opened ({error.strerror or 'it is cut short'})") from None
    except (UnreadableImage, MemoryError):
        raise
    except Exception:
        # Damaged headers are parsed as Python: nearly anything is raised, and its message may quote the file.
        raise UnreadableImage("the array file is damaged or truncated") from None
    if row >= len(array):
        raise UnreadableImage(f"the array file has {len(array)} rows, so no row {row} (the first is row 0)")
    return array[row]


def _require_films(file: Path) -> None:
    """Look at what the header says before any of it is mapped: numpy calls what it may not load damaged."""
    with file.open("rb") as opened:
        if opened.read(len(_ARCHIVE)) == _ARCHIVE:
            raise UnreadableImage("the array file is an archive (.npz); save the films alone, as .npy")
        opened.seek(0)
        version = np.lib.format.read_magic(opened)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(opened)
    if dtype.newbyteorder("=") != np.float32 or len(shape) != 4 or shape[1] != 3:
        raise UnreadableImage("the array file does not hold float32 films of shape (N, 3, H, W)")
