"""Shards to a pack: the same bytes as if one process had packed everything.

Every shard is there once, all were made from the same records, files and options, or nothing is merged.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.core.artifacts import read_json, resumable_directory, sha256_of, write_json
from pacx.core.errors import DataError, ModelError, UsageError
from pacx.core.progress import progress
from pacx.core.quarantine import require_few_bad
from pacx.data.packs.files import Chunk, Origin, finished, pack_files
from pacx.data.packs.journal import forget_journal
from pacx.data.packs.pack import (
    IMAGES_FILE,
    MANIFEST_FILE,
    MASKS_FILE,
    RECORDS_FILE,
    Manifest,
    Pack,
    mapped,
    read_records,
)
from pacx.data.packs.packing import SHARD_FILE, Shard

_ROWS_AT_ONCE = 32


@dataclass(frozen=True)
class _ShardFolder:
    """A shard whose table was held against its manifest; pixels are read when ``chunks`` is asked."""

    path: Path
    shard: Shard
    manifest: Manifest

    @classmethod
    def open(cls, path: Path) -> "_ShardFolder":
        if not (path / SHARD_FILE).is_file():
            raise UsageError(f"{path} is not a shard: it has no {SHARD_FILE}; make one with `pacx data pack --shard`")
        try:
            about = read_json(path / SHARD_FILE)
            opened = cls(path, Shard(about["index"], about["of"]), Manifest.from_json(about["manifest"]))
        except (TypeError, KeyError, DataError, ModelError, UsageError) as error:
            raise DataError(f"{path / SHARD_FILE} was written by another version; pack the shard again") from error
        if sha256_of(path / RECORDS_FILE) != opened.manifest.records_sha256:
            raise DataError(f"{path / RECORDS_FILE} was changed after packing; pack the shard again")
        return opened

    def chunks(self) -> Iterator[Chunk]:
        """Its pixels, a few rows at a time, and whom it left out."""
        size_px, num_masks = self.manifest.preprocessing.image_size_px, len(self.manifest.mask_names)
        num_rows = self.manifest.num_images
        images = mapped(self.path / IMAGES_FILE, (num_rows, size_px, size_px), np.uint8)
        masks: NDArray[np.uint8] = np.empty((num_rows, 0, size_px, size_px), np.uint8)
        if num_masks:
            masks = mapped(self.path / MASKS_FILE, (num_rows, num_masks, size_px, size_px), np.uint8)
        yield Chunk([], images[:0], masks[:0], [], list(self.manifest.quarantined))
        words = self.words
        for start in range(0, num_rows, _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            yield Chunk(words[rows], images[rows], masks[rows], [True] * len(images[rows]), [])

    @property
    def words(self) -> list[str]:
        """What its films are known by: which row of which shard."""
        return [f"{self.manifest.fingerprint[:16]} {row}" for row in range(self.manifest.num_images)]


def merge_shards(folders: Sequence[Path], out: Path, *, max_bad_fraction: float = 0.001) -> Pack:
    """Put the shards of a dataset together.

    Args:
        folders: of all the shards, in any order; they are left as they are.
        out: the pack to write.
        max_bad_fraction: in [0, 1]; more unreadable films than this share of all films stop the merge.

    Raises:
        UsageError: a folder is no shard, or ``out`` is taken.
        DataError: shards are missing, double, damaged, or made from different files or with different options; or too
            many films are unreadable.
        ArtifactError: the pack could not be written whole.
    """
    import pandas as pd

    shards = sorted((_ShardFolder.open(path) for path in folders), key=lambda opened: opened.shard.index)
    _check_whole(shards)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists and is not empty; choose another folder for the pack")
    first = shards[0].manifest
    num_films = sum(opened.manifest.num_images + len(opened.manifest.quarantined) for opened in shards)
    origin = Origin(
        label_names=first.label_names,
        mask_names=first.mask_names,
        notes=first.notes,
        dataset=first.dataset,
        has_unknown_patients=any(opened.manifest.unknown_patients for opened in shards),
        preprocessing=first.preprocessing,
        decoding=first.decoding,
        source_fingerprint=first.source_fingerprint,
    )
    words = [word for opened in shards for word in opened.words]
    with resumable_directory(out) as folder:
        with (
            pack_files(folder, origin, "merge", words, is_bearable=lambda bad: True) as files,
            progress("merging", num_films, "films") as shown,
        ):
            done = files.num_chunks
            for number, chunk in enumerate(chunk for opened in shards for chunk in opened.chunks()):
                if number >= done:
                    files.append(chunk)
                shown.advance(len(chunk.kept) + len(chunk.bad))
            require_few_bad("films", files.bad, num_films, max_bad_fraction)
            table = pd.concat([read_records(opened.path) for opened in shards], ignore_index=True)
            manifest = finished(folder, origin, table, files)
        write_json(folder / MANIFEST_FILE, manifest.to_json())
    forget_journal(out)
    return Pack.open(out)


def _check_whole(shards: list[_ShardFolder]) -> None:
    if not shards:
        raise UsageError("no shard is given; give the folders of all of them")
    first = shards[0]
    for opened in shards:
        if opened.manifest.source_fingerprint != first.manifest.source_fingerprint:
            raise DataError(
                f"{opened.path} was made from other files or with other options than {first.path}; pack it again"
            )
    found = [opened.shard for opened in shards]
    if found != [Shard(index, first.shard.of) for index in range(1, first.shard.of + 1)]:
        named = ", ".join(f"{shard.index}/{shard.of}" for shard in found)
        raise DataError(f"these are shards {named}; expected each of 1 to {first.shard.of} once")
