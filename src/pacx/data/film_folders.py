"""The films below a folder, for every verb: which files may be films, and which DICOM objects among them are none.

What a file is, its content decides; it is opened only where its name does not say, and where a DICOM header has to tell
a film from a CT slice or a report. What is no film is counted by what it is, and never a bad film.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from pacx.core.errors import DataError
from pacx.core.progress import progress
from pacx.data.file_kinds import FILM_SUFFIXES, FileKind, kind_of_file
from pacx.data.folder_walk import LED_NOWHERE, TWICE, FolderFiles, cannot_be_opened, counted, files_below
from pacx.data.images.array_rows import ImageRef
from pacx.data.images.dicom_objects import FOR_PROCESSING, DicomObject

_PICTURE_SUFFIXES = tuple(suffix for suffix in FILM_SUFFIXES if suffix not in (".dcm", ".dicom"))
MASKS = "masks by their names"
_MASK_FOLDER = re.compile(r"(?:.*[\W_])?masks?(?:[\W_].*)?|(?:segmentation|annotation)s?|ground[\W_]?truths?|gt")
_MASK_FILE = re.compile(r".+[\W_]masks?(?:[\W_]?\d+)?")
_INDEX_NAME = "DICOMDIR"
_ANY_DEPTH = "**"
_OTHER_SUFFIXES = (
    ".csv", ".tsv", ".txt", ".json", ".jsonl", ".xml", ".html", ".htm", ".md", ".rst", ".rtf", ".log", ".yaml", ".yml",
    ".toml", ".ini", ".cfg", ".pdf", ".doc", ".docx", ".xls", ".xlsx", ".ppt", ".pptx", ".odt", ".ods", ".zip", ".gz",
    ".tgz", ".tar", ".bz2", ".xz", ".zst", ".7z", ".rar", ".npy", ".npz", ".parquet", ".feather", ".pkl", ".h5",
    ".hdf5", ".mat", ".hea", ".dat", ".edf", ".nii", ".mha", ".mhd", ".nrrd", ".py", ".ipynb", ".r", ".m", ".sh",
    ".js", ".css", ".exe", ".dll", ".inf", ".lnk", ".url", ".db", ".sqlite", ".safetensors", ".pt", ".pth", ".onnx",
    ".mp4", ".avi", ".mov", ".wav", ".mp3", ".gif", ".webp", ".svg", ".ico", ".bak", ".old", ".orig", ".tmp", ".part",
    ".crdownload", ".filepart", ".lock", ".md5", ".sha256", "~",
)  # fmt: skip
"""Endings of what is no film, half of one or a copy; whatever ends otherwise (a UID's last part does) is opened."""


@dataclass(frozen=True)
class FilmFiles:
    """The films among files, in order, and what the others are.

    Args:
        films: paths as they came.
        objects: what the headers of DICOM films say, by path.
        left_out: DICOM objects that are no films, by what they are.
        num_unprocessed_alone: patients of whom there are detector values FOR PROCESSING and no film.
    """

    films: tuple[str, ...]
    objects: Mapping[str, DicomObject]
    left_out: Mapping[str, tuple[str, ...]]
    num_unprocessed_alone: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of results should know of what was left out."""
        if not self.left_out:
            return ()
        num = sum(map(len, self.left_out.values()))
        notes = [f"{num} DICOM files that are no chest films are left out: {counted(self.left_out)}."]
        if self.num_unprocessed_alone:
            notes.append(
                f"Patients with images FOR PROCESSING and no film: {self.num_unprocessed_alone}; ask the archive for "
                "those FOR PRESENTATION."
            )
        return tuple(notes)


@dataclass(frozen=True)
class FilmFolder:
    """The films below a folder; paths are relative to it, sorted as text.

    Args:
        films: of them, and of the DICOM objects that are none.
        passed_over: whatever else there is, by what it is.
    """

    files: FilmFiles
    passed_over: Mapping[str, tuple[str, ...]]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of results should know: objects left out, masks, and what links would have brought."""
        told = {what: paths for what, paths in self.passed_over.items() if what in (LED_NOWHERE, TWICE, MASKS)}
        return (*self.files.notes, *((f"Passed over: {counted(told)}.",) if told else ()))


def has_film_ending(path: Path) -> bool:
    """Whether a file is named as a film."""
    return path.name.lower().endswith(FILM_SUFFIXES)


def may_be_film(path: Path) -> bool:
    """Whether a file is named as a film, or is one by its content where its name does not say what it is.

    Raises:
        DataError: it cannot be opened.
    """
    name = path.name.lower()
    if path.name == _INDEX_NAME or name.endswith(_OTHER_SUFFIXES):
        return False
    return name.endswith(FILM_SUFFIXES) or _kind(path) is not None


def may_be_dicom_film(path: Path) -> bool:
    """Whether a file is a DICOM file by its content, or is named as one; and not an archive's index.

    Raises:
        DataError: it cannot be opened.
    """
    if path.name == _INDEX_NAME:
        return False
    return _kind(path) is FileKind.DICOM or path.name.lower().endswith((".dcm", ".dicom"))


def _kind(path: Path) -> FileKind | None:
    try:
        return kind_of_file(path)
    except OSError as error:
        raise cannot_be_opened(path, error) from error


def films_below(root: Path, may_be: Callable[[Path], bool] = may_be_film) -> FilmFolder:
    """The films below a folder.

    Args:
        root: the folder.
        may_be: of a file's path, whether it is to be looked at more closely.

    Raises:
        DataError: a folder or a file cannot be opened.
    """
    below = without_masks(candidates_below(root, may_be))
    return FilmFolder(films_among(below.chosen, root), below.passed_over)


def without_masks(below: FolderFiles) -> FolderFiles:
    """A folder's films without the pictures that are masks by their names, which are passed over.

    Many sets have a folder ``masks`` beside that of their films, which nobody means who names the folder of both.
    """
    masks = {path for path in below.chosen if _is_named_as_mask(path)}
    if not masks:
        return below
    films = tuple(path for path in below.chosen if path not in masks)
    return FolderFiles(films, {**below.passed_over, MASKS: tuple(sorted(masks))})


def _is_named_as_mask(path: str) -> bool:
    if not path.lower().endswith(_PICTURE_SUFFIXES):
        return False
    *folders, name = (re.sub(r"(?<=[a-z])(?=[A-Z])", " ", part).casefold() for part in path.split("/"))
    return any(map(_MASK_FOLDER.fullmatch, folders)) or bool(_MASK_FILE.fullmatch(name.rpartition(".")[0]))


def candidates_below(
    root: Path, may_be: Callable[[Path], bool], *, suffixes: tuple[str, ...] = FILM_SUFFIXES, pattern: str = ""
) -> FolderFiles:
    """The files below a folder that are looked for; links that lead nowhere are too, where they are named so.

    Args:
        root: the folder.
        may_be: of the path of a file that is there, whether it is looked for.
        suffixes: how names of files looked for end, in lower case; reading them says what is wrong with such links.
        pattern: of paths relative to the root, such as ``*/images/*.png`` or ``**/*.dcm``; by default all fit.

    Raises:
        DataError: a folder on the way, or a file looked for, cannot be opened.
    """
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    parts += ["*"] * (parts[-1:] == [_ANY_DEPTH])

    def fits(names: Sequence[str]) -> bool:
        return not parts or _fits(names, parts)

    below = files_below(
        root,
        lambda path: (not parts or fits(path.relative_to(root).parts)) and may_be(path),
        enters=lambda folder: not parts or _leads_on(folder.split("/"), parts),
    )
    passed_over = dict(below.passed_over)
    links = passed_over.pop(LED_NOWHERE, ())
    lost = {path for path in links if path.lower().endswith(suffixes) and fits(path.split("/"))}
    if others := tuple(path for path in links if path not in lost):
        passed_over[LED_NOWHERE] = others
    return FolderFiles(tuple(sorted([*below.chosen, *lost])), passed_over)


def films_among(paths: Sequence[str], root: Path = Path()) -> FilmFiles:
    """Leave out the DICOM objects that are no films.

    Args:
        paths: of files that may be films, relative to ``root``.
        root: the folder they lie in.

    Raises:
        DataError: a file cannot be opened.
    """
    films: list[str] = []
    objects: dict[str, DicomObject] = {}
    left_out: defaultdict[str, list[str]] = defaultdict(list)
    owners: defaultdict[str, set[str]] = defaultdict(set)
    for path, found in _with_objects(paths, root):
        what = found.other_than_film if found else ""
        if found:
            owners[what].add(found.patient or found.study)
        if what:
            left_out[what].append(path)
            continue
        films.append(path)
        if found:
            objects[path] = found
    alone = owners[FOR_PROCESSING] - owners[""] - {""}
    named = {_said(what, len(left_out[what])): tuple(left_out[what]) for what in sorted(left_out)}
    return FilmFiles(tuple(films), objects, named, len(alone))


def _said(what: str, count: int) -> str:
    """A noun in the number that fits: "archive indexes", "images of an eye"."""
    head, joint, rest = what.partition(" of ") if " of " in what else what.partition(" without ")
    return what if count == 1 else f"{head}{'es' if head.endswith('x') else 's'}{joint}{rest}"


def _with_objects(paths: Sequence[str], root: Path) -> Iterator[tuple[str, DicomObject | None]]:
    """Each path with what its header says, where it is DICOM; a picture's ending is believed, and decoding looks."""
    with progress("reading headers", len(paths), "files") as bar:
        for path in paths:
            yield path, None if path.lower().endswith(_PICTURE_SUFFIXES) else _object(ImageRef.parse(path, root))
            bar.advance()


def _object(ref: ImageRef) -> DicomObject | None:
    # Of what is not there, such as a link that leads nowhere, decoding says so.
    if ref.row is not None or not ref.is_there():
        return None
    from pacx.data.images.headers import read_object  # a third of a second, which most folders need not wait for

    try:
        return read_object(ref.file)
    except OSError as error:
        raise cannot_be_opened(ref.file, error) from error


def require_films(folder: FilmFolder, root: Path, what: str) -> None:
    """Refuse a folder without a film, and say what it holds instead.

    Args:
        folder: what was found.
        root: where.
        what: is expected, for the message.

    Raises:
        DataError: there is no film.
    """
    if not folder.files.films:
        others = counted({**folder.files.left_out, **folder.passed_over}) or "nothing"
        raise DataError(f"{root} holds no film; expected {what}; there are {others}")


def _fits(names: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether a path fits a pattern, name by name."""
    if not parts:
        return not names
    if parts[0] == _ANY_DEPTH:
        return any(_fits(names[start:], parts[1:]) for start in range(len(names)))
    return bool(names) and fnmatchcase(names[0], parts[0]) and _fits(names[1:], parts[1:])


def _leads_on(names: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether a folder may hold what fits a pattern."""
    if not names or parts[0] == _ANY_DEPTH:
        return True
    return len(parts) > 1 and fnmatchcase(names[0], parts[0]) and _leads_on(names[1:], parts[1:])
