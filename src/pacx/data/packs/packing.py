"""Records in, a pack out: every film is decoded once, here, and never again.

Worker processes decode; this process alone writes, in the order of the records, so that the bytes do not depend on how
many workers there were, or on whether the packing was ended and taken up again. What cannot be read is left out, named
and counted; when that is more than a sliver of the films, there is no pack. Until the last byte is on the disk the pack
has no name; whatever ends the packing, what was decoded is kept for the next call. Knows no torch.

For job arrays the films may be divided into shards, each packed by a process of its own; ``merging.py`` puts them
together into the same bytes.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.core.artifacts import read_json, resumable_directory, write_json
from pacx.core.errors import ArtifactError, UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.core.progress import announce, progress
from pacx.core.quarantine import Quarantined, require_few_bad
from pacx.data.decoded_films import FILMS_AT_ONCE, DecodedFilm, batched, decoded_films
from pacx.data.images.decode import Decoding
from pacx.data.packs.files import Chunk, Origin, PackFiles, finished, pack_files
from pacx.data.packs.journal import forget_journal
from pacx.data.packs.pack import MANIFEST_FILE, Manifest, Pack
from pacx.data.packs.sources import SourceStamps, films
from pacx.data.records import Records

SHARD_FILE = "shard.json"
_DEFAULT_PREPROCESSING, _DEFAULT_DECODING = Preprocessing(), Decoding()


@dataclass(frozen=True)
class Shard:
    """One of several equal parts of a dataset's films, in their order; ``index`` counts from 1."""

    index: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.of:
            raise UsageError(f"there is no shard {self.index} of {self.of}; shards count from 1, as in 1/{self.of}")

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read "2/8".

        Raises:
            UsageError: that is not what it says.
        """
        index, _, of = text.partition("/")
        if not (index.isdecimal() and of.isdecimal()):
            raise UsageError(f"shard is '{text}'; expected two numbers such as 2/8, the second of eight")
        return cls(int(index), int(of))

    def rows(self, num_films: int) -> NDArray[np.int64]:
        """Which films belong to it."""
        return np.array_split(np.arange(num_films), self.of)[self.index - 1]

    def folder(self, out: Path) -> Path:
        """Where the shard of the pack at ``out`` lies."""
        return out.with_name(f"{out.name}.shard-{self.index}-of-{self.of}")


def pack_records(
    records: Records,
    out: Path,
    *,
    preprocessing: Preprocessing = _DEFAULT_PREPROCESSING,
    decoding: Decoding = _DEFAULT_DECODING,
    max_bad_fraction: float = 0.001,
    num_workers: int = 1,
    overwrite: bool = False,
) -> Pack:
    """Decode every film of the records into a pack.

    A pack that is there already and was made from the same records, files and options is opened instead. Whatever ends
    the call, the next one goes on where it was; films that were mended or added in between are decoded then.

    Args:
        records: what to pack.
        out: the folder to write.
        preprocessing: the input contract; its image size is the side of the packed squares. Default: the paper's.
        decoding: what may be done on the way from a file to its pixels.
        max_bad_fraction: in [0, 1]; more unreadable films than this share stop the packing.
        num_workers: decoding processes; up to 1 decodes in this one. A script that asks for more needs the usual
            ``if __name__ == "__main__"``, for it is imported again by each of them.
        overwrite: replace another pack that lies at ``out``.

    Raises:
        UsageError: ``out`` is taken, or a pack begun there with other options; or an option is out of range.
        DataError: too many films are unreadable.
        ArtifactError: the pack could not be written whole.
    """
    stamps = SourceStamps.of(records)
    origin = _origin(records, stamps, preprocessing, decoding, max_bad_fraction)
    if _is_reusable(out, origin.source_fingerprint, overwrite=overwrite):
        pack = Pack.open(out)
        require_few_bad("films", pack.quarantined, len(pack) + len(pack.quarantined), max_bad_fraction)
        forget_journal(out)
        return pack
    _check_place(out)
    work = _Work(records, stamps.films, np.arange(len(records)), origin, max_bad_fraction, num_workers)
    with resumable_directory(out) as folder:
        write_json(folder / MANIFEST_FILE, work.written(folder, is_anew=overwrite).to_json())
    forget_journal(out)
    return Pack.open(out)


def pack_shard(
    records: Records,
    out: Path,
    shard: Shard,
    *,
    preprocessing: Preprocessing = _DEFAULT_PREPROCESSING,
    decoding: Decoding = _DEFAULT_DECODING,
    max_bad_fraction: float = 0.001,
    num_workers: int = 1,
    overwrite: bool = False,
) -> Path:
    """Decode one shard of the records; the arguments and errors are those of ``pack_records``.

    Returns:
        the shard's folder, beside where the pack will be; ``pacx.data.packs.merging`` makes the pack from all of them.
    """
    stamps = SourceStamps.of(records)
    origin = _origin(records, stamps, preprocessing, decoding, max_bad_fraction)
    place = shard.folder(out)
    if (place / SHARD_FILE).is_file() and not overwrite:
        if read_json(place / SHARD_FILE)["manifest"]["source_fingerprint"] == origin.source_fingerprint:
            forget_journal(place)
            return place
        raise UsageError(
            f"{place} is a shard made from other files or with other options; remove it, or overwrite it (--overwrite)"
        )
    _check_place(place)
    work = _Work(records, stamps.films, shard.rows(len(records)), origin, max_bad_fraction, num_workers)
    with resumable_directory(place) as folder:
        manifest = work.written(folder, is_anew=overwrite)
        write_json(folder / SHARD_FILE, {"index": shard.index, "of": shard.of, "manifest": manifest.to_json()})
    forget_journal(place)
    return place


def _origin(
    records: Records, stamps: SourceStamps, preprocessing: Preprocessing, decoding: Decoding, max_bad_fraction: float
) -> Origin:
    if not 0 <= max_bad_fraction <= 1:
        raise UsageError(f"max_bad_fraction is {max_bad_fraction}, expected a share between 0 and 1")
    made_from = f"{stamps.fingerprint} {asdict(preprocessing)} {asdict(decoding)}"
    return Origin(
        label_names=records.label_names,
        mask_names=records.mask_names,
        notes=records.notes,
        dataset=records.dataset,
        has_unknown_patients=records.has_unknown_patients,
        preprocessing=preprocessing,
        decoding=decoding,
        source_fingerprint=hashlib.sha256(made_from.encode()).hexdigest(),
    )


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
            f"{out} is a pack made from other files or with other options; choose another folder, or overwrite it "
            "(--overwrite)"
        )
    return True


def _check_place(out: Path) -> None:
    """Say at once, not after an hour of decoding, that the place cannot be written to."""
    parent = next((folder for folder in out.absolute().parents if folder.exists()), Path("/"))
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise ArtifactError(f"cannot write {out}: {parent} is not a folder one may write to; choose another place")


@dataclass(frozen=True)
class _Work:
    """Some of the records' films on their way to the files of a folder.

    Args:
        records: all of them.
        words: what each film is known by.
        rows: those that are wanted.
        origin: of the pack.
        max_bad_fraction: share of all films that may be unreadable.
        num_workers: decoding processes.
    """

    records: Records
    words: Sequence[str]
    rows: NDArray[np.int64]
    origin: Origin
    max_bad_fraction: float
    num_workers: int

    def written(self, folder: Path, *, is_anew: bool = False) -> Manifest:
        """Decode the films into the files of a folder, all but the manifest."""
        words = [self.words[row] for row in self.rows]
        size_px, num_masks = self.origin.preprocessing.image_size_px, len(self.origin.mask_names)
        with (
            pack_files(folder, self.origin, "pack", words, is_bearable=self._is_bearable, is_anew=is_anew) as files,
            progress("packing", len(words), "films") as shown,
        ):
            done = len(files.kept)
            _say_size(folder, len(words) - done, (1 + num_masks) * size_px**2)
            shown.advance(done)
            for several in batched(zip(words[done:], self._decoded(files, words), strict=True), FILMS_AT_ONCE):
                files.append(_chunk(several, (size_px, size_px), num_masks))
                shown.advance(len(several), note=f"{len(files.bad)} bad" if files.bad else "")
                require_few_bad("films", files.bad, len(self.records), self.max_bad_fraction, is_done=False)
            require_few_bad("films", files.bad, len(self.records), self.max_bad_fraction)
            table = self.records.table.iloc[self.rows[files.kept]].reset_index(drop=True)
            return finished(folder, self.origin, table, files)

    def _is_bearable(self, bad: Sequence[Quarantined]) -> bool:
        return len(bad) <= self.max_bad_fraction * len(self.records)

    def _decoded(self, files: PackFiles, words: Sequence[str]) -> Iterator[DecodedFilm]:
        """The films that are not written yet, in order; what earlier calls decoded is taken from there."""
        done, earlier = len(files.kept), files.earlier
        are_there = [word in earlier for word in words]
        rows = self.rows[done:]
        missing = rows[~np.array(are_there[done:], bool)]
        decoded = decoded_films(
            films(self.records, missing),
            size_px=self.origin.preprocessing.image_size_px,
            decoding=self.origin.decoding,
            num_workers=self.num_workers,
        )
        for film, word, is_there in zip(films(self.records, rows), words[done:], are_there[done:], strict=True):
            yield earlier.film(film, word) if is_there else next(decoded)


def _say_size(folder: Path, num_films: int, film_bytes: int) -> None:
    """Say before the first film is decoded that they will not fit; what does is kept, and may be gone on with."""
    needed, free = num_films * film_bytes, shutil.disk_usage(folder).free
    if needed > free:
        announce(
            f"{num_films:,} films take {_size(needed)} and {folder.parent} has {_size(free)} free; what fits is packed "
            "and kept, and the same command goes on when there is room"
        )


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:,.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:,.1f} MB"


def _chunk(several: list[tuple[str, DecodedFilm]], shape: tuple[int, int], num_masks: int) -> Chunk:
    read = [film for _, film in several if not film.faults]
    return Chunk(
        films=[word for word, _ in several],
        images=np.array([film.square for film in read], np.uint8).reshape(len(read), *shape),
        masks=np.array([film.masks for film in read], np.uint8).reshape(len(read), num_masks, *shape),
        kept=[not film.faults for _, film in several],
        bad=[film.faults[0] for _, film in several if film.faults],
    )
