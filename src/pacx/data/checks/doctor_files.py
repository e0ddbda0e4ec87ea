"""The doctor's look at files: those that are missing, those too many, and those that cannot be read."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.core.errors import ArtifactError
from pacx.core.progress import progress
from pacx.core.randomness import sample_keys
from pacx.core.workers import in_order
from pacx.data.dataset import Finding
from pacx.data.images.array_rows import file_of, is_there
from pacx.data.images.decode import UnreadableImage, decode_grey, decode_mask
from pacx.data.packs.sources import FILMS_PER_CHUNK, Film, films, paths, source_fingerprint
from pacx.data.records import Records, shown

_FILES_AT_ONCE = 4096


def missing_files(records: Records) -> Iterator[Finding]:
    """Files that the records name and that are not there."""
    missing: list[str] = []
    with progress("looking for files", len(records), "films") as bar:
        for column, path in paths(records):
            if not is_there(records.root / path):
                missing.append(path)
            bar.advance(column == "image_path")
    if missing:
        message = f"{len(missing)} files are not there: {shown(missing)}; get them again"
        yield Finding(check="missing files", message=message, files=tuple(missing))


def surplus_files(records: Records, root: Path, patterns: Sequence[str]) -> Iterator[Finding]:
    """Image and mask files below ``root`` that no record names."""
    if not patterns:
        return
    known = np.unique(np.concatenate([_keys(batch) for batch in _batches(_full(records))] or [_keys([])]))
    surplus: list[str] = []
    for batch in _batches(os.path.normpath(path) for pattern in patterns for path in root.glob(pattern)):
        is_known = np.isin(_keys(batch), known)
        surplus += [path for path, is_one in zip(batch, is_known, strict=True) if not is_one and Path(path).is_file()]
    if surplus:
        below = [os.path.relpath(path, root) for path in surplus]
        message = f"{len(below)} files belong to no record: {shown(below)}; the dataset does not have them"
        yield Finding(check="surplus files", message=message, files=tuple(below))


def _full(records: Records) -> Iterator[str]:
    return (os.path.normpath(file_of(records.root / path)) for _, path in paths(records))


def _batches(names: Iterable[str]) -> Iterator[list[str]]:
    """A few thousand names at a time: their keys take an eighth of the room they would take together."""
    batch: list[str] = []
    for name in names:
        batch.append(name)
        if len(batch) == _FILES_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _keys(names: Sequence[str]) -> NDArray[np.uint64]:
    return sample_keys(list(names))


@dataclass(frozen=True)
class _Chunk:
    """What was wrong with a few films: (file, reason) of the unreadable, masks that do not have their film's size."""

    unreadable: tuple[tuple[str, str], ...]
    wrong_size: tuple[str, ...]


def unreadable_films(
    records: Records, *, state: Path, num_samples: int | None, num_workers: int, is_size_shared: bool
) -> tuple[list[Finding], int]:
    """Decode films, with their masks, and say which cannot be.

    Args:
        records: the films.
        state: the file of what was checked already; see ``pacx.data.checks.doctor.examine``.
        num_samples: how many, evenly drawn; None takes all.
        num_workers: decoding processes.
        is_size_shared: whether a mask must have its film's size.

    Returns:
        the findings, and how many films were decoded.
    """
    num_films = len(records)
    num_checked = num_films if num_samples is None else min(num_samples, num_films)
    rows = np.unique(np.linspace(0, num_films - 1, num_checked).round().astype(np.int64))
    unreadable: list[tuple[str, str]] = []
    wrong_size: list[str] = []
    with _State(state, f"{source_fingerprint(records)} {num_checked}") as checked:
        num_done = min(len(checked.chunks) * FILMS_PER_CHUNK, len(rows))
        with progress("reading films", len(rows), "films") as bar:
            for chunk in checked.chunks:
                unreadable += chunk.unreadable
                wrong_size += chunk.wrong_size
            bar.advance(num_done)
            for chunk in in_order(_check_chunk, films(records, rows[num_done:]), num_workers):
                checked.add(chunk)
                unreadable += chunk.unreadable
                wrong_size += chunk.wrong_size
                bar.advance(
                    min(FILMS_PER_CHUNK, len(rows) - num_done), note=f"{len(unreadable)} bad" * bool(unreadable)
                )
                num_done += FILMS_PER_CHUNK
    findings = []
    if unreadable:
        named = shown([f"{file} ({reason})" for file, reason in unreadable])
        findings.append(
            Finding(
                check="readable films",
                message=f"{len(unreadable)} of the {len(rows)} films decoded cannot be read: {named}",
                files=tuple(f"{file}: {reason}" for file, reason in unreadable),
            )
        )
    if wrong_size and is_size_shared:
        message = f"{len(wrong_size)} masks have another size than their film: {shown(wrong_size)}"
        findings.append(Finding(check="mask size", message=message, files=tuple(wrong_size)))
    return findings, len(rows)


def _check_chunk(some: list[Film]) -> _Chunk:
    unreadable, wrong_size = [], []
    for film in some:
        shape = None
        try:
            if is_there(film.root / film.image):  # otherwise it is missing, and was named as that
                shape = decode_grey(film.root / film.image).shape
        except UnreadableImage as error:
            unreadable.append((film.image, error.reason))
        for mask in film.masks:
            if not mask or not is_there(film.root / mask):
                continue
            try:
                is_same = decode_mask(film.root / mask).shape == shape
            except UnreadableImage as error:
                unreadable.append((mask, error.reason))
            else:
                if shape is not None and not is_same:
                    wrong_size.append(mask)
    return _Chunk(tuple(unreadable), tuple(wrong_size))


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
        parsed = [json.loads(line) for line in lines[:-1]]
        return [
            _Chunk(tuple((file, reason) for file, reason in line["unreadable"]), tuple(line["wrong_size"]))
            for line in parsed
        ]

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
        self._file.write(_line(chunk))
        self._file.flush()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._file.close()
        if kind is None:
            self._path.unlink()
