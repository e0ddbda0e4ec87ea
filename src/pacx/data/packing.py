"""Records in, a pack out: every film is decoded once, here, and never again.

Worker processes decode; this process alone writes, in the order of the records, so that the bytes do not depend on how
many workers there were. What cannot be read is left out, named and counted; when that is more than a sliver of the
films, nothing is written at all. Until the last byte is on the disk the pack has no name. Knows no torch.
"""

import hashlib
import os
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pacx.core.artifacts import sha256_of, staged_directory, write_json
from pacx.core.errors import ArtifactError, DataError, UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.core.progress import progress
from pacx.data.array_images import sha256_of_image
from pacx.data.images import MASK_IGNORE, UnreadableImage, decode_grey, decode_mask, to_square, to_square_mask
from pacx.data.pack import IMAGES_FILE, MANIFEST_FILE, MASKS_FILE, RECORDS_FILE, Manifest, Pack, Quarantined
from pacx.data.parallel import in_order
from pacx.data.records import Records
from pacx.data.sources import Film, films, hash_table, source_fingerprint

_NUM_BAD_SHOWN = 3
_NUM_BAD_COLLECTED = 100


@dataclass(frozen=True)
class _Chunk:
    """A few films decoded: those read, in order, and those not."""

    images: NDArray[np.uint8]  # (n, S, S)
    masks: NDArray[np.uint8]  # (n, K, S, S)
    kept: list[bool]
    bad: list[Quarantined]
    histogram: NDArray[np.int64]  # (256,) pixels of each grey


def pack_records(
    records: Records,
    out: Path,
    *,
    preprocessing: Preprocessing | None = None,
    max_bad_fraction: float = 0.001,
    num_workers: int = 1,
    overwrite: bool = False,
) -> Pack:
    """Decode every film of the records into a pack.

    A pack that is there already and was made from the same records, files and preprocessing is opened instead.

    Args:
        records: what to pack.
        out: the folder to write.
        preprocessing: the input contract; its image size is the side of the packed squares. Default: the paper's.
        max_bad_fraction: in [0, 1]; more unreadable films than this share stop the packing.
        num_workers: decoding processes; up to 1 decodes in this one. A script that asks for more needs the usual
            ``if __name__ == "__main__"``, for it is imported again by each of them.
        overwrite: replace another pack that lies at ``out``.

    Raises:
        UsageError: ``out`` is taken, or an option is out of range.
        DataError: too many films are unreadable.
        ArtifactError: the pack could not be written whole; nothing is left behind.
    """
    preprocessing = preprocessing or Preprocessing()
    if not 0 <= max_bad_fraction <= 1:
        raise UsageError(f"max_bad_fraction is {max_bad_fraction}, expected a share between 0 and 1")
    source = hashlib.sha256(f"{source_fingerprint(records)} {asdict(preprocessing)}".encode()).hexdigest()
    if _is_reusable(out, source, overwrite=overwrite):
        pack = Pack.open(out)
        _check_bad(list(pack.quarantined), len(pack) + len(pack.quarantined), max_bad_fraction)
        return pack
    _check_place(out)
    with staged_directory(out) as partial:
        manifest = _write(records, partial, preprocessing, source, max_bad_fraction, num_workers)
        write_json(partial / MANIFEST_FILE, manifest.to_json())
    return Pack.open(out)


def _is_reusable(out: Path, source_fingerprint: str, *, overwrite: bool) -> bool:
    """Whether ``out`` already is the pack asked for; refuses to touch anything else that lies there."""
    if not (out.is_dir() and any(out.iterdir())) and not out.is_file():
        return False
    if not (out / MANIFEST_FILE).is_file():
        raise UsageError(f"{out} exists and is not a pack; choose another folder for the pack")
    if overwrite:
        return False
    if Pack.open(out).manifest.source_fingerprint != source_fingerprint:
        raise UsageError(
            f"{out} is a pack made from other files or with other options; choose another folder, or overwrite it"
        )
    return True


def _check_place(out: Path) -> None:
    """Say at once, not after an hour of decoding, that the place cannot be written to."""
    parent = next((folder for folder in out.absolute().parents if folder.exists()), Path("/"))
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise ArtifactError(f"cannot write {out}: {parent} is not a folder one may write to; choose another place")


def _check_bad(bad: list[Quarantined], num_films: int, max_bad_fraction: float) -> None:
    if len(bad) > max_bad_fraction * num_films:
        named = "; ".join(f"{entry.file} ({entry.reason})" for entry in bad[:_NUM_BAD_SHOWN])
        raise DataError(
            f"{len(bad)} of {num_films} films cannot be read, more than the {max_bad_fraction:.2%} allowed: {named}"
            f"{' ...' if len(bad) > _NUM_BAD_SHOWN else ''}; mend or remove them, or allow a larger share of bad files"
        )
    if len(bad) == num_films:
        raise DataError(f"none of {num_films} films can be read, for example {bad[0].file} ({bad[0].reason})")


def _write(
    records: Records,
    folder: Path,
    preprocessing: Preprocessing,
    source_fingerprint: str,
    max_bad_fraction: float,
    num_workers: int,
) -> Manifest:
    size_px, num_masks, num_films = preprocessing.image_size_px, len(records.mask_names), len(records)
    kept: list[bool] = []
    bad: list[Quarantined] = []
    histogram = np.zeros(256, np.int64)
    with (
        _ArrayFile(folder / IMAGES_FILE, (size_px, size_px)) as images,
        _ArrayFile(folder / MASKS_FILE, (num_masks, size_px, size_px)) as masks_file,
        progress("packing", num_films, "films") as shown,
    ):
        decode = partial(_decode_chunk, size_px=size_px)
        for chunk in in_order(decode, films(records, np.arange(num_films)), num_workers):
            images.append(chunk.images)
            masks_file.append(chunk.masks)
            kept += chunk.kept
            bad += chunk.bad
            histogram += chunk.histogram
            shown.advance(len(chunk.kept), note=f"{len(bad)} bad" if bad else "")
            if len(bad) > _NUM_BAD_COLLECTED + max_bad_fraction * num_films:
                break
        _check_bad(bad, num_films, max_bad_fraction)
    if not num_masks:
        (folder / MASKS_FILE).unlink()
    table = records.table[kept].reset_index(drop=True)
    table.to_parquet(folder / RECORDS_FILE, index=False)
    mean, std = _mean_and_std(histogram)
    table_digest = hashlib.sha256()
    hash_table(table, table_digest)
    content = (images.sha256, masks_file.sha256, table_digest.hexdigest(), asdict(preprocessing))
    return Manifest(
        num_images=len(table),
        label_names=records.label_names,
        mask_names=records.mask_names,
        preprocessing=preprocessing,
        pixel_mean=mean,
        pixel_std=std,
        fingerprint=hashlib.sha256(repr((records.label_names, records.mask_names, *content)).encode()).hexdigest(),
        source_fingerprint=source_fingerprint,
        records_sha256=sha256_of(folder / RECORDS_FILE),
        quarantined=tuple(bad),
        notes=records.notes,
    )


def _mean_and_std(histogram: NDArray[np.int64]) -> tuple[float, float]:
    """Of the greys in [0, 1]; from integer counts, so that no order of summation can show."""
    greys = np.arange(256) / 255
    mean = float((histogram * greys).sum() / histogram.sum())
    return mean, float(np.sqrt((histogram * (greys - mean) ** 2).sum() / histogram.sum()))


class _ArrayFile:
    """A .npy file that grows row by row and learns its length at the end; hashes what it writes."""

    def __init__(self, path: Path, row_shape: tuple[int, ...]) -> None:
        self._path, self._row_shape = path, row_shape
        self._num_rows = 0
        self._digest = hashlib.sha256()

    def __enter__(self) -> "_ArrayFile":
        self._file: BinaryIO = self._path.open("wb")
        self._write_header()
        return self

    def _write_header(self) -> None:
        # numpy pads the header so that the first number may grow in place.
        shape = (self._num_rows, *self._row_shape)
        np.lib.format.write_array_header_1_0(self._file, {"descr": "|u1", "fortran_order": False, "shape": shape})

    def append(self, rows: NDArray[np.uint8]) -> None:
        data = np.ascontiguousarray(rows).data
        self._file.write(data)
        self._digest.update(data)
        self._num_rows += len(rows)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._file.seek(0)
                self._write_header()
        finally:
            self._file.close()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def _decode_chunk(some: list[Film], size_px: int) -> _Chunk:
    num_masks = len(some[0].masks)
    images = np.empty((len(some), size_px, size_px), np.uint8)
    masks = np.empty((len(some), num_masks, size_px, size_px), np.uint8)
    kept: list[bool] = []
    bad: list[Quarantined] = []
    for film in some:
        row, file = sum(kept), film.image
        try:
            images[row] = to_square(decode_grey(film.root / file), size_px)
            for index, file in enumerate(film.masks):
                masks[row, index] = to_square_mask(decode_mask(film.root / file), size_px) if file else MASK_IGNORE
        except UnreadableImage as error:
            bad.append(_quarantined(film, file, error.reason))
            kept.append(False)
        else:
            kept.append(True)
    num_kept = sum(kept)
    histogram = np.bincount(images[:num_kept].ravel(), minlength=256)
    return _Chunk(images[:num_kept], masks[:num_kept], kept, bad, histogram)


def _quarantined(film: Film, file: str, reason: str) -> Quarantined:
    try:
        sha256 = sha256_of_image(film.root / file)
    except (OSError, UnreadableImage):
        sha256 = ""
    return Quarantined(sample_id=film.sample_id, file=file, reason=reason, sha256=sha256)
