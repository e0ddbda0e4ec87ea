"""The doctor's look at files: those that are missing, those too many, and those that cannot be read."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pacx.core.errors import ArtifactError
from pacx.core.progress import progress
from pacx.core.randomness import sample_keys
from pacx.data.dataset import Issue
from pacx.data.decoded_films import FILMS_AT_ONCE, DecodedFilm, batched, decoded_films
from pacx.data.file_names import as_text
from pacx.data.film_folders import candidates_below
from pacx.data.images.array_rows import ImageRef
from pacx.data.packs.sources import SourceStamps, films, images
from pacx.data.records import Records, shown

_FILES_AT_ONCE = 4096


def missing_files(records: Records) -> Iterator[Issue]:
    """Files that the records name and that are not there."""
    missing: list[str] = []
    with progress("looking for files", len(records), "films") as bar:
        for column, image in images(records):
            if not image.is_there():
                missing.append(image.name)
            bar.advance(column == "image_path")
    if missing:
        message = f"{len(missing)} files are not there: {shown(missing)}; get them again"
        yield Issue(check="missing files", message=message, files=tuple(missing))


def surplus_files(records: Records, root: Path, patterns: Sequence[str]) -> Iterator[Issue]:
    """Image and mask files below ``root`` that no record names."""
    if not patterns:
        return
    named = (as_text(os.path.normpath(image.file)) for _, image in images(records))
    keys = [np.empty(0, np.uint64), *map(sample_keys, batched(named, _FILES_AT_ONCE))]
    known = np.unique(np.concatenate(keys))
    surplus: list[str] = []
    below = (candidates_below(root, lambda _: True, pattern=pattern).chosen for pattern in patterns)
    found = (os.path.normpath(ImageRef.parse(path, root).file) for paths in below for path in paths)
    for batch in batched(found, _FILES_AT_ONCE):
        is_known = np.isin(sample_keys(list(map(as_text, batch))), known)
        surplus += [path for path, is_one in zip(batch, is_known, strict=True) if not is_one]
    if surplus:
        paths = [as_text(os.path.relpath(path, root)) for path in surplus]
        message = f"{len(paths)} files belong to no record: {shown(paths)}; the dataset does not have them"
        yield Issue(check="surplus files", message=message, files=tuple(paths))


@dataclass(frozen=True)
class _Chunk:
    """What was wrong with a few films: (file, reason) of the unreadable, masks that do not have their film's size."""

    unreadable: list[tuple[str, str]]
    wrong_size: list[str]


def unreadable_films(
    records: Records, *, state: Path, num_samples: int | None, num_workers: int, is_size_shared: bool
) -> tuple[list[Issue], int]:
    """Decode films, with their masks, and say which cannot be.

    Args:
        records: the films.
        state: the file of what was checked already; see ``pacx.data.checks.doctor.examine``.
        num_samples: how many, evenly drawn; None takes all.
        num_workers: decoding processes.
        is_size_shared: whether a mask must have its film's size.

    Returns:
        the issues, and how many films were decoded.
    """
    num_films = len(records)
    num_checked = num_films if num_samples is None else min(num_samples, num_films)
    rows = np.unique(np.linspace(0, num_films - 1, num_checked).round().astype(np.int64))
    with _State(state, f"{SourceStamps.of(records).fingerprint} {num_checked}") as checked:
        num_done = min(len(checked.chunks) * FILMS_AT_ONCE, len(rows))
        decoded = decoded_films(films(records, rows[num_done:]), size_px=0, num_workers=num_workers)
        with progress("reading films", len(rows), "films") as bar:
            bar.advance(num_done)
            num_bad = sum(len(chunk.unreadable) for chunk in checked.chunks)
            for several in batched(decoded, FILMS_AT_ONCE):
                checked.add(chunk := _chunk(several, records.root))
                num_bad += len(chunk.unreadable)
                bar.advance(len(several), note=f"{num_bad} bad" * bool(num_bad))
        unreadable = [fault for chunk in checked.chunks for fault in chunk.unreadable]
        wrong_size = [file for chunk in checked.chunks for file in chunk.wrong_size]
    issues = []
    if unreadable:
        named = shown([f"{file} ({reason})" for file, reason in unreadable])
        issues.append(
            Issue(
                check="readable films",
                message=f"{len(unreadable)} of the {len(rows)} films decoded cannot be read: {named}",
                files=tuple(f"{file}: {reason}" for file, reason in unreadable),
            )
        )
    if wrong_size and is_size_shared:
        message = f"{len(wrong_size)} masks have another size than their film: {shown(wrong_size)}"
        issues.append(Issue(check="mask size", message=message, files=tuple(wrong_size)))
    return issues, len(rows)


def _chunk(several: list[DecodedFilm], root: Path) -> _Chunk:
    """Files that are not there are left out: they were named as missing."""
    faults = (fault for each in several for fault in each.faults if ImageRef.parse(fault.file, root).is_there())
    return _Chunk([(fault.file, fault.reason) for fault in faults], [file for each in several for file in each.misfits])


def _line(chunk: _Chunk) -> str:
    return json.dumps(asdict(chunk)) + "\n"


class _State:
    """The file that remembers finished chunks, one line each below a line that says of what; gone when all are done."""

    def __init__(self, path: Path, examined: str) -> None:
        self._path, self._examined = path, examined
        self.chunks = self._read()

    def _read(self) -> list[_Chunk]:
        try:
            first, *lines = self._path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError):
            return []
        if first != self._examined:
            return []
        # The last piece is empty, or a line that was being written when the doctor was killed.
        return [_Chunk(**json.loads(line)) for line in lines[:-1]]

    def __enter__(self) -> "_State":
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("w", encoding="utf-8")
        except OSError as error:
            raise ArtifactError(
                f"cannot write {self._path}, which remembers what was checked: {error.strerror}; name another file"
            ) from error
        self._file.write("".join([self._examined + "\n", *map(_line, self.chunks)]))
        return self

    def add(self, chunk: _Chunk) -> None:
        self.chunks.append(chunk)
        self._file.write(_line(chunk))
        self._file.flush()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._file.close()
        if kind is None:
            self._path.unlink()
