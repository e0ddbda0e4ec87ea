"""Paths as tables write them to the files that are there, where only the way of writing differs.

A table comes from Windows, a Mac, another machine or a spreadsheet: backslashes, accents in two characters, another
case, no ending, another folder in front. Where exactly one file is meant it is taken, and a note says so; a film is
never guessed at by its last name alone, and no two names are given the same file.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pacx.core.errors import DataError
from pacx.data.file_kinds import FILM_SUFFIXES
from pacx.data.file_names import from_latin_1
from pacx.data.folder_walk import files_below
from pacx.data.images.array_rows import ImageRef
from pacx.data.records import shown

_IMAGE_FOLDER = "images"
_ROW = re.compile(r"(.*\.npy)(#\d+)")


@dataclass(frozen=True)
class NamedFiles:
    """The files that names stand for.

    Args:
        paths: one per name, relative to the root; "" for a blank name.
        notes: a sentence if some are written otherwise than they are named.
    """

    paths: list[str]
    notes: tuple[str, ...] = ()


def named_files(names: Sequence[str], root: Path, place: str) -> NamedFiles:
    """Find the files that a table names.

    Args:
        names: paths as the table writes them, relative to ``root`` or to its ``images`` folder, or absolute.
        root: the folder of the films.
        place: of the names, for messages, such as "column 'file' of index.csv".

    Raises:
        DataError: a name stands for no file, or not for one alone; or a folder below ``root`` cannot be opened.
    """

    def is_there(path: str) -> bool:
        return ImageRef.parse(path, root).is_there()

    first = next((name for name in names if name), "")
    in_sub_folder = not is_there(first) and is_there(f"{_IMAGE_FOLDER}/{first}")
    prefix = PurePosixPath(_IMAGE_FOLDER if in_sub_folder else "")
    written = {name: (prefix / _relative(name, root)).as_posix() for name in dict.fromkeys(names) if name}
    there = {name: path for name, path in written.items() if is_there(path)}
    if len(there) == len(written):
        return NamedFiles([written.get(name, "") for name in names])
    files = _Files(files_below(root, lambda _: True).chosen)
    found = {**there, **files.for_names([name for name in written if name not in there], there)}
    missing = [name for name in written if name not in found]
    if missing:
        raise DataError(
            f"{place} names {len(missing)} files that are not in {root}: {shown(missing)}; "
            f"{files.hint(missing)}correct the paths or leave those rows out"
        )
    others = {name: path for name, path in found.items() if name not in there}
    ways = ", ".join(dict.fromkeys(way for name, path in others.items() for way in _differences(name, path)))
    example = next(iter(others))
    note = (
        f"{len(others)} paths in {place} are written otherwise than the files are named ({ways}; such as '{example}' "
        f"for '{others[example]}')."
    )
    return NamedFiles([found.get(name, "") for name in names], (note,))


def _relative(name: str, root: Path) -> str:
    path = Path(name)
    return path.relative_to(root).as_posix() if path.is_absolute() and path.is_relative_to(root) else name


class _Files:
    """The files of a folder by how they may be written."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._by_spelling: defaultdict[str, list[str]] = defaultdict(list)
        self._by_last_name: defaultdict[str, list[str]] = defaultdict(list)
        for path in paths:
            spelling = _folded(from_latin_1(path))
            for each in {spelling, _without_ending(spelling)}:
                self._by_spelling[each].append(path)
            self._by_last_name[_last_name(spelling)].append(path)

    def for_names(self, missing: Sequence[str], there: Mapping[str, str]) -> dict[str, str]:
        """The files of names that are not there as they are written; names without one, or with several, are left."""
        spellings = {name: _folded(name) for name in missing}
        taken = set(there.values())
        found = max(
            (
                self._distinct({name: f"{prefix}{spelling}" for name, spelling in spellings.items()}, taken)
                for prefix in ("", f"{_IMAGE_FOLDER}/")
            ),
            key=len,
        )
        if found or there:
            return found
        for changed in self._other_folders(list(spellings.values())):
            found = self._distinct({name: changed[spelling] for name, spelling in spellings.items()}, taken)
            if len(found) == len(missing):
                return found
        return {}

    def _distinct(self, spellings: Mapping[str, str], taken: "set[str]") -> dict[str, str]:
        """Of each name the one file that it can mean, unless another name means that, too."""
        found = {name: path for name, spelling in spellings.items() if (path := self._only(spelling)) is not None}
        names: defaultdict[str, list[str]] = defaultdict(list)
        for name, path in found.items():
            names[path].append(name)
        return {name: path for name, path in found.items() if path not in taken and len(names[path]) == 1}

    def _only(self, spelling: str) -> str | None:
        """The file that is written so, if it is one."""
        row = _ROW.fullmatch(spelling)
        paths = self._by_spelling.get(row[1] if row else spelling, [])
        return paths[0] + (row[2] if row else "") if len(paths) == 1 else None

    def _other_folders(self, spellings: Sequence[str]) -> Iterator[Mapping[str, str]]:
        """All names without their first folders, then all names below a folder in which the first of them is."""
        depth = min(spelling.count("/") for spelling in spellings)
        for start in range(1, depth + 1):
            yield {spelling: "/".join(spelling.split("/")[start:]) for spelling in spellings}
        places = [_folded(path) for path in self._by_last_name.get(_last_name(spellings[0]), [])]
        above = {place.removesuffix(spellings[0]) for place in places if place.endswith(f"/{spellings[0]}")}
        if len(above) == 1:
            (folder,) = above
            yield {spelling: folder + spelling for spelling in spellings}

    def hint(self, missing: Sequence[str]) -> str:
        """What files there are that may be meant."""
        for name in missing:
            several = self._by_spelling.get(_folded(name), [])
            if len(several) > 1:
                return f"'{name}' may be any of {shown(several)}; "
            if several:
                return f"'{name}' would be '{several[0]}', which another row names; "
        for name in missing:
            if places := self._by_last_name.get(_last_name(_folded(name))):
                return f"a file like '{name}' is there as {shown(places)}; "
        if any("\\" in name for name in missing):
            return "they are written with backslashes, and are not there with slashes either; "
        return ""


def _folded(path: str) -> str:
    """A path in the one way in which spellings are compared: slashes, composed accents, no case."""
    parts = (part for part in path.replace("\\", "/").split("/") if part != ".")
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", "/".join(parts)).casefold())


def _without_ending(spelling: str) -> str:
    return next((spelling.removesuffix(each) for each in FILM_SUFFIXES if spelling.endswith(each)), spelling)


def _last_name(spelling: str) -> str:
    return _without_ending(spelling.rpartition("/")[2])


def _differences(name: str, path: str) -> Iterator[str]:
    """In what ways a name is written otherwise than its file."""
    if "\\" in name:
        yield "backslashes"
    parts, parts_of_file = name.replace("\\", "/").split("/"), from_latin_1(path).split("/")
    shared = min(len(parts), len(parts_of_file))
    tail, tail_of_file = "/".join(parts[-shared:]), "/".join(parts_of_file[-shared:])
    if _folded(tail) != _folded(tail_of_file):
        yield "no ending"
    composed, composed_of_file = (unicodedata.normalize("NFC", each) for each in (tail, tail_of_file))
    if not composed_of_file.startswith(composed):
        yield "another case"
    elif from_latin_1(path) != path or not tail_of_file.startswith(tail):
        yield "accents of another form"
    if len(parts) != len(parts_of_file):
        yield "other folders"
