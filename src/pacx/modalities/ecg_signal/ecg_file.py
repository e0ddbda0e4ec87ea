"""An ECG file of any format: which one it is, how many recordings it holds, and each of them when it is asked for.

A format is one file in ``formats/`` that carries a ``FORMAT``; ``ecg_formats`` finds it, and what a file is its content
says (docs/adding/ecg-format.md). Readers say what is wrong with a recording in an ``UnusableError``, or let their
library fail as it does: everything is told in one sentence here, with the file's name and nothing of its content.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar, NamedTuple

from pacx.core.discovery import Plugins, discover
from pacx.core.errors import DataError, PacxError, UsageError
from pacx.data.file_names import as_text, on_disk
from pacx.data.folder_walk import LED_NOWHERE, OF_OTHER_KINDS, cannot_be_opened, counted, files_below, is_folder
from pacx.modalities.ecg_signal.facts import NO_FACTS, EcgFacts, UnusableError
from pacx.modalities.ecg_signal.record import WHOLE, EcgRecord, Window

NUM_HEAD_BYTES = 4096
"""Bytes from a file's beginning by which it is recognised."""

_NO_ECG = "files that are no ECG in a format that is read"

HEADER_SUFFIX = ".hea"
"""A record is often named by its stem, or by its signal file: beside it lies a header that says all of it."""


class StoredEcgs(ABC):
    """An open file of recordings."""

    keys: Sequence[str]
    """The recordings in it, each by a name of its own in this file."""

    @abstractmethod
    def read(self, key: str, window: Window) -> EcgRecord:
        """One of them, reading no more than the format makes necessary.

        Raises:
            UnusableError: it cannot be used.
        """

    def close(self) -> None:  # noqa: B027 - most formats hold nothing open
        """Let go of the file."""


class EcgFormat(ABC):
    """A way to store ECGs in files."""

    title: ClassVar[str]
    """What people call such a file: "WFDB record", "GE MUSE XML file"."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    """Endings of names, in lower case, that nothing else has: such a file is damaged where its content is none."""

    @abstractmethod
    def recognises(self, head: bytes, path: Path) -> bool:
        """Whether a file is of this format.

        Args:
            head: its first ``NUM_HEAD_BYTES``; fewer where it is shorter.
            path: the file, for formats that the first bytes do not tell.
        """

    def parts(self, path: Path) -> Iterable[Path]:
        """Other files that belong to this one and are no recordings of their own."""
        return ()

    @abstractmethod
    def open(self, path: Path, facts: EcgFacts) -> StoredEcgs:
        """Open a file.

        Raises:
            UnusableError: it cannot be used.
        """


class OneEcgFormat(EcgFormat):
    """A way to store one ECG in a file."""

    @abstractmethod
    def read(self, path: Path, window: Window, facts: EcgFacts) -> EcgRecord:
        """Read it, no more than the format makes necessary.

        What a header claims has to be held against the size of the file, or ``core.host.require_memory``, before
        memory is taken for it.

        Raises:
            UnusableError: it cannot be used.
        """

    def open(self, path: Path, facts: EcgFacts) -> StoredEcgs:
        """The file, which is opened when its recording is read."""
        return _OneStored(self, path, facts)


@dataclass(frozen=True)
class _OneStored(StoredEcgs):
    kind: OneEcgFormat
    path: Path
    facts: EcgFacts
    keys = ("",)

    def read(self, key: str, window: Window) -> EcgRecord:
        return self.kind.read(self.path, window, self.facts)


@dataclass(frozen=True)
class EcgFile:
    """An open ECG file.

    Args:
        path: where it lies.
        title: of its format.
        stored: its recordings as the format hands them out.
    """

    path: Path
    title: str
    stored: StoredEcgs

    @property
    def keys(self) -> Sequence[str]:
        """The recordings in it; ("",) where a file of this format holds one."""
        return self.stored.keys

    def read(self, key: str = "", window: Window = WHOLE) -> EcgRecord:
        """Read one recording, or a stretch of it.

        ``Window(0, 0)`` costs little in most formats and says rate, leads, length and start.

        Raises:
            DataError: it cannot be used, or there is none of that key.
        """
        with _told(str(EcgRef(self.path, key)), self.title):
            try:
                return self.stored.read(key, window)
            except KeyError:
                if key in self.keys:
                    raise
                raise UnusableError("is not in its file") from None


class EcgRef(NamedTuple):
    """Which recording is meant: as text its file, and its key behind a # where that holds many.

    Args:
        path: the file.
        key: the recording in it; "" where it holds one.
    """

    path: Path
    key: str = ""

    @classmethod
    def parse(cls, written: "EcgRef | Path") -> "EcgRef":
        """The recording that is meant by ``FILE`` or ``FILE#KEY``; a file of that whole name comes first."""
        if isinstance(written, EcgRef):
            return written
        name, has_key, key = written.name.partition("#")
        return cls(written.with_name(name), key) if has_key and name and not written.exists() else cls(written)

    def __str__(self) -> str:
        return f"{as_text(self.path)}#{self.key}" if self.key else as_text(self.path)


def recordings_in(files: Iterable[Path], facts: EcgFacts = NO_FACTS) -> list[EcgRef]:
    """Every recording in some files, in order; a file that cannot be opened stands for one, and reading it says why."""
    found: list[EcgRef] = []
    for path in files:
        try:
            with open_ecg(path, facts) as file:
                found += [EcgRef(file.path, key) for key in file.keys]
        except DataError:
            found.append(EcgRef(path))
    return found


@contextmanager
def open_ecg(path: Path, facts: EcgFacts = NO_FACTS) -> Iterator[EcgFile]:
    """Open an ECG file of any format.

    Args:
        path: the file; a WFDB record may be named by its header, its signal file, or without an ending.
        facts: what the file may not say.

    Raises:
        DataError: it is not there, of no format that is read, or damaged.
    """
    path = _header_of(path)
    kind = format_of(path)
    if kind is None:
        known = ", ".join(f"{each.title}s" for each in _kinds())
        raise DataError(f"{as_text(path)} is no ECG in a format that is read ({known}); leave it out")
    with _told(as_text(path), kind.title):
        stored = kind.open(path, facts)
        if not stored.keys:
            stored.close()
            raise UnusableError("holds no recording; leave it out")
    try:
        yield EcgFile(path, kind.title, stored)
    finally:
        stored.close()


def format_of(path: Path) -> EcgFormat | None:
    """The format of a file, by its content; where that is of none, the one that its ending promises.

    Raises:
        DataError: the file cannot be opened.
    """
    try:
        with path.open("rb") as file:
            head = file.read(NUM_HEAD_BYTES)
    except FileNotFoundError:
        name = as_text(path)
        raise DataError(f"{name} has no header ({HEADER_SUFFIX}) and is no file itself; copy it") from None
    except OSError as error:
        raise cannot_be_opened(path, error) from error
    found = next((each for each in _kinds() if each.recognises(head, path)), None)
    return found or next((each for each in _kinds() if path.name.lower().endswith(each.suffixes)), None)


def ecg_formats() -> Plugins[EcgFormat]:
    """Every format that is read, by name: ours, and the entry points ``pacx.ecg_formats`` of others."""
    room = "pacx.modalities.ecg_signal.formats"
    return discover(room, "FORMAT", EcgFormat, group="pacx.ecg_formats")  # type: ignore[type-abstract]  # plug-ins derive from it


@cache
def _kinds() -> tuple[EcgFormat, ...]:
    return tuple(ecg_formats().usable().values())


class FoundEcgFiles(NamedTuple):
    """Files that hold ECGs, in order, and what is to be said of others beside them."""

    files: list[Path]
    notes: tuple[str, ...]


def ecg_files(paths: Path | Sequence[Path]) -> FoundEcgFiles:
    """The files that hold ECGs: of a folder all at any depth, recognised by content; otherwise those that were named.

    Raises:
        UsageError: there is none in a folder.
        DataError: a folder or file cannot be opened.
    """
    found, notes = [], []
    for path in [paths] if isinstance(paths, Path) else paths:
        if not is_folder(path):
            found.append(_header_of(path))
            continue
        below = files_below(path, lambda file: format_of(file) is not None)
        if not below.chosen:
            raise UsageError(f"{path} has no ECG in it in a format that is read; give a folder that has")
        chosen = [on_disk(path / name) for name in below.chosen]
        parts = _parts_of(chosen)
        found += [file for file in chosen if file not in parts]
        others = tuple(name for name in below.passed_over.get(OF_OTHER_KINDS, ()) if on_disk(path / name) not in parts)
        lost = below.passed_over.get(LED_NOWHERE, ())
        if beside := counted({what: each for what, each in ((_NO_ECG, others), (LED_NOWHERE, lost)) if each}):
            notes.append(f"{path} holds beside its ECGs {beside}")
    return FoundEcgFiles(found, tuple(notes))


def without_parts(files: Sequence[Path]) -> list[Path]:
    """ECG files without those that belong to another among them: signal files, segments, descriptions."""
    parts = _parts_of(files)
    return [file for file in files if file not in parts]


def _parts_of(files: Sequence[Path]) -> set[Path]:
    return {part for file in files if (kind := format_of(file)) for part in kind.parts(file)}


def _header_of(path: Path) -> Path:
    """The header beside a record's stem or signal file, or the path itself."""
    if path.suffix != HEADER_SUFFIX:
        for header in (path.with_name(path.name + HEADER_SUFFIX), path.with_suffix(HEADER_SUFFIX)):
            if header.is_file():
                return header
    return path


@contextmanager
def _told(name: str, title: str) -> Iterator[None]:
    """Say in one sentence what a reader or its library found wrong; warnings quote headers and are not shown.

    The libraries have no exceptions of their own for damaged files: over one of them they may raise anything.
    """
    name = name.removesuffix(HEADER_SUFFIX)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UnusableError as reason:
        raise DataError(f"{name} {reason}") from None
    except (PacxError, ModuleNotFoundError):
        raise
    except Exception as error:
        raise DataError(f"{name} is not a readable {title} ({type(error).__name__}); copy it again") from error
