"""A pack: a dataset decoded once, the only thing anything downstream reads.

A folder of four files. ``images.npy`` holds uint8 (N, S, S) and, where there are masks, ``masks.npy`` uint8
(N, K, S, S); both are opened as memory maps, never read whole. ``records.parquet`` holds one row per image, in the
same order. ``manifest.json`` says how the pixels were made, what was left out and why, and carries the fingerprint that
results are tied to. A pack whose files do not agree with its manifest is refused. Knows no torch.
"""

import mmap
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from pacx.core.artifacts import read_json, sha256_of
from pacx.core.errors import DataError, ModelError, UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.core.quarantine import Quarantined
from pacx.core.randomness import sample_keys
from pacx.core.typed_json import ADDED_LATER, TypedJson
from pacx.data.images.decode import Decoding
from pacx.data.records import SPLITS

if TYPE_CHECKING:
    import pandas as pd


IMAGES_FILE = "images.npy"
MASKS_FILE = "masks.npy"
RECORDS_FILE = "records.parquet"
MANIFEST_FILE = "manifest.json"
FORMAT_VERSION = 3

BY_PATIENT = "patient"
BY_FILM = "film, patients unknown"
"""What a bootstrap of a pack's films draws."""


def drawn_by(has_known_patient: NDArray[np.bool_]) -> str:
    """What stands for the patients of films (N,): ``BY_PATIENT``, ``BY_FILM`` or both, in words."""
    if has_known_patient.all():
        return BY_PATIENT
    num_alone, num_films = int((~has_known_patient).sum()), len(has_known_patient)
    if num_alone == num_films:
        return BY_FILM
    return f"{BY_PATIENT}, {num_alone} of {num_films} films alone, patients unknown"


_SAID_ONCE = re.compile(r"counts? as (its own|one) patient")
"""By these words the notes of a manifest of 0.2.0 say that patients are unknown, and nothing else does."""


@dataclass(frozen=True, kw_only=True)
class Manifest(TypedJson, what="manifest"):
    """What ``manifest.json`` says.

    Args:
        num_images: rows of every file of the pack.
        label_names: label columns of the table, in the order of ``Pack.labels``.
        mask_names: in the order of the second axis of the masks; empty without masks.
        preprocessing: the input contract the pixels keep.
        decoding: what was done on the way from the files to the pixels.
        pixel_mean: mean grey of all pixels, in [0, 1].
        pixel_std: its standard deviation.
        fingerprint: SHA-256 over pixels, masks, table, preprocessing and decoding; the same wherever the pack lies.
        source_fingerprint: SHA-256 over the records and the size and time of every source file.
        records_sha256: of the table's file.
        quarantined: films left out.
        notes: carried over from the records.
        dataset: likewise; the name under which ``datasets()`` knows the makers, "" where the films came otherwise.
        unknown_patients: films of which nobody knows whose they are; None in a manifest of 0.2.0, which does not tell.
        format_version: of this layout.
    """

    num_images: int
    label_names: tuple[str, ...]
    mask_names: tuple[str, ...]
    preprocessing: Preprocessing
    decoding: Decoding
    pixel_mean: float
    pixel_std: float
    fingerprint: str
    source_fingerprint: str
    records_sha256: str
    quarantined: tuple[Quarantined, ...]
    notes: tuple[str, ...]
    dataset: str
    unknown_patients: int | None = field(default=None, metadata=ADDED_LATER)
    format_version: int = FORMAT_VERSION

    @property
    def bad_fraction(self) -> float:
        """The share of the source's films that could not be read."""
        return len(self.quarantined) / (self.num_images + len(self.quarantined))


class Pack:
    """An open pack. Row i of the table is image i. Sent to another process it travels as its path, not its pixels.

    Attributes:
        path: the folder.
        manifest: what ``manifest.json`` says.
        table: one row per film (``Records``).
        images: uint8 (N, S, S), grey, mapped from disk.
        masks: uint8 (N, K, S, S), 1 inside, 0 outside, 255 not judged; None where the pack has no masks.

    Example:
        >>> from pacx.data import Pack
        >>> pack = Pack.open("packs/films")
        >>> pack.images.shape == (len(pack), 64, 64)
        True
        >>> pack.mask_names
        ('lung', 'heart', 'opacity')
        >>> len(pack.rows("train")) + len(pack.rows("val")) + len(pack.rows("test")) == len(pack)
        True
    """

    def __init__(self, path: Path, manifest: Manifest, table: "pd.DataFrame") -> None:
        self.path = path
        self.manifest = manifest
        self.table = table
        size_px = manifest.preprocessing.image_size_px
        self.images = mapped(path / IMAGES_FILE, (manifest.num_images, size_px, size_px), np.uint8)
        num_masks = len(manifest.mask_names)
        self.masks = (
            mapped(path / MASKS_FILE, (manifest.num_images, num_masks, size_px, size_px), np.uint8)
            if num_masks
            else None
        )

    @classmethod
    def open(cls, path: Path | str) -> "Pack":
        """Open a pack after checking that its files agree with its manifest.

        Raises:
            UsageError: there is no pack at ``path``.
            DataError: a file is missing, cut short, changed, or of another version.
        """
        path = Path(path)
        if not (path / MANIFEST_FILE).is_file():
            raise UsageError(f"{path} is not a pack: it has no {MANIFEST_FILE}; make one with `pacx data pack`")
        try:
            manifest = Manifest.from_json(read_json(path / MANIFEST_FILE))
        except (DataError, ModelError) as error:
            raise DataError(
                f"{path / MANIFEST_FILE} is not a manifest of version {FORMAT_VERSION}; pack the images again"
            ) from error
        records = path / RECORDS_FILE
        if not records.is_file() or sha256_of(records) != manifest.records_sha256:
            raise DataError(f"{records} is missing or was changed after packing; pack the images again")
        return cls(path, manifest, read_records(path))

    def __reduce__(self) -> tuple[Callable[[Path], "Pack"], tuple[Path]]:
        return (Pack.open, (self.path,))

    def __len__(self) -> int:
        return self.manifest.num_images

    @property
    def mask_names(self) -> tuple[str, ...]:
        """Names along the second axis of ``masks``."""
        return self.manifest.mask_names

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names along the second axis of ``labels``."""
        return self.manifest.label_names

    @property
    def preprocessing(self) -> Preprocessing:
        """The input contract the pixels keep."""
        return self.manifest.preprocessing

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the content; what results and cached embeddings are tied to."""
        return self.manifest.fingerprint

    @property
    def quarantined(self) -> tuple[Quarantined, ...]:
        """The films that could not be read."""
        return self.manifest.quarantined

    @cached_property
    def labels(self) -> NDArray[np.float32]:
        """float32 (N, L): 1 present, 0 absent, NaN unknown."""
        return self.table[list(self.label_names)].to_numpy(np.float32)

    @cached_property
    def sample_ids(self) -> NDArray[np.object_]:
        """Text (N,), one id per film, in the order of the images; no id occurs twice."""
        return self.table["sample_id"].to_numpy(object)

    @cached_property
    def patient_ids(self) -> NDArray[np.object_]:
        """Text (N,), whose film it is; splits are drawn and bootstraps resampled by patient."""
        return self.table["patient_id"].to_numpy(object)

    @cached_property
    def has_known_patient(self) -> NDArray[np.bool_]:
        """Bool (N,), whether it is known whose film it is; the others count as patients of their own."""
        told = self.manifest.unknown_patients
        if told is None:
            told = any(_SAID_ONCE.search(note) for note in self.manifest.notes)
        return self.patient_ids != self.sample_ids if told else np.ones(len(self), bool)

    @cached_property
    def drawn_by(self) -> str:
        """What a bootstrap of the test films, or else of all, draws: ``BY_PATIENT``, ``BY_FILM`` or both, in words."""
        rows = self.rows("test")
        return drawn_by(self.has_known_patient[rows] if len(rows) else self.has_known_patient)

    @cached_property
    def keys(self) -> NDArray[np.uint64]:
        """(N,): what stateless randomness knows each sample by."""
        return sample_keys(self.sample_ids.tolist())

    def rows(self, split: str) -> NDArray[np.int64]:
        """Row numbers of one split ("train", "val", "test"), or of the films in none (""), ascending; may be empty.

        Raises:
            UsageError: there is no such split.
        """
        if split not in (*SPLITS, ""):
            raise UsageError(f"there is no split '{split}'; expected train, val, test or \"\"")
        return np.flatnonzero((self.table["split"] == split).to_numpy()).astype(np.int64)


def read_records(folder: Path) -> "pd.DataFrame":
    """The table of a pack or a shard, in little memory however many rows it has."""
    import pandas as pd  # not before there is a pack: a wrong path is answered at once

    with (folder / RECORDS_FILE).open("rb") as file:  # by name, pyarrow takes paths of valid text only
        return pd.read_parquet(file, use_threads=False, pre_buffer=False)


def require_columns(table: "pd.DataFrame", names: Sequence[str], place: object, purpose: str) -> None:
    """Refuse columns that a pack's records do not have.

    Args:
        table: the records.
        names: what they should have.
        place: of the pack, for the message.
        purpose: what the columns are wanted to, such as "exchange within".

    Raises:
        UsageError: names those that are missing, and those that are there.
    """
    if missing := [name for name in names if name not in table.columns]:
        raise UsageError(
            f"{place} has no column {' and '.join(missing)} to {purpose}; it has {', '.join(map(str, table.columns))}"
        )


Number = TypeVar("Number", bound=np.generic)


def mapped(path: Path, shape: tuple[int, ...], kind: type[Number], *, of: str = "images") -> NDArray[Number]:
    """An array file of a pack as a memory map.

    Args:
        path: the file.
        shape: what the manifest says of it.
        kind: the type of its numbers, such as ``np.uint8``.
        of: what is to be packed again where the file is not so.

    Raises:
        DataError: it is not there, or not of this shape and type.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is missing or cut short; pack the {of} again") from error
    if array.dtype != kind or array.shape != shape:
        raise DataError(
            f"{path} holds {array.dtype} {array.shape}, its manifest says {np.dtype(kind)} {shape}; pack the {of} again"
        )
    return cast("NDArray[Number]", array)


def rows_of(array: NDArray[Number], rows: NDArray[np.int64]) -> NDArray[Number]:
    """Some rows of a mapped array, (n, ...), all of them asked of the disk before the first is waited for.

    Without that, a row that is not in memory is read when it is touched, some pages at a time, and the next row after
    it: a pack larger than memory was read at a tenth of the disk's speed.
    """
    if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_WILLNEED"):  # Windows has none
        for begin, size in _stretches(cast("np.memmap[tuple[int, ...], np.dtype[Number]]", array), rows):
            array.base.madvise(mmap.MADV_WILLNEED, begin, size)
    return array[rows]


def _stretches(
    array: "np.memmap[tuple[int, ...], np.dtype[Number]]", rows: NDArray[np.int64]
) -> Iterator[tuple[int, int]]:
    """Where in its map each row lies, from the beginning of a page: first byte and number of bytes."""
    first = array.offset % mmap.ALLOCATIONGRANULARITY  # the map begins where the system lets one begin
    for row in rows.tolist():
        begin = first + row * array.strides[0]
        before = begin % mmap.PAGESIZE
        yield begin - before, array.strides[0] + before
