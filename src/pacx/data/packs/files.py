"""The pixel files of a pack while they are written: they grow chunk by chunk, and survive whatever ends the writing.

`decoded chunk -> images.npy, masks.npy, journal line`. A journal line says of which films a chunk is, how it ended and
what its bytes sum to; whoever finds the folder again keeps the chunks whose bytes are there as the journal says, and
goes on after them.
"""

import hashlib
import io
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pacx import __version__
from pacx.core.artifacts import sha256_of
from pacx.core.errors import UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.core.quarantine import Quarantined
from pacx.data.images.decode import Decoding
from pacx.data.packs.earlier import Earlier, aside, forget, set_aside
from pacx.data.packs.journal import JOURNAL_FILE, begin_after, first_line, growing, whole_lines, write_line
from pacx.data.packs.pack import IMAGES_FILE, MASKS_FILE, RECORDS_FILE, Manifest, Pack
from pacx.data.packs.sources import hash_table

if TYPE_CHECKING:
    import pandas as pd


_FILES = (IMAGES_FILE, MASKS_FILE, JOURNAL_FILE)
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
    has_unknown_patients: bool = False


@dataclass(frozen=True)
class Chunk:
    """A few films decoded: those read, in order, and those not."""

    films: list[str]
    """What each is known by: words of their sources (``SourceStamps.films``)."""

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

    def header(self) -> bytes:
        """What stands before the first row; numpy pads it so that the number of rows may grow in place."""
        written = io.BytesIO()
        shape = (self.num_rows, *self.row_shape)
        np.lib.format.write_array_header_1_0(written, {"descr": "|u1", "fortran_order": False, "shape": shape})
        return written.getvalue()

    def write_header(self) -> None:
        """Say how many rows there are, and stand before the first of them."""
        self.file.seek(0)
        self.file.write(self.header())

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

    def __init__(self, opened: Sequence[BinaryIO], size_px: int, num_masks: int) -> None:
        images, masks, self._journal = opened
        self._images = _ArrayFile(images, (size_px, size_px))
        self._masks = _ArrayFile(masks, (num_masks, size_px, size_px))
        self.films: list[str] = []
        self.num_chunks = 0
        self.kept: list[bool] = []
        self.bad: list[Quarantined] = []
        self.earlier = Earlier()
        self.histogram: NDArray[np.int64] = np.zeros(256, np.int64)
        """(256,), pixels of each grey."""

    @property
    def num_kept(self) -> int:
        """Films that need not be decoded again, whatever ends the work."""
        return sum(self.kept) + len(self.earlier)

    def append(self, chunk: Chunk) -> None:
        """Write what was decoded, then the line that says so."""
        self._images.append(chunk.images)
        self._masks.append(chunk.masks)
        bad = [asdict(entry) for entry in chunk.bad]
        line = {"films": chunk.films, "kept": chunk.kept, "bad": bad, "sum": _sum(chunk.images, chunk.masks)}
        for file in (self._images.file, self._masks.file):
            file.flush()
        write_line(self._journal, line)
        self._count(chunk)

    def _count(self, chunk: Chunk) -> None:
        self.num_chunks += 1
        self.films += chunk.films
        self.kept += chunk.kept
        self.bad += chunk.bad
        self.histogram += np.bincount(chunk.images.ravel(), minlength=256)

    def resume(self, work: str) -> None:
        """Keep the whole chunks of this work; where there are none, begin."""
        first = first_line(work)
        self._images.write_header()
        self._masks.write_header()
        end = len(first)
        if self._journal.readline() == first:
            for chunk in self.whole_chunks():
                end = self._journal.tell()
                self._images.take(chunk.images)
                self._masks.take(chunk.masks)
                self._count(chunk)
        else:
            self._journal.seek(0)
            self._journal.write(first)
        begin_after(self._journal, end)
        for array in (self._images, self._masks):
            array.write_header()
            array.file.seek(array.num_rows * int(np.prod(array.row_shape)), 1)
            array.file.truncate()

    def whole_chunks(self) -> Iterator[Chunk]:
        """The chunks that are wholly on the disk, from where the files stand."""
        for entry in whole_lines(self._journal):
            num_kept = sum(entry["kept"])
            images, masks = self._images.read(num_kept), self._masks.read(num_kept)
            if len(images) < num_kept or len(masks) < num_kept or _sum(images, masks) != entry["sum"]:
                return
            bad = [Quarantined(**film) for film in entry["bad"]]
            yield Chunk(entry["films"], images, masks, entry["kept"], bad)

    def take_earlier(self, folder: Path) -> None:
        """Find what calls decoded whose work was set aside in ``folder``, the latest first; drop what holds no more."""
        known = set(self.films)
        for place in sorted(aside(folder), key=lambda each: each.stat().st_mtime_ns, reverse=True):
            words = self._earlier_words(place)
            if known.issuperset(words):
                shutil.rmtree(place)
                continue
            images, masks = (
                _mapped(place / name, len(array.header()), (len(words), *array.row_shape))
                for name, array in ((IMAGES_FILE, self._images), (MASKS_FILE, self._masks))
            )
            self.earlier.add(words, images, masks, known)
            known.update(words)

    def _earlier_words(self, place: Path) -> list[str]:
        """The films whose pixels are whole there, row by row."""
        with ExitStack() as opened:
            files = [opened.enter_context(growing(place / name)) for name in _FILES]
            there = PackFiles(files, self._images.row_shape[0], self._masks.row_shape[0])
            files[2].readline()
            for file, array in zip(files, (self._images, self._masks), strict=False):
                file.seek(len(array.header()))
            return [
                word
                for chunk in there.whole_chunks()
                for word, is_kept in zip(chunk.films, chunk.kept, strict=True)
                if is_kept
            ]

    def finish(self) -> tuple[str, str]:
        """Write the lengths; returns the SHA-256 of the images' pixels and of the masks'."""
        self._images.write_header()
        self._masks.write_header()
        return self._images.digest.hexdigest(), self._masks.digest.hexdigest()


def _mapped(path: Path, offset: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    if not np.prod(shape):  # of no byte there can be no map
        return np.empty(shape, np.uint8)
    return np.memmap(path, np.uint8, "r", offset, shape)


def _sum(images: NDArray[np.uint8], masks: NDArray[np.uint8]) -> int:
    return zlib.crc32(np.ascontiguousarray(masks).data, zlib.crc32(np.ascontiguousarray(images).data))


@contextmanager
def pack_files(
    folder: Path,
    origin: Origin,
    work: str,
    films: Sequence[str],
    *,
    is_bearable: Callable[[Sequence[Quarantined]], bool],
    is_anew: bool = False,
) -> Iterator[PackFiles]:
    """Open the growing files of a pack in ``folder``, and go on where an earlier call ended.

    What ends this one leaves the files; they go only where they hold no film.

    Args:
        folder: where they are, or will be.
        origin: what the pack is made from.
        work: what is done with it, in a word.
        films: the words by which its films are known, in the order in which they are written.
        is_bearable: whether an earlier call's bad films may stay as they are; if not, they are looked at again.
        is_anew: remove what other work left in the folder.

    Raises:
        UsageError: the folder holds films of other work.
    """
    size_px, num_masks = origin.preprocessing.image_size_px, len(origin.mask_names)
    contract = (__version__, origin.mask_names, asdict(origin.preprocessing), asdict(origin.decoding))
    work = f"{work} {hashlib.sha256(repr(contract).encode()).hexdigest()}"
    if _other_work(folder, work, is_anew=is_anew):
        for name in _FILES:
            (folder / name).unlink(missing_ok=True)
        forget(folder)
    elif not _is_continued(folder, films, is_bearable):
        set_aside(folder, _FILES)
    with ExitStack() as opened:
        files = PackFiles([opened.enter_context(growing(folder / name)) for name in _FILES], size_px, num_masks)
        files.resume(work)
        files.take_earlier(folder)
        try:
            yield files
        except BaseException as error:
            if files.num_kept:
                error.add_note(f"{files.num_kept:,} films are kept; run the same command again to go on")
            else:
                for name in _FILES:
                    (folder / name).unlink()
                forget(folder)
            raise
    forget(folder)
    if not num_masks:
        (folder / MASKS_FILE).unlink()


def _other_work(folder: Path, work: str, *, is_anew: bool) -> bool:
    """Whether what the folder holds is worth nothing for this work; refuses to touch what is worth something."""
    try:
        with (folder / JOURNAL_FILE).open("rb") as journal:
            if journal.readline() == first_line(work):
                return False
            num_kept = sum(sum(entry["kept"]) for entry in whole_lines(journal))
    except FileNotFoundError:
        return True
    if num_kept and not is_anew:
        raise UsageError(
            f"{folder} holds {num_kept:,} films of a pack that was begun with other options, or by another version of "
            "PaCX; give those options again, choose another folder for this pack, or remove that one"
        )
    return True


def _is_continued(folder: Path, films: Sequence[str], is_bearable: Callable[[Sequence[Quarantined]], bool]) -> bool:
    """Whether the films in the journal are the first of these."""
    written: list[str] = []
    bad: list[Quarantined] = []
    with (folder / JOURNAL_FILE).open("rb") as journal:
        journal.readline()
        for entry in whole_lines(journal):
            written += entry["films"]
            bad += [Quarantined(**film) for film in entry["bad"]]
    return written == list(films[: len(written)]) and is_bearable(bad)


def finished(folder: Path, origin: Origin, table: "pd.DataFrame", files: PackFiles) -> Manifest:
    """Finish the files of a pack, write its table, and describe both.

    Args:
        folder: of the pack.
        origin: what it is made from.
        table: the records of the films kept.
        files: their pixels.
    """
    images_sha256, masks_sha256 = files.finish()
    with (folder / RECORDS_FILE).open("wb") as file:  # by name, pyarrow takes paths of valid text only
        table.to_parquet(file, index=False, row_group_size=_ROWS_PER_GROUP)
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
        unknown_patients=int((table["patient_id"] == table["sample_id"]).sum()) if origin.has_unknown_patients else 0,
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
