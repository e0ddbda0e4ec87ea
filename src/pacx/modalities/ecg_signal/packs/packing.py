"""Recordings in, a pack out: each is read, checked, filtered and hashed once, here, and never again.

Worker processes read and filter; this process alone writes, in the order of the source, so that the bytes do not depend
on how many workers there were, on shards, or on whether the packing was ended and taken up again. What cannot be used
is left out, named and counted; when that is more than a sliver, there is no pack. Knows no torch.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacx import __version__
from pacx.core.artifacts import read_json, resumable_directory, staged_directory, write_json
from pacx.core.errors import DataError, UsageError
from pacx.core.progress import progress
from pacx.core.quarantine import Quarantined, require_few_bad
from pacx.core.vocabulary import ECG_LEADS
from pacx.data.packs.journal import forget_journal
from pacx.data.packs.pack import mapped
from pacx.data.packs.packing import SHARD_FILE, Shard
from pacx.modalities.ecg_signal.packs.files import (
    EcgPackFiles,
    ecg_pack_files,
    entries_of,
)
from pacx.modalities.ecg_signal.packs.pack import (
    MANIFEST_FILE,
    SIGNALS_FILE,
    EcgManifest,
    EcgPack,
    is_ecg_pack,
    packed_as,
    read_manifest,
    read_table,
)
from pacx.modalities.ecg_signal.prepared import BLOCK, PreparedBlock, Sieve, prepared_blocks
from pacx.modalities.ecg_signal.sources import EcgSource
from pacx.models.ecg.input import EcgPreprocessing

WHAT = "ECG recordings"


def pack_ecgs(
    source: EcgSource,
    out: Path,
    config: EcgPreprocessing,
    *,
    max_bad_fraction: float = 0.001,
    num_workers: int = 1,
    overwrite: bool = False,
) -> EcgPack:
    """Read, check and filter every recording of a source into a pack.

    A pack that is there already and was made from the same recordings and options is opened instead. Whatever ends the
    call, the next one goes on where it was.

    Args:
        source: the recordings.
        out: the folder to write.
        config: an encoder's input contract, whose filters are carried out.
        max_bad_fraction: in [0, 1]; more unusable recordings than this share stop the packing.
        num_workers: processes that read and filter; up to 1 stays in this one. A script that asks for more needs the
            usual ``if __name__ == "__main__"``.
        overwrite: replace another pack that lies at ``out``.

    Raises:
        UsageError: ``out`` is taken, or a pack begun there with other options.
        DataError: too many recordings are unusable.
        ArtifactError: the pack could not be written whole.
    """
    config = packed_as(config)
    made_from = _made_from(source, config)
    if _is_there(out, made_from[0], overwrite=overwrite):
        pack = EcgPack.open(out)
        _require_few_left_out(pack, max_bad_fraction)
        forget_journal(out)
        return pack
    rows = np.arange(len(source.sample_ids))
    with resumable_directory(out) as folder:
        with ecg_pack_files(folder, made_from[0], config.num_samples, is_anew=overwrite) as files:
            _fill(files, source, config, rows, max_bad_fraction, num_workers, Sieve())
            manifest = files.finished(folder, config, made_from, source.notes, source.place)
        write_json(folder / MANIFEST_FILE, manifest.to_json())
    forget_journal(out)
    return EcgPack.open(out)


def pack_ecg_shard(
    source: EcgSource,
    out: Path,
    shard: Shard,
    config: EcgPreprocessing,
    *,
    max_bad_fraction: float = 0.001,
    num_workers: int = 1,
    overwrite: bool = False,
) -> Path:
    """Pack one shard of a source; the arguments and errors are those of ``pack_ecgs``.

    Returns:
        the shard's folder, beside where the pack will be; ``merge_ecg_shards`` makes the pack from all of them.
    """
    config = packed_as(config)
    made_from = _made_from(source, config)
    place = shard.folder(out)
    if (place / SHARD_FILE).is_file() and not overwrite:
        if read_json(place / SHARD_FILE)["manifest"].get("source_fingerprint") == made_from[0]:
            forget_journal(place)
            return place
        raise UsageError(
            f"{place} is a shard made from other files or with other options; remove it, or overwrite it (--overwrite)"
        )
    rows = shard.rows(len(source.sample_ids))
    with resumable_directory(place) as folder:
        with ecg_pack_files(folder, made_from[0], config.num_samples, is_anew=overwrite) as files:
            _fill(files, source, config, rows, max_bad_fraction, num_workers, None)
            manifest = files.finished(folder, config, made_from, (), "")
        about: dict[str, Any] = {"index": shard.index, "of": shard.of, "num_all": len(source.sample_ids)}
        about |= {"rows": [row for row, _ in files.bad], "notes": source.notes, "place": source.place}
        write_json(folder / SHARD_FILE, {**about, "manifest": manifest.to_json()})
    forget_journal(place)
    return place


def _made_from(source: EcgSource, config: EcgPreprocessing) -> tuple[str, str]:
    """SHA-256 over what is read and how it is packed, and the source's stamp."""
    stamp = source.stamp()
    said = repr((__version__, stamp, source.notes, source.place, asdict(config)))
    return hashlib.sha256(said.encode()).hexdigest(), stamp


def _is_there(out: Path, made_from: str, *, overwrite: bool) -> bool:
    """Whether ``out`` already is the pack asked for; refuses to touch anything else that lies there."""
    if not (out.is_dir() and any(out.iterdir())) and not out.is_file():
        return False
    if not is_ecg_pack(out):
        raise UsageError(f"{out} exists and is no pack of ECGs; choose another folder for the pack")
    if not overwrite and _is_made_from(out, made_from):
        return True
    if not overwrite:
        raise UsageError(
            f"{out} is a pack made from other recordings or with other options; choose another folder, or overwrite it "
            "(--overwrite)"
        )
    return False


def _is_made_from(out: Path, made_from: str) -> bool:
    return bool(read_json(out / MANIFEST_FILE).get("source_fingerprint") == made_from)


def _fill(
    files: EcgPackFiles,
    source: EcgSource,
    config: EcgPreprocessing,
    rows: NDArray[np.int64],
    max_bad_fraction: float,
    num_workers: int,
    sieve: Sieve | None,
) -> None:
    """Write what is not written yet."""
    num_all = len(source.sample_ids)
    if sieve:
        sieve.take(files.entries)
    with progress("packing", len(rows), "recordings") as shown:
        shown.advance(files.num_read)
        for num_read in files.written(
            _sifted(prepared_blocks(source, config, num_workers, rows[files.num_read :]), sieve)
        ):
            shown.advance(num_read, f"{len(files.bad)} bad" if files.bad else "")
            require_few_bad(WHAT, [each for _, each in files.bad], num_all, max_bad_fraction, is_done=False)
    require_few_bad(WHAT, [each for _, each in files.bad], num_all, max_bad_fraction)


def _sifted(blocks: Iterator[PreparedBlock], sieve: Sieve | None) -> Iterator[PreparedBlock]:
    """Blocks without what a sieve leaves out; a shard's are sifted when it is merged."""
    return map(sieve.passed, blocks) if sieve else blocks


def is_ecg_shard(folder: Path) -> bool:
    """Whether a folder is a shard of an ECG pack."""
    said = read_json(folder / SHARD_FILE) if (folder / SHARD_FILE).is_file() else {}
    return isinstance(said, dict) and "num_all" in said


def merge_ecg_shards(folders: Sequence[Path], out: Path, *, max_bad_fraction: float = 0.001) -> EcgPack:
    """Put the shards of a source together into the pack that one process would have written.

    Args:
        folders: of all the shards, in any order; they are left as they are.
        out: the pack to write.
        max_bad_fraction: in [0, 1]; more unusable recordings than this share of all stop the merge.

    Raises:
        UsageError: ``out`` is taken.
        DataError: shards are missing, double, damaged, or made from different files or with different options; or too
            many recordings are unusable.
        ArtifactError: the pack could not be written whole.
    """
    if others := [folder for folder in folders if not is_ecg_shard(folder)]:
        raise UsageError(f"{others[0]} is not a shard of ECGs; make one with `pacx data pack ecg --shard`")
    shards = sorted(((read_json(folder / SHARD_FILE), folder) for folder in folders), key=lambda each: each[0]["index"])
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists and is not empty; choose another folder for the pack")
    manifests = [read_manifest(about["manifest"], folder) for about, folder in shards]
    first, made = shards[0][0], manifests[0]
    if {(manifest.source_fingerprint, about["of"]) for manifest, (about, _) in zip(manifests, shards, strict=True)} != {
        (made.source_fingerprint, first["of"])
    } or [about["index"] for about, _ in shards] != list(range(1, first["of"] + 1)):
        raise DataError(
            f"these are {len(shards)} shards, expected each of 1 to {first['of']} once, made from the same recordings "
            "with the same options; pack what is missing"
        )
    config, sieve = made.preprocessing, Sieve()
    with (
        staged_directory(out) as folder,
        progress("merging", first["num_all"], "recordings") as shown,
    ):
        with ecg_pack_files(folder, made.source_fingerprint, config.num_samples) as files:
            for (about, place), manifest in zip(shards, manifests, strict=True):
                for num_read in files.written(map(sieve.passed, _blocks(about, place, manifest))):
                    shown.advance(num_read)
            require_few_bad(WHAT, [each for _, each in files.bad], first["num_all"], max_bad_fraction)
            notes = tuple(first["notes"])
            origin = made.source_fingerprint, made.source_stamp
            manifest = files.finished(folder, config, origin, notes, first["place"])
        write_json(folder / MANIFEST_FILE, manifest.to_json())
        forget_journal(folder)
    return EcgPack.open(out)


def _blocks(about: dict[str, Any], place: Path, manifest: EcgManifest) -> Iterator[PreparedBlock]:
    """A shard's recordings, a few at a time, with those left out where they stood."""
    entries = entries_of(read_table(place, manifest))
    signals = mapped(
        place / SIGNALS_FILE, (len(entries), len(ECG_LEADS), manifest.preprocessing.num_samples), np.float32, of="ECGs"
    )
    bad: dict[int, Quarantined] = dict(zip(about["rows"], manifest.quarantined, strict=True))
    rows = Shard(about["index"], about["of"]).rows(about["num_all"])
    done = 0
    for start in range(0, len(rows), BLOCK):
        some = rows[start : start + BLOCK].tolist()
        good = [row for row in some if row not in bad]
        part = slice(done, done + len(good))
        yield PreparedBlock(good, entries[part], signals[part], [(row, bad[row]) for row in some if row in bad])
        done += len(good)


def packed_beside(run: Path) -> Path:
    """Where the pack lies that is made of a run's recordings."""
    return run.with_name(f"{run.name}.recordings")


def _require_few_left_out(pack: EcgPack, max_bad_fraction: float) -> None:
    bad = pack.manifest.quarantined
    require_few_bad(WHAT, bad, len(pack) + len(bad), max_bad_fraction)


def packed_once(
    source: "EcgSource | EcgPack",
    run: Path,
    config: EcgPreprocessing,
    *,
    max_bad_fraction: float,
    num_workers: int,
) -> EcgPack:
    """A pack of a run's recordings: what they are themselves, or one beside the run that replaces another one there.

    Raises:
        UsageError: a pack begun beside the run has other options.
        DataError: too many recordings are unusable, of a pack that was made with more allowed, too.
        ArtifactError: the pack could not be written whole.
    """
    if isinstance(source, EcgPack):
        _require_few_left_out(source, max_bad_fraction)
        return source
    place = packed_beside(run)
    is_other = is_ecg_pack(place) and not _is_made_from(place, _made_from(source, packed_as(config))[0])
    return pack_ecgs(
        source, place, config, max_bad_fraction=max_bad_fraction, num_workers=num_workers, overwrite=is_other
    )
