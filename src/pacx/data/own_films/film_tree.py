"""What a tree of films without a table says by its folders: splits, classes, and where patients may be named.

``train/ill/1.png``, ``archive/chest_xray/Train/ill/1.png`` and ``ill/train/1.png`` say the same. All films lie in
folders that name a split, or none does; a tree that is divided for some of its films only is refused, because the
others would be trained on, or tested with, unseen.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from pacx.core.errors import DataError, UsageError
from pacx.data.own_films.split_words import is_about_splits, split_of
from pacx.data.records import shown

_FOLDS = re.compile(r"(?:k?fold|cv|cross|split|run|repeat)s?[\W_]*(?:val(?:idation)?)?[\W_]*\d+", re.IGNORECASE)
_NAMES_A_PATIENT = re.compile(
    r"(?:patient|pat|pt|pid|id|mrn|subject|subj|sub|person|participant|case)[\W_]?[a-z]{0,2}\d+|p?\d{5,}", re.IGNORECASE
)


@dataclass(frozen=True)
class FilmTree:
    """Films by their paths below a root, as text with forward slashes.

    Args:
        root: for messages.
        paths: of the films, at least one.
    """

    root: Path
    paths: Sequence[str]

    def splits(self) -> list[str]:
        """The split of each film, "" where the tree names none.

        Raises:
            UsageError: folders name splits for some of the films only, or in a way that two readers would read in two.
        """
        level = self._split_level()
        return [""] * len(self.paths) if level is None else [_split_at(path, level) for path in self.paths]

    def divided(self) -> list[str] | None:
        """The split of each film by the folders in which the films differ; None where these divide nothing.

        A table's own films may all lie in ``train_images``, which says nothing of how they are to be divided.

        Raises:
            UsageError: as ``splits``.
        """
        shared = _num_shared([path.split("/")[:-1] for path in self.paths])
        split = FilmTree(self.root, ["/".join(path.split("/")[shared:]) for path in self.paths]).splits()
        return split if len(set(split)) > 1 else None

    def classes(self) -> list[str | None]:
        """The folder that names each film's class, None for a film that lies in no such folder.

        It is the first folder below the one that names the split, or the one above that; without splits, the first
        below whatever folders all films share.

        Raises:
            DataError: there is no such folder, or two are one word in two spellings.
        """
        level = self._split_level()
        folders = [path.split("/")[:-1] for path in self.paths]
        below = folders
        if level is not None:
            below = [[part for part in parts[level + 1 :] if not is_about_splits(part)] for parts in folders]
        shared = _num_shared(below)
        start = shared if any(len(parts) > shared for parts in below) else 0
        named = [next(iter(parts[start:]), None) for parts in below]
        if level is not None and level > _num_shared(folders) and not any(named):
            named = [parts[level - 1] for parts in folders]
        names = sorted({name for name in named if name is not None})
        if not names:
            raise DataError(f"{self.root} has no sub-folder with images to take labels from; expected one per class")
        by_spelling = Counter(_folded(name) for name in names)
        if twice := [name for name in names if by_spelling[_folded(name)] > 1]:
            raise DataError(
                f"{self.root} has folders of classes that differ in nothing but spelling: {shown(twice)}; rename them"
            )
        return named

    def patients_at(self, level: int) -> list[str]:
        """The patient of each film, by the folder at that level below the root, 1 being the first.

        Raises:
            DataError: a film lies above that level.
        """
        return [folder_at(path, level, self.root) for path in self.paths]

    def likely_patient_level(self) -> int | None:
        """The level at which every film has a folder that looks as if it named the patient (patient00001)."""
        folders = [path.split("/")[:-1] for path in self.paths]
        for level in range(min(map(len, folders))):
            names = {parts[level] for parts in folders}
            if len(names) > 1 and all(_NAMES_A_PATIENT.fullmatch(name) for name in names):
                return level + 1
        return None

    def num_names_of_patients(self) -> int:
        """How many files are named as if the name began with the patient's, and share that with another file."""
        names = [_NAMES_A_PATIENT.match(path.rpartition("/")[2].split("_")[0]) for path in self.paths]
        count = Counter(name[0].casefold() for name in names if name)
        return sum(number for number in count.values() if number > 1)

    def _split_level(self) -> int | None:
        """Which folder of every film's path names the split, 0 being the first; None where none names any."""
        folders = [path.split("/")[:-1] for path in self.paths]
        for level in range(max(map(len, folders))):
            words = [parts[level] if len(parts) > level else None for parts in folders]
            about = [word is not None and is_about_splits(word) for word in words]
            if not any(about):
                continue
            self._require_all(folders, words, about, level)
            if len(parents := {"/".join(parts[:level]) for parts in folders}) > 1:
                folds = sorted(name for name in parents if _FOLDS.search(name))
                if folds:
                    raise UsageError(
                        f"{self.root} is divided more than once, in the folders {shown(folds)}; give one of them as "
                        "root"
                    )
            return level
        return None

    def _require_all(self, folders: list[list[str]], words: list[str | None], about: list[bool], level: int) -> None:
        unclear = sorted(
            {word for word, is_it in zip(words, about, strict=True) if is_it and word and not split_of(word)}
        )
        if unclear:
            raise UsageError(
                f"{self.root} has a folder {shown(unclear)}, which may mean another split to you than to us; rename it "
                "to train, val or test"
            )
        if all(about):
            return
        known = sorted({word for word, is_it in zip(words, about, strict=True) if is_it and word})
        others = Counter(
            "/".join(parts[: level + 1]) + "/" if len(parts) > level else path
            for path, parts, is_it in zip(self.paths, folders, about, strict=True)
            if not is_it
        )
        # A zip may hold its own folder once more, and every film twice.
        tails = {_from_split(path) for path, is_it in zip(self.paths, about, strict=True) if is_it}
        again = sum(_from_split(path) in tails for path, is_it in zip(self.paths, about, strict=True) if not is_it)
        repeats = f" ({again} of these films have the names of others and may be a second copy)" if again else ""
        raise UsageError(
            f"{self.root} is divided into {shown(known)}, but {sum(others.values())} films lie elsewhere: "
            f"{shown(sorted(others))}{repeats}; move them away, put them into a split, or say the splits in a "
            "column 'split' of a table"
        )


def folder_at(path: str, level: int, root: Path) -> str:
    """The folders of a path as far as a level below the root, 1 being the first.

    Raises:
        DataError: the file lies above it.
    """
    folders = path.split("/")[:-1]
    if len(folders) < level:
        raise DataError(f"{path} lies above folder level {level} of {root}, which was said to name the patient")
    return "/".join(folders[:level])


def _split_at(path: str, level: int) -> str:
    return split_of(path.split("/")[level]) or ""


def _from_split(path: str) -> str:
    """What of a path follows the folder above its split; the path where there is none."""
    parts = path.split("/")
    first = next((place for place, part in enumerate(parts[:-1]) if split_of(part)), 0)
    return "/".join(parts[first:])


def _folded(name: str) -> str:
    return re.sub(r"[\s_]+|(?<=\w)-(?=\w)", "", name).casefold()


def _num_shared(folders: Sequence[Sequence[str]]) -> int:
    """How many first folders all films share."""
    return sum(1 for _ in takewhile(lambda names: len(set(names)) == 1, zip(*folders, strict=False)))
