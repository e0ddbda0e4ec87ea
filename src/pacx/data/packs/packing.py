"""Records in, a pack out: every film is decoded once, here, and never again.

Worker processes decode; this process alone writes, in the order of the records, so that the bytes do not depend on how
many workers there were, or on whether the packing was killed and taken up again. What cannot be read is left out, named
and counted; when that is more than a sliver of the films, nothing is written at all. Until the last byte is on the disk
the pack has no name. Knows no torch.

For job arrays the films may be divided into shards, each packed by a process of its own; ``merging.py`` puts them
together into the same bytes.
"""

import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.core.artifacts import read_json, resumable_directory, write_json
from pacx.core.errors import ArtifactError, UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.core.progress import progress
from pacx.core.quarantine import require_few_bad
from pacx.data.decoded_films import FILMS_AT_ONCE, DecodedFilm, batched, decoded_films
from pacx.data.images.decode import Decoding
from pacx.data.packs.files import Chunk, Origin, finished, pack_files
from pacx.data.packs.pack import MANIFEST_FILE, Manifest, Pack
from pacx.data.packs.sources import films, source_fingerprint
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

    A pack that is there already and was made from the same records, files and options is opened instead. Killed, the
    same call goes on where it was.

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
        UsageError: ``out`` is taken, or an option is out of range.
        DataError: too many films are unreadable.
        ArtifactError: the pack could not be written whole; nothing is left behind.
    """
    origin = _origin(records, preprocessing, decoding, max_bad_fraction)
    if _is_reusable(out, origin.source_fingerprint, overwrite=overwrite):
        pack = Pack.open(out)
        require_few_bad("films", pack.quarantined, len(pack) + len(pack.quarantined), max_bad_fraction)
        return pack
    _check_place(out)
    with resumable_directory(out) as folder:
        manifest = _write(records, np.arange(len(records)), folder, origin, max_bad_fraction, num_workers)
        write_json(folder / MANIFEST_FILE, manifest.to_json())
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
) -> Path:
    """Decode one shard of the records; the arguments and errors are those of ``pack_records``.

    Returns:
        the shard's folder, beside where the pack will be; ``pacx.data.packs.merging`` makes the pack from all of them.
    """
    origin = _origin(records, preprocessing, decoding, max_bad_fraction)
    place = shard.folder(out)
    if (place / SHARD_FILE).is_file():
        if read_json(place / SHARD_FILE)["manifest"]["source_fingerprint"] == origin.source_fingerprint:
            return place
        raise UsageError(f"{place} is a shard made from other files or with other options; remove it first")
    _check_place(place)
    with resumable_directory(place) as folder:
        manifest = _write(records, shard.rows(len(records)), folder, origin, max_bad_fraction, num_workers)
        write_json(folder / SHARD_FILE, {"index": shard.index, "of": shard.of, "manifest": manifest.to_json()})
    return place


def _origin(records: Records, preprocessing: Preprocessing, decoding: Decoding, max_bad_fraction: float) -> Origin:
    if not 0 <= max_bad_fraction <= 1:
        raise UsageError(f"max_bad_fraction is {max_bad_fraction}, expected a share between 0 and 1")
    made_from = f"{source_fingerprint(records)} {asdict(preprocessing)} {asdict(decoding)}"
    return Origin(
        label_names=records.label_names,
        mask_names=records.mask_names,
        notes=records.notes,
        dataset=records.dataset,
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


def _write(
    records: Records,
    rows: NDArray[np.int64],
    folder: Path,
    origin: Origin,
    max_bad_fraction: float,
    num_workers: int,
) -> Manifest:
    """Decode some of the films into the files of a folder, all but the manifest."""
    size_px, decoding = origin.preprocessing.image_size_px, origin.decoding
    with pack_files(folder, origin, "pack") as files, progress("packing", len(rows), "films") as shown:
        shown.advance(len(files.kept))
        left = films(records, rows[len(files.kept) :])
        decoded = decoded_films(left, size_px=size_px, decoding=decoding, num_workers=num_workers)
        for several in batched(decoded, FILMS_AT_ONCE):
            files.append(_chunk(several, (size_px, size_px), len(records.mask_names)))
            shown.advance(len(several), note=f"{len(files.bad)} bad" if files.bad else "")
            require_few_bad("films", files.bad, len(records), max_bad_fraction, is_done=False)
        require_few_bad("films", files.bad, len(records), max_bad_fraction)
        table = records.table.iloc[rows[files.kept]].reset_index(drop=True)
        return finished(folder, origin, table, files)


def _chunk(several: list[DecodedFilm], shape: tuple[int, int], num_masks: int) -> Chunk:
    read = [film for film in several if not film.faults]
    return Chunk(
        images=np.array([film.square for film in read], np.uint8).reshape(len(read), *shape),
        masks=np.array([film.masks for film in read], np.uint8).reshape(len(read), num_masks, *shape),
        kept=[not film.faults for film in several],
        bad=[film.faults[0] for film in several if film.faults],
    )
