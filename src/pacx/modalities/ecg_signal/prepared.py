"""Recordings of a source through an encoder's input contract, a few at a time, in as many processes as wanted.

`source -> pieces -> read, checked and filtered (other processes) -> blocks in order`. The filters hold Python's lock,
so threads would not help; this file imports no torch, so that a process starts quickly. Memory does not grow with the
number of recordings.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pacx.core.errors import DataError
from pacx.core.quarantine import Quarantined
from pacx.core.tables.cells import known
from pacx.core.workers import in_order
from pacx.modalities.ecg_signal.doubts import Doubt, examined
from pacx.modalities.ecg_signal.ecg_file import HEADER_SUFFIX
from pacx.modalities.ecg_signal.facts import UnusableError
from pacx.modalities.ecg_signal.filters import EcgChain
from pacx.modalities.ecg_signal.sources import EcgPiece, EcgSource
from pacx.models.ecg.input import EcgPreprocessing

BLOCK = 32
_FEWEST_JUDGED = 16


class PreparedEcg(NamedTuple):
    """What is known of a recording that was prepared.

    Args:
        sample_id: its id.
        patient_id: whose it is; its own id where nobody knows.
        place: where it lies.
        start: when its first sample was recorded (ISO 8601), "" where its file does not say.
        stored_hz: samples per second as it was stored.
        is_millivolt: False where it was scaled for itself.
        derived: leads that its reader computed.
        doubts: names of what is strange about it.
        digest: BLAKE2b of the prepared samples, 32 hexadecimal digits.
    """

    sample_id: str
    patient_id: str
    place: str
    start: str
    stored_hz: float
    is_millivolt: bool
    derived: tuple[str, ...]
    doubts: tuple[str, ...]
    digest: str


class PreparedBlock(NamedTuple):
    """Some neighbours of a source.

    Args:
        rows: where in the source each is that was prepared.
        entries: what is known of it.
        signals: (n, leads, samples) float32, as the input contract says.
        quarantined: those of the same stretch that were left out, with where each is.
    """

    rows: list[int]
    entries: list[PreparedEcg]
    signals: NDArray[np.float32]
    quarantined: list[tuple[int, Quarantined]]

    @property
    def sample_ids(self) -> list[str]:
        """Of those that were prepared."""
        return [entry.sample_id for entry in self.entries]


@dataclass
class Sieve:
    """Leaves out what only all recordings together give away: one that two patients have, a unit that is wrong for all.

    A recording that another patient has sample for sample is left out the second time: one of the two is not theirs.
    """

    _first: dict[str, tuple[str, str]] = field(default_factory=dict)  # sample and patient, by the recording's digest
    _num_judged: int = 0
    _num_doubted: int = 0

    def take(self, entries: Sequence[PreparedEcg]) -> None:
        """Remember recordings that passed earlier."""
        for entry in entries:
            self._first.setdefault(entry.digest, (entry.sample_id, entry.patient_id))
        self._num_judged += len(entries)
        self._num_doubted += sum(Doubt.VOLTAGE.name in entry.doubts for entry in entries)

    def passed(self, block: PreparedBlock) -> PreparedBlock:
        """The block without what is left out.

        Raises:
            DataError: most recordings so far are ten times too large or too small.
        """
        bad, good = list(block.quarantined), []
        for at, (row, entry) in enumerate(zip(block.rows, block.entries, strict=True)):
            sample, owner = self._first.setdefault(entry.digest, (entry.sample_id, entry.patient_id))
            if owner == entry.patient_id:
                good.append(at)
            else:  # the sample is named: whose it is may be known from a header alone, which nobody is shown
                reason = f"is sample for sample the recording of {sample}"
                bad.append((row, Quarantined(sample_id=entry.sample_id, file=_file(entry), reason=reason)))
        self.take([block.entries[at] for at in good])
        if self._num_judged >= _FEWEST_JUDGED and 2 * self._num_doubted > self._num_judged:
            raise DataError(
                f"{self._num_doubted} of the first {self._num_judged} ECG recordings are ten times too small or too "
                "large for an ECG; give the unit that they are in, where their files do not (--unit)"
            )
        signals = block.signals if len(good) == len(block.entries) else block.signals[good]
        return PreparedBlock(
            [block.rows[at] for at in good], [block.entries[at] for at in good], signals, sorted(bad, key=_row)
        )


def _row(entry: tuple[int, Quarantined]) -> int:
    return entry[0]


def _file(entry: PreparedEcg) -> str:
    return entry.place if entry.place != entry.sample_id else ""


def prepared_blocks(
    source: EcgSource, config: EcgPreprocessing, num_workers: int, rows: NDArray[np.int64] | None = None
) -> Iterator[PreparedBlock]:
    """Prepare recordings, in order, at most ``BLOCK`` at a time; ``Sieve`` is the caller's.

    Args:
        source: where they are.
        config: the encoder's input contract.
        num_workers: processes; 1 stays in this one. Never changes a bit.
        rows: which of them; None = all.
    """
    wanted = np.arange(len(source.sample_ids)) if rows is None else rows
    starts = range(0, len(wanted), BLOCK)
    pieces = (_work(source, wanted[start : start + BLOCK]) for start in starts)
    return in_order(partial(_prepare, config=config), pieces, num_workers)


def _work(source: EcgSource, rows: NDArray[np.int64]) -> tuple[list[int], list[str], EcgPiece]:
    return rows.tolist(), [source.places[row] for row in rows], source.piece(rows)


def digest_of(samples: bytes) -> str:
    """What tells a recording's prepared samples from all others."""
    return hashlib.blake2b(samples, digest_size=16).hexdigest()


@lru_cache(maxsize=4)
def _chain(config: EcgPreprocessing) -> EcgChain:
    return EcgChain(config)


def _prepare(work: tuple[list[int], Sequence[str], EcgPiece], *, config: EcgPreprocessing) -> PreparedBlock:
    """Prepare a piece; a function of a module, so that other processes can be asked for it."""
    chain, (rows, places, piece) = _chain(config), work
    signals = np.zeros((len(rows), len(config.leads), config.num_samples), np.float32)
    good: list[int] = []
    entries: list[PreparedEcg] = []
    bad: list[tuple[int, Quarantined]] = []
    described = zip(rows, places, piece.sample_ids, piece.records(config.duration_s), strict=True)
    for row, place, sample_id, record in described:
        file = place if place != sample_id else ""
        try:
            if isinstance(record, str):
                stem = place.removesuffix(HEADER_SUFFIX)  # by which a WFDB record is told of
                raise UnusableError(record.removeprefix(f"{place} ").removeprefix(f"{stem} "))
            found = examined(record, config.duration_s, config.leads, notch_hz=config.notch_hz)
            prepared = chain(found.recorded, record.rate_hz, is_millivolt=record.is_millivolt)
        except UnusableError as reason:
            bad.append((row, Quarantined(sample_id=sample_id, file=file, reason=str(reason))))
            continue
        signals[len(good)] = prepared
        entries.append(
            PreparedEcg(
                sample_id,
                known(record.patient_id) or sample_id,
                place,
                record.start.isoformat() if record.start else "",
                record.rate_hz,
                record.is_millivolt,
                record.derived,
                tuple(doubt.name for doubt in found.doubts),
                digest_of(signals[len(good)].tobytes()),
            )
        )
        good.append(row)
    return PreparedBlock(good, entries, signals[: len(good)], bad)
