"""Which films and patients packs have in common, with each other and within themselves.

`packs -> equal pixels -> alike in low frequencies -> alike pixel by pixel -> groups of copies`. A training film that
stands again, re-encoded, among the test films of another collection makes every score a little too good; several of
the public collections are made from each other. Mirror images and crops are not looked for.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from pacx.core.errors import UsageError
from pacx.core.progress import progress
from pacx.core.typed_json import TypedJson
from pacx.data.checks.film_hash import alike, low_frequencies, thumbnails
from pacx.data.packs.pack import Pack, drawn_by
from pacx.data.splits import patients_in_two_splits

MIN_CORRELATION = 0.99
_MIN_COSINE = 0.97
_COMPARED_SIDE_PX = 64
_FILMS_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class Copy:
    """One film of a group of copies."""

    pack: str
    sample_id: str
    patient_id: str
    split: str


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Films that show the same picture.

    Args:
        films: two or more.
        is_exact: whether all their packed pixels are equal.
        correlation: the lowest of the pixel correlations that hold the group together; 1 for exact ones.
    """

    films: tuple[Copy, ...]
    is_exact: bool
    correlation: float

    @property
    def is_across_splits(self) -> bool:
        """Whether two of them stand in different splits."""
        return len({film.split for film in self.films if film.split}) > 1


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What two packs, or one pack with itself, have in common.

    Args:
        first: a pack.
        second: another, or the same.
        exact: films of the first that have a copy with equal pixels in the second.
        near: films of the first that have another copy in the second.
        across_splits: films of the first with a copy, exact or near, in another split of the second.
        patients: known patients that occur in both; for a pack with itself, in two of its splits. None: nobody knows
            any patient of one of them.
    """

    first: str
    second: str
    exact: int
    near: int
    across_splits: int
    patients: int | None


@dataclass(frozen=True, kw_only=True)
class Overlap(TypedJson):
    """The answer: per pair of packs, and group by group.

    Args:
        shared: of every pair.
        copies: the groups.
        drawn_by: by pack, what stands for the patients of its films, in the words of ``Pack.drawn_by``.
    """

    shared: tuple[Shared, ...]
    copies: tuple[Copies, ...]
    drawn_by: Mapping[str, str]


@dataclass(frozen=True)
class _Films:
    """All films of all packs in one line."""

    packs: Sequence[Pack]
    names: Sequence[str]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.starts[-1])

    def place(self, film: int) -> tuple[int, int]:
        """Which pack, and which row of it."""
        pack = int(np.searchsorted(self.starts, film, side="right")) - 1
        return pack, film - int(self.starts[pack])

    def pixels(self, film: int) -> NDArray[np.uint8]:
        pack, row = self.place(film)
        return self.packs[pack].images[row]

    def copy(self, film: int) -> Copy:
        pack, row = self.place(film)
        values = self.packs[pack].table.iloc[row]
        return Copy(
            pack=self.names[pack],
            sample_id=values["sample_id"],
            patient_id=values["patient_id"],
            split=values["split"],
        )


def overlap(packs: Mapping[str, Pack], *, min_correlation: float = MIN_CORRELATION) -> Overlap:
    """Find the films and patients that packs share.

    Args:
        packs: by the name they shall have in the answer.
        min_correlation: of the pixels of two films at 64 x 64, from which on they count as copies.

    Raises:
        UsageError: no pack is given, or the correlation is out of range.
    """
    if not packs:
        raise UsageError("no pack is given; give one or more")
    if not 0 < min_correlation <= 1:
        raise UsageError(f"min_correlation is {min_correlation}, expected a number above 0 and at most 1")
    sizes = [len(pack) for pack in packs.values()]
    films = _Films(list(packs.values()), list(packs), np.cumsum([0, *sizes]))
    frequencies, digests = _read(films)
    distinct, exact_group = np.unique(digests, return_inverse=True)
    exact_group = exact_group.ravel()
    heads = np.full(len(distinct), len(films))
    np.minimum.at(heads, exact_group, np.arange(len(films)))
    links = np.stack([heads[exact_group], np.arange(len(films))], axis=1)
    links = links[links[:, 0] != links[:, 1]]
    correlations = np.ones(len(links))
    # A film stands for its exact copies; so they are not compared once for each of them.
    heads = np.sort(heads)
    candidates = heads[alike(frequencies[heads], _MIN_COSINE)].reshape(-1, 2)
    near, measured = _near(films, candidates, min_correlation)
    links = np.concatenate([links, near])
    copies = _groups(films, links, np.concatenate([correlations, measured]), exact_group)
    whose = {name: drawn_by(pack.has_known_patient) for name, pack in packs.items()}
    return Overlap(shared=_shared(films, copies), copies=copies, drawn_by=whose)


def _read(films: _Films) -> tuple[NDArray[np.float32], NDArray[np.uint64]]:
    """Low frequencies (N, 128) and a digest (N,) of the pixels of every film, in one pass over the packs."""
    frequencies, digests = [], []
    with progress("reading packs", len(films), "films") as bar:
        for pack in films.packs:
            for start in range(0, len(pack), _FILMS_AT_ONCE):
                images = np.asarray(pack.images[start : start + _FILMS_AT_ONCE])
                frequencies.append(low_frequencies(images))
                digests += [hashlib.blake2b(film.tobytes(), digest_size=8).digest() for film in images]
                bar.advance(len(images))
    return np.concatenate(frequencies), np.frombuffer(b"".join(digests), np.uint64)


def _near(
    films: _Films, pairs: NDArray[np.int64], min_correlation: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pairs (P, 2) whose pixels correlate, and how much; pairs that others have joined already are not looked at."""
    from scipy.cluster.hierarchy import DisjointSet

    joined = DisjointSet(np.unique(pairs).tolist())
    near, measured = [], []
    with progress("comparing pixels", len(pairs), "pairs") as bar:
        for one, other in pairs.tolist():
            bar.advance()
            if joined.connected(one, other):
                continue
            first, second = (thumbnails(films.pixels(film)[None], _COMPARED_SIDE_PX) for film in (one, other))
            correlation = float((first * second).sum())  # 0 where one is an even grey
            if correlation >= min_correlation:
                joined.merge(one, other)
                near.append((one, other))
                measured.append(correlation)
    return np.array(near, np.int64).reshape(-1, 2), np.array(measured)


def _groups(
    films: _Films, links: NDArray[np.int64], correlations: NDArray[np.float64], exact_group: NDArray[np.int64]
) -> tuple[Copies, ...]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(links), bool), (links[:, 0], links[:, 1])), shape=(len(films), len(films)))
    _, group = connected_components(graph, directed=False)
    lowest = np.ones(group.max() + 1)
    np.minimum.at(lowest, group[links[:, 0]], correlations)
    members = np.argsort(group, kind="stable")
    borders = np.flatnonzero(np.diff(group[members])) + 1
    return tuple(
        Copies(
            films=tuple(films.copy(int(film)) for film in some),
            is_exact=len(set(exact_group[some])) == 1,
            correlation=float(lowest[group[some[0]]]),
        )
        for some in np.split(members, borders)
        if len(some) > 1
    )


def _shared(films: _Films, copies: Sequence[Copies]) -> tuple[Shared, ...]:
    answer = []
    for (first, one), (second, other) in combinations_with_replacement(zip(films.names, films.packs, strict=True), 2):
        counts = {"exact": 0, "near": 0, "across_splits": 0}
        for group in copies:
            here = [film for film in group.films if film.pack == first]
            there = [film for film in group.films if film.pack == second]
            if not here or not there or (first == second and len(here) < 2):
                continue
            counts["exact" if group.is_exact else "near"] += len(here)
            splits = {film.split for film in there} - {""}
            counts["across_splits"] += sum(bool(film.split) and bool(splits - {film.split}) for film in here)
        answer.append(Shared(first=first, second=second, patients=_num_patients(one, other), **counts))
    return tuple(answer)


def _num_patients(one: Pack, other: Pack) -> int | None:
    """Known patients in both; a film that stands for its patient is called as its file, and so may others be."""
    if not (one.has_known_patient.any() and other.has_known_patient.any()):
        return None
    if one is other:
        return len(patients_in_two_splits(one.table[one.has_known_patient]))
    return len(set(one.patient_ids[one.has_known_patient]) & set(other.patient_ids[other.has_known_patient]))
