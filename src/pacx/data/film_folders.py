"""The films below a folder: one walk, one order and one rule of what is passed over, for every verb.

Hidden files and folders are passed over, links to folders are not followed; whatever was passed over can be named.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pacx.data.file_kinds import FILM_SUFFIXES, FileKind, kind_of_file

_INDEX_FILE = "DICOMDIR"
_CHOSEN, _WALKED, _HIDDEN = "chosen", "walked", "hidden"


@dataclass(frozen=True)
class FolderFiles:
    """What lies below a folder; paths are relative to it, with forward slashes, sorted as text.

    Args:
        chosen: files that were looked for.
        passed_over: the other files, hidden or linked folders, and folders that cannot be opened, by what they are.
    """

    chosen: tuple[str, ...]
    passed_over: Mapping[str, tuple[str, ...]]

    def __str__(self) -> str:
        named = (f"{len(paths)} {what} (such as {paths[0]!r})" for what, paths in self.passed_over.items())
        return ", ".join(named) or "nothing"


def has_film_ending(path: Path) -> bool:
    """Whether a file is named as a film."""
    return path.name.lower().endswith(FILM_SUFFIXES)


def is_dicom_film(path: Path) -> bool:
    """Whether a file is a DICOM file by its content, and not an archive's index."""
    return path.name != _INDEX_FILE and path.is_file() and kind_of_file(path) is FileKind.DICOM


def files_below(root: Path, is_chosen: Callable[[Path], bool]) -> FolderFiles:
    """Walk through a folder.

    Args:
        root: the folder.
        is_chosen: of a file's path, whether it is looked for.
    """
    found: defaultdict[str, list[str]] = defaultdict(list)

    def closed(error: OSError) -> None:
        found["folders that cannot be opened"].append(os.path.relpath(error.filename, root))

    for folder, folders, names in os.walk(root, onerror=closed):
        below = Path(folder).relative_to(root)
        for name in folders:
            found[_kind_of_folder(Path(folder, name))].append((below / name).as_posix())
        for name in names:
            kind = _HIDDEN if name.startswith(".") else _CHOSEN if is_chosen(Path(folder, name)) else "of other kinds"
            found[kind].append((below / name).as_posix())
        folders[:] = [name for name in folders if not name.startswith(".")]
    paths = {what: tuple(sorted(found[what])) for what in found if what != _WALKED}
    return FolderFiles(paths.pop(_CHOSEN, ()), paths)


def _kind_of_folder(path: Path) -> str:
    if path.name.startswith("."):
        return _HIDDEN
    return "linked folders" if path.is_symlink() else _WALKED
