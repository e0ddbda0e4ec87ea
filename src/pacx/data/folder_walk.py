"""What lies below a folder: one walk, one order and one rule of what is passed over, for films, ECGs and all else.

Passed over: hidden names, what systems leave behind (``__MACOSX``, ``@eaDir``, ``lost+found``), pipes and devices.
Followed: links, to folders and to files. A folder or a file is taken once, where it really lies if that is below the
root, so that circles end and no film comes in twice. Whatever may not be opened is an error that names it: what cannot
be seen must not be missing in silence.
"""

import errno
import heapq
import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pacx.core.errors import DataError
from pacx.data.file_names import as_text

HIDDEN, OF_SYSTEMS, OF_OTHER_KINDS = "hidden", "left by an operating system", "of other kinds"
LED_NOWHERE, TWICE = "links that lead nowhere", "reached a second time by a link"
_CIRCLES, _NO_FILES = "links back to a folder above", "neither files nor folders"
_SYSTEMS_NAMES = {
    "__macosx", "@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "~snapshot", "lost+found",
    "$recycle.bin", "recycler", "system volume information", "thumbs.db", "desktop.ini",
}  # fmt: skip


@dataclass(frozen=True)
class FolderFiles:
    """What lies below a folder; paths are relative to it, as valid text, with forward slashes, sorted as text.

    Args:
        chosen: files that were looked for.
        passed_over: everything else, by what it is.
    """

    chosen: tuple[str, ...]
    passed_over: Mapping[str, tuple[str, ...]]

    def __str__(self) -> str:
        return counted(self.passed_over) or "nothing"


def counted(paths: Mapping[str, tuple[str, ...]]) -> str:
    """How many there are of each, with the first of them: "2 hidden (such as '.a'), ..."."""
    named = (f"{len(each)} {what} (such as '{' '.join(as_text(each[0]).split())}')" for what, each in paths.items())
    return ", ".join(named)


def is_hidden(name: str) -> bool:
    """Whether a name is hidden, or one that operating systems and storage leave among people's files."""
    return name.startswith(".") or name.casefold() in _SYSTEMS_NAMES


def cannot_be_opened(path: Path | str, error: OSError) -> DataError:
    """Say of a file or folder that it cannot be opened; what it would have held is not known, so the work ends."""
    return DataError(
        f"{as_text(path)} cannot be opened ({error.strerror or 'input/output error'}); see to it that it can be read, "
        "or take it out of the folder"
    )


def is_folder(path: Path) -> bool:
    """Whether there is a folder, or a link to one.

    Raises:
        DataError: nobody can tell, as a folder above it is closed.
    """
    try:
        return path.is_dir()
    except OSError as error:
        raise cannot_be_opened(path, error) from error


def files_below(
    root: Path, is_chosen: Callable[[Path], bool], *, enters: Callable[[str], bool] = lambda _: True
) -> FolderFiles:
    """Walk through a folder.

    Args:
        root: the folder.
        is_chosen: of the path of a file that is there, whether it is looked for.
        enters: of a folder's path relative to the root, whether it is walked through.

    Raises:
        DataError: a folder, a link or a file that is chosen cannot be opened.
    """
    return _Walk(root, is_chosen, enters).result()


class _Walk:
    """One walk: first through the folders that really lie below the root, then along the links found, in order."""

    def __init__(self, root: Path, is_chosen: Callable[[Path], bool], enters: Callable[[str], bool]) -> None:
        self._root, self._is_chosen, self._enters = root, is_chosen, enters
        self._found: defaultdict[str, list[str]] = defaultdict(list)
        self._chosen: list[str] = []
        self._linked_files: list[str] = []
        self._linked_folders: list[str] = []
        self._real_folders: dict[str, str] = {}  # a folder's real path by its path below the root

    def result(self) -> FolderFiles:
        self._tree("", os.path.realpath(self._root))
        real = set(self._real_folders.values())
        while self._linked_folders:
            folder = heapq.heappop(self._linked_folders)
            self._tree(folder, os.path.realpath(self._root / folder), real)
        self._take_linked_files()
        passed_over = {what: tuple(sorted(map(as_text, paths))) for what, paths in sorted(self._found.items())}
        return FolderFiles(tuple(sorted(map(as_text, self._chosen))), passed_over)

    def _tree(self, start: str, real_start: str, known: "set[str] | None" = None) -> None:
        """Walk through a folder without following a link; ``known`` grows by the folders walked through."""
        waiting = [(start, real_start)]
        while waiting:
            folder, real = waiting.pop()
            if known is not None:
                if real in known:
                    self._found[TWICE].append(folder)
                    continue
                known.add(real)
            self._real_folders[folder] = real
            waiting += self._folder(folder, real)

    def _folder(self, folder: str, real: str) -> list[tuple[str, str]]:
        """Sort out what a folder holds; returns the folders in it."""
        inner = []
        try:
            with os.scandir(self._root / folder) as entries:
                for entry in entries:
                    below = f"{folder}/{entry.name}" if folder else entry.name
                    if is_hidden(entry.name):
                        self._found[HIDDEN if entry.name.startswith(".") else OF_SYSTEMS].append(below)
                    elif entry.is_symlink():
                        self._link(below, real)
                    elif entry.is_dir():
                        if self._enters(below):
                            inner.append((below, f"{real.rstrip('/')}/{entry.name}"))
                    elif entry.is_file():
                        self._file(below)
                    else:
                        self._found[_NO_FILES].append(below)
        except OSError as error:
            raise cannot_be_opened(error.filename or self._root / folder, error) from error
        return inner

    def _link(self, below: str, real_folder: str) -> None:
        path = self._root / below
        try:
            path.stat()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            self._found[LED_NOWHERE].append(below)
            return
        if path.is_file():
            self._linked_files.append(below)
        elif not path.is_dir():
            self._found[_NO_FILES].append(below)
        elif _lies_in(real_folder, os.path.realpath(path)):
            self._found[_CIRCLES].append(below)
        elif self._enters(below):
            heapq.heappush(self._linked_folders, below)

    def _file(self, below: str) -> bool:
        path = self._root / below
        is_chosen = self._is_chosen(path)
        if is_chosen:
            require_readable(path)
        (self._chosen if is_chosen else self._found[OF_OTHER_KINDS]).append(below)
        return is_chosen

    def _take_linked_files(self) -> None:
        if not self._linked_files:
            return
        parts = (path.rpartition("/") for path in self._chosen)
        taken = {f"{self._real_folders[folder].rstrip('/')}/{name}" for folder, _, name in parts}
        for below in sorted(self._linked_files):
            leads_to = os.path.realpath(self._root / below)
            if leads_to in taken:
                self._found[TWICE].append(below)
            elif self._file(below):
                taken.add(leads_to)


def require_readable(path: Path) -> None:
    """Refuse a file that may not be opened.

    Raises:
        DataError: the file may not be read, or is not there.
    """
    if not os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
        try:
            path.open("rb").close()  # the last word: some file servers answer the question above wrongly
        except OSError as error:
            raise cannot_be_opened(path, error) from error


def _lies_in(folder: str, other: str) -> bool:
    return f"{folder}/".startswith(f"{other.rstrip('/')}/")
