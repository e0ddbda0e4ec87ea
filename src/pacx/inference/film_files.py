"""Films as files through an encoder, however many and however often interrupted: embeddings, and which files are bad.

`paths -> squares -> embeddings, kept chunk by chunk beside the result`. A chunk holds the same files whenever it is
computed, so that a run that was killed goes on to the same bytes. A file that cannot be read is named and left out; too
many of them stop the run. Knows no torch: what embeds is handed in.
"""

import glob
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pacx.core.artifacts import discard_partials, read_json, scratch_directory, staged_file, write_json
from pacx.core.errors import DataError, UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.core.progress import progress
from pacx.core.quarantine import Quarantined, require_few_bad
from pacx.data.decoded_films import DecodedFilm, Film, decoded_films
from pacx.data.file_kinds import FILM_SUFFIXES
from pacx.data.file_names import as_text
from pacx.data.film_folders import candidates_below, films_among, may_be_film, without_masks
from pacx.data.folder_walk import FolderFiles, counted, is_folder
from pacx.data.images.array_rows import ImageRef
from pacx.inference.export_folder import Precision

_WORK = "work.json"
_WORK_FORMAT = 2


class OpenEmbedder(NamedTuple):
    """Something that embeds prepared films.

    Attributes:
        run: grey uint8 squares (N, S, S) to float32 (N, D).
        identity: of weights and runtime; another identity may give other numbers.
    """

    run: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
    identity: str


@dataclass(frozen=True, kw_only=True)
class FilmEmbedder:
    """What is known of such a thing before it is opened, which takes seconds in which films can be decoded.

    Attributes:
        open: opens it.
        preprocessing: how a film becomes a square.
        precision: what its matrix products are computed in.
    """

    open: Callable[[], OpenEmbedder]
    preprocessing: Preprocessing
    precision: Precision


class FilmEmbeddings(NamedTuple):
    """What came of N + M files.

    Attributes:
        paths: of the N films, in order.
        embeddings: float32 (N, D).
        bad: the M others.
    """

    paths: tuple[str, ...]
    embeddings: NDArray[np.float32]
    bad: tuple[Quarantined, ...]


class Expanded(NamedTuple):
    """What paths stand for: the files, and a sentence for each folder in which something was passed over."""

    files: list[Path]
    notes: list[str]


def expanded(words: Sequence[Path], is_wanted: Callable[[Path], bool] | None = None, what: str = "film") -> Expanded:
    """The files that paths stand for: themselves; of a folder everything below it that fits; of a pattern its matches.

    Args:
        words: files, folders and patterns.
        is_wanted: which files are looked for; by default films, which their content may tell, and DICOM objects that
            are no films are left out.
        what: the word for one of them.

    Raises:
        UsageError: a path is not there, or there is nothing to embed.
        DataError: a folder or a file cannot be opened.
    """
    suffixes = () if is_wanted else FILM_SUFFIXES

    def look_through(folder: Path, pattern: str = "") -> FolderFiles:
        below = candidates_below(folder, is_wanted or may_be_film, suffixes=suffixes, pattern=pattern)
        below = below if pattern or is_wanted else without_masks(below)  # a pattern says what is meant
        found.extend(ImageRef.parse(name, folder).file for name in below.chosen)
        return below

    found: list[Path] = []
    notes: list[str] = []
    for word in words:
        if is_folder(word):
            below = look_through(word)
            if below.passed_over:
                notes.append(f"passed over in {as_text(word)}: {counted(below.passed_over)}")
        elif ImageRef.parse(word).is_there():
            found.append(word)
        elif not look_through(*_split(word)).chosen:
            raise UsageError(f"{as_text(word)} does not exist; give files, folders or patterns that do")
    if is_wanted is None:
        sorted_out = films_among([str(path) for path in found])
        found = [Path(path) for path in sorted_out.films]
        notes += sorted_out.notes
    if not found:
        raise UsageError("; ".join([f"nothing to embed: no {what} in what was given", *notes]))
    return Expanded(list(dict.fromkeys(found)), notes)


def _split(word: Path) -> tuple[Path, str]:
    """The folder that a pattern such as ``films/**/*.dcm`` starts from, and the rest.

    The shell expands only what is not in quotes.

    Raises:
        UsageError: it is no pattern, or there is no such folder.
    """
    first = next((place for place, part in enumerate(word.parts) if glob.has_magic(part)), 0)
    folder = Path(*word.parts[:first])
    if not glob.has_magic(str(word)) or not is_folder(folder):
        raise UsageError(f"{as_text(word)} does not exist; give files, folders or patterns that do")
    return folder, "/".join(word.parts[first:])


@contextmanager
def embedded_files(
    files: Sequence[Path],
    out: Path,
    embedder: FilmEmbedder,
    *,
    batch_size: int,
    max_bad_fraction: float,
    num_workers: int = 1,
) -> Iterator[FilmEmbeddings]:
    """Embed files on the way to ``out``, which the block is to write; what is done survives a kill until it has.

    Args:
        files: films.
        out: the file that will be made of them; the work lies beside it until the block ends without error.
        embedder: the encoder.
        batch_size: films per forward pass, and per chunk that is kept.
        max_bad_fraction: share of the files that may be unreadable.
        num_workers: decoding processes, as for ``pacx.data.decoded_films``; never changes a bit. They begin while the
            encoder is opened, and go on while it computes.

    Raises:
        DataError: more files are unreadable; the message names some.
        UsageError: another process is making ``out`` right now, or an option is out of range.
        ArtifactError: the work cannot be written.
    """
    if batch_size < 1 or not 0 <= max_bad_fraction <= 1:
        raise UsageError(
            f"batch size {batch_size} and bad fraction {max_bad_fraction}: expected at least 1 and a share in [0, 1]"
        )
    films = [Film(as_text(file), ImageRef.parse(file)) for file in files]
    decode = partial(decoded_films, size_px=embedder.preprocessing.image_size_px, num_workers=num_workers)
    first: Sequence[DecodedFilm] = ()
    with scratch_directory(out) as folder, ExitStack() as ending:
        if is_begun := (folder / _WORK).exists():  # then the encoder's identity decides what is left to decode
            opened = embedder.open()
        else:
            decoded = ending.enter_context(closing(decode(films)))
            opened, first = _open_beside(embedder, decoded)
        _claim(folder, files, embedder.preprocessing, opened.identity, batch_size)
        chunks = {
            folder / f"{start:09d}.npz": films[start : start + batch_size] for start in range(0, len(films), batch_size)
        }
        if is_begun:
            left = (chunk for kept, chunk in chunks.items() if not kept.is_file())
            decoded = ending.enter_context(closing(decode(list(chain.from_iterable(left)))))
        yield _embed(chunks, chain(first, decoded), opened, max_bad_fraction)


def _open_beside(embedder: FilmEmbedder, decoded: Iterator[DecodedFilm]) -> tuple[OpenEmbedder, Sequence[DecodedFilm]]:
    """Open an encoder while the first films are decoded, and workers go on with the next."""
    with ThreadPoolExecutor(1) as beside:
        first = beside.submit(list, islice(decoded, 1))
        return embedder.open(), first.result()


def _claim(folder: Path, files: Sequence[Path], preprocessing: Preprocessing, identity: str, batch_size: int) -> None:
    """Keep what is in the folder if it is of this very work; else begin anew."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(json.dumps([str(file), ImageRef.parse(file).stamp()]).encode())
    asked = {
        "format": _WORK_FORMAT,
        "encoder": identity,
        "preprocessing": json.loads(json.dumps(preprocessing.to_json())),
        "files": digest.hexdigest(),
        "batch_size": batch_size,
    }
    discard_partials(folder)
    try:
        is_same = read_json(folder / _WORK) == asked
    except DataError:
        is_same = False
    if not is_same:
        for path in folder.iterdir():
            path.unlink()
        write_json(folder / _WORK, asked)


def _embed(
    chunks: Mapping[Path, Sequence[Film]],
    decoded: Iterator[DecodedFilm],
    embedder: OpenEmbedder,
    max_bad_fraction: float,
) -> FilmEmbeddings:
    num_films = sum(map(len, chunks.values()))
    paths: list[str] = []
    parts: list[NDArray[np.float32]] = []
    bad: list[Quarantined] = []
    with progress("embedding", num_films, "films") as shown:
        for kept, chunk in chunks.items():
            if not kept.is_file():
                _write_chunk(kept, embedder, list(islice(decoded, len(chunk))))
            with np.load(kept, allow_pickle=False) as saved:
                parts.append(saved["embeddings"])
                named = [Quarantined(**entry) for entry in json.loads(str(saved["bad"]))]
            excluded = {entry.file for entry in named}
            paths += [film.sample_id for film in chunk if film.sample_id not in excluded]
            bad += named
            shown.advance(len(chunk), note=f"{len(bad)} bad" if bad else "")
            require_few_bad("films", bad, num_films, max_bad_fraction, is_done=False)
    require_few_bad("films", bad, num_films, max_bad_fraction)
    return FilmEmbeddings(tuple(paths), np.concatenate([part for part in parts if len(part)]), tuple(bad))


def _write_chunk(path: Path, embedder: OpenEmbedder, films: Sequence[DecodedFilm]) -> None:
    squares = [film.square for film in films if film.square is not None]
    embeddings = embedder.run(np.stack(squares)) if squares else np.empty((0, 0), np.float32)
    bad = [asdict(fault) for film in films for fault in film.faults]
    with staged_file(path) as partial, partial.open("wb") as file:
        np.savez(file, embeddings=embeddings, bad=np.array(json.dumps(bad)))
