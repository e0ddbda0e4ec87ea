"""Files that are either whole or not there.

Everything the project writes goes through here: into a temporary sibling first, flushed to the disk, then renamed, so
that a kill or a full disk never leaves something under the final name that a later run would take for complete.
"""

import contextlib
import hashlib
import json
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pacx.core.errors import ArtifactError, DataError, UsageError

if sys.platform == "win32":
    raise UsageError("PaCX runs on Linux and macOS; on Windows, run it in the Windows Subsystem for Linux (WSL)")
else:
    import fcntl

_PARTIAL = ".partial-"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_tree(root: Path) -> None:
    """Flush a folder that is whole; its files get an ordinary file's permissions, as safetensors gives them none."""
    mode = root.stat().st_mode & 0o666
    for path in [*root.rglob("*"), root]:
        if path.is_file() and not path.is_symlink():
            path.chmod(mode)
        _sync(path)


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()


def is_partial(path: Path) -> bool:
    """Whether a file or folder is half-written: being written now, or left by a killed process."""
    return path.name.startswith(_PARTIAL)


def discard_partials(folder: Path) -> None:
    """Remove what killed processes left half-written in a folder that only this process writes to."""
    for path in folder.glob(f"{_PARTIAL}*"):
        _discard(path)


def _partial_beside(path: Path) -> Path:
    return path.with_name(f"{_PARTIAL}{uuid.uuid4().hex[:12]}-{path.name}")


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of ``path``, removed on any failure; say operating system errors in a sentence."""
    partial = _partial_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
    except OSError as error:
        raise ArtifactError(
            f"cannot write {path}: {error.strerror or error}; free space or choose another place, then run again"
        ) from error
    finally:
        _discard(partial)


@contextlib.contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Write one file atomically: fill the yielded path; it takes its final name when the block ends without error.

    Raises:
        ArtifactError: the operating system refused (no space, no permission); nothing is left behind.
    """
    with _writing(path) as partial:
        yield partial
        _sync(partial)
        partial.replace(path)
        _sync(path.parent)


@contextlib.contextmanager
def staged_directory(path: Path) -> Iterator[Path]:
    """Write one folder atomically: fill the yielded folder; it replaces ``path`` when the block ends without error.

    Raises:
        ArtifactError: the operating system refused (no space, no permission); nothing is left behind.
    """
    with _writing(path) as partial:
        partial.mkdir()
        yield partial
        _sync_tree(partial)
        if path.exists():
            retired = _partial_beside(path)
            path.rename(retired)
            partial.rename(path)
            _discard(retired)
        else:
            partial.rename(path)
        _sync(path.parent)


def partial_folder(path: Path) -> Path:
    """Where ``resumable_directory`` keeps what is done until ``path`` is whole."""
    return path.with_name(f"{_PARTIAL}{path.name}")


@contextlib.contextmanager
def resumable_directory(path: Path) -> Iterator[Path]:
    """``staged_directory`` for long work: whatever ends it early leaves the partial folder, for the next call.

    A kill, an interrupt, a full disk, a dead worker: what is done has cost hours and is as good as before. Whoever
    fills the folder empties it where nothing in it is worth keeping; an empty one is removed. Its name is a function of
    ``path`` alone, so he must first see whether what it holds is of the same work. Only one process may be at it at a
    time.

    Raises:
        UsageError: another process is writing ``path`` right now.
        ArtifactError: the operating system refused (no space, no permission); the partial folder stays.
    """
    partial = partial_folder(path)
    try:
        partial.mkdir(parents=True, exist_ok=True)
        with _held(partial):
            try:
                yield partial
            except BaseException:
                with contextlib.suppress(OSError):  # it holds work
                    partial.rmdir()
                raise
            _sync_tree(partial)
            retired = _partial_beside(path)
            if path.exists():
                path.rename(retired)
            partial.rename(path)
            _discard(retired)
            _sync(path.parent)
    except OSError as error:
        refused = ArtifactError(
            f"cannot write {path}: {error.strerror or error}; free space or choose another place, then run again"
        )
        refused.__notes__ = getattr(error, "__notes__", [])
        raise refused from error


@contextlib.contextmanager
def scratch_directory(path: Path) -> Iterator[Path]:
    """A folder beside ``path`` for the work that leads to it; removed when the block ends without error.

    A kill or an error leaves it, and the next call for the same path yields it again, so whoever fills it must first
    see whether what it holds is of the same work. Only one process may be at it at a time.

    Raises:
        UsageError: another process is making ``path`` right now.
        ArtifactError: the operating system refused (no space, no permission).
    """
    folder = path.with_name(f"{_PARTIAL}{path.name}.work")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(
            f"cannot write {folder}: {error.strerror or error}; free space or choose another place, then run again"
        ) from error
    with _held(folder):
        yield folder
        _discard(folder)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a folder for this process alone; the operating system lets go of it whatever ends the process."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"another process is writing in {folder}; wait for it, or choose another place") from error
        yield
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with staged_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Write a JSON file atomically; NaN is refused, because readers disagree about it."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    """Read a JSON file.

    Raises:
        DataError: the file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; the folder it belongs to is not complete") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not valid JSON ({error}); make it again") from error


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
