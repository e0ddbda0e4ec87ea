"""The pixel files of a pack while they are written: they grow chunk by chunk, and survive a kill.

`decoded chunk -> images.npy, masks.npy, journal line`. A journal line says how a chunk ended and what its bytes sum to;
whoever finds the folder again keeps the chunks whose bytes are there as the journal says, and goes on after them.
"""

import hashlib
import json
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pacx.core.artifacts import sha256_of
from pacx.core.preprocessing import Preprocessing
from pacx.core.quarantine import Quarantined
from pacx.data.images.decode import Decoding
from pacx.data.packs.pack import IMAGES_FILE, MASKS_FILE, RECORDS_FILE, Manifest, Pack
from pacx.data.packs.sources import hash_table

if TYPE_CHECKING:
    import pandas as pd


_JOURNAL_FILE = "journal.jsonl"
_ROWS_PER_GROUP = 4096
_FILMS_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a pack is made from, as its manifest says it."""

    label_names: tuple[str, ...]
    mask_names: tuple[str, ...]
    notes: tuple[str, ...]
    dataset: str
    preprocessing: Preprocessing
    decoding: Decoding
    source_fingerprint: str


@dataclass(frozen=True)
class Chunk:
    """A few films decoded: those read, in order, and those not."""

    images: NDArray[np.uint8]
    """(n, S, S)."""

    masks: NDArray[np.uint8]
    """(n, K, S, S)."""

    kept: list[bool]
    bad: list[Quarantined]


@dataclass
class _ArrayFile:
    """A .npy file that grows row by row and learns its length at the end; hashes what it holds."""

    file: BinaryIO
    row_shape: tuple[int, ...]
    num_rows: int = 0
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def write_header(self) -> None:
        # numpy pads the header so that the first number may grow in place.
        self.file.seek(0)
        shape = (self.num_rows, *self.row_shape)
        np.lib.format.write_array_header_1_0(self.file, {"descr": "|u1", "fortran_order": False, "shape": shape})

    def take(self, rows: NDArray[np.uint8]) -> None:
        self.digest.update(np.ascontiguousarray(rows).data)
        self.num_rows += len(rows)

    def append(self, rows: NDArray[np.uint8]) -> None:
        self.file.write(np.ascontiguousarray(rows).data)
        self.take(rows)

    def read(self, num_rows: int) -> NDArray[np.uint8]:
        """The next rows of the file; fewer than asked for where it ends before."""
        row_bytes = int(np.prod(self.row_shape))
        data = self.file.read(num_rows * row_bytes)
        whole = len(data) // row_bytes if row_bytes else num_rows
        return np.frombuffer(data, np.uint8, whole * row_bytes).reshape(whole, *self.row_shape)


class PackFiles:
    """The growing files of one pack."""

    def __init__(self, images: BinaryIO, masks: BinaryIO, journal: BinaryIO, size_px: int, num_masks: int) -> None:
        self._images = _ArrayFile(images, (size_px, size_px))
        self._masks = _ArrayFile(masks, (num_masks, size_px, size_px))
        self._journal = journal
        self.num_chunks = 0
        self.kept: list[bool] = []
        self.bad: list[Quarantined] = []
        self.histogram: NDArray[np.int64] = np.zeros(256, np.int64)
        """(256,), pixels of each grey."""

    def append(self, chunk: Chunk) -> None:
        """Write what was decoded, then the line that says so."""
        self._images.append(chunk.images)
        self._masks.append(chunk.masks)
        bad = [asdict(entry) for entry in chunk.bad]
        line = {"kept": chunk.kept, "bad": bad, "sum": _sum(chunk.images, chunk.masks)}
        for file in (self._images.file, self._masks.file):
            file.flush()
        self._journal.write(json.dumps(line).encode() + b"\n")
        self._journal.flush()
        self._count(chunk)

    def _count(self, chunk: Chunk) -> None:
        self.num_chunks += 1
        self.kept += chunk.kept
        self.bad += chunk.bad
        self.histogram += np.bincount(chunk.images.ravel(), minlength=256)

    def resume(self, made_from: str) -> None:
        """Take up what an earlier process left, if it was packing the same; else begin."""
        first = (made_from + "\n").encode()
        self._images.write_header()
        self._masks.write_header()
        end = len(first)
        if self._journal.readline() == first:
            for chunk in self._chunks_left():
                end = self._journal.tell()
                self._images.take(chunk.images)
                self._masks.take(chunk.masks)
                self._count(chunk)
        else:
            self._journal.seek(0)
            self._journal.write(first)
        self._journal.truncate(end)
        self._journal.seek(end)
        for array in (self._images, self._masks):
            array.write_header()
            array.file.seek(array.num_rows * int(np.prod(array.row_shape)), 1)
            array.file.truncate()

    def _chunks_left(self) -> Iterator[Chunk]:
        """The chunks that are wholly on the disk."""
        while (line := self._journal.readline()).endswith(b"\n"):
            try:
                entry = json.loads(line)
            except ValueError:  # the power went, and the line's bytes never reached the disk
                return
            num_kept = sum(entry["kept"])
            images, masks = self._images.read(num_kept), self._masks.read(num_kept)
            if len(images) < num_kept or len(masks) < num_kept or _sum(images, masks) != entry["sum"]:
                return
            bad = [Quarantined(**film) for film in entry["bad"]]
            yield Chunk(images, masks, entry["kept"], bad)

    def finish(self) -> tuple[str, str]:
        """Write the lengths; returns the SHA-256 of the images' pixels and of the masks'."""
        self._images.write_header()
        self._masks.write_header()
        return self._images.digest.hexdigest(), self._masks.digest.hexdigest()


def _sum(images: NDArray[np.uint8], masks: NDArray[np.uint8]) -> int:
    return zlib.crc32(np.ascontiguousarray(masks).data, zlib.crc32(np.ascontiguousarray(images).data))


@contextmanager
def pack_files(folder: Path, origin: Origin, work: str) -> Iterator[PackFiles]:
    """Open the growing files of a pack in ``folder``, and go on where an earlier process was killed.

    Args:
        folder: where they are, or will be.
        origin: what the pack is made from.
        work: what is done with it, in a word; what other work, or work of another origin, left behind is overwritten.
    """
    size_px, num_masks = origin.preprocessing.image_size_px, len(origin.mask_names)
    with ExitStack() as opened:
        images, masks, journal = (
            opened.enter_context(_read_write(folder / name)) for name in (IMAGES_FILE, MASKS_FILE, _JOURNAL_FILE)
        )
        files = PackFiles(images, masks, journal, size_px, num_masks)
        files.resume(f"{work} {origin.source_fingerprint}")
        yield files
    (folder / _JOURNAL_FILE).unlink()
    if not num_masks:
        (folder / MASKS_FILE).unlink()


def _read_write(path: Path) -> BinaryIO:
    path.touch()
    return path.open("r+b")


def finished(folder: Path, origin: Origin, table: "pd.DataFrame", files: PackFiles) -> Manifest:
    """Finish the files of a pack, write its table, and describe both.

    Args:
        folder: of the pack.
        origin: what it is made from.
        table: the records of the films kept.
        files: their pixels.
    """
    images_sha256, masks_sha256 = files.finish()
    table.to_parquet(folder / RECORDS_FILE, index=False, row_group_size=_ROWS_PER_GROUP)
    mean, std = _mean_and_std(files.histogram)
    return Manifest(
        num_images=len(table),
        label_names=origin.label_names,
        mask_names=origin.mask_names,
        preprocessing=origin.preprocessing,
        decoding=origin.decoding,
        pixel_mean=mean,
        pixel_std=std,
        fingerprint=_fingerprint(origin, images_sha256, masks_sha256, table),
        source_fingerprint=origin.source_fingerprint,
        records_sha256=sha256_of(folder / RECORDS_FILE),
        quarantined=tuple(files.bad),
        notes=origin.notes,
        dataset=origin.dataset,
    )


def _fingerprint(made: Origin | Manifest, images_sha256: str, masks_sha256: str, table: "pd.DataFrame") -> str:
    table_digest = hashlib.sha256()
    hash_table(table, table_digest)
    names = (made.label_names, made.mask_names)
    contract = (asdict(made.preprocessing), asdict(made.decoding))
    content = repr((*names, images_sha256, masks_sha256, table_digest.hexdigest(), *contract))
    return hashlib.sha256(content.encode()).hexdigest()


def recomputed_fingerprint(pack: Pack) -> str:
    """The fingerprint that the bytes on the disk have now; reads the whole pack."""

    def pixels(array: NDArray[np.uint8] | None) -> str:
        digest = hashlib.sha256()
        if array is not None:
            for start in range(0, len(array), _FILMS_AT_ONCE):
                digest.update(np.ascontiguousarray(array[start : start + _FILMS_AT_ONCE]).data)
        return digest.hexdigest()

    return _fingerprint(pack.manifest, pixels(pack.images), pixels(pack.masks), pack.table)


def _mean_and_std(histogram: NDArray[np.int64]) -> tuple[float, float]:
    """Of the greys in [0, 1]; from integer counts, so that no order of summation can show. Of no pixel: zeros."""
    greys, num_pixels = np.arange(256) / 255, max(histogram.sum(), 1)
    mean = float((histogram * greys).sum() / num_pixels)
    return mean, float(np.sqrt((histogram * (greys - mean) ** 2).sum() / num_pixels))
