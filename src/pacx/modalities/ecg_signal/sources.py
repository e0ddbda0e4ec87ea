"""Recordings that are read one by one when somebody wants them: files of any formats, or one array of them.

A source is divided into pieces, which travel to other processes and are read there. Of a long recording a window is
read: its first seconds, or those around a moment.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from pacx.core.errors import DataError
from pacx.core.tables.ids import persons
from pacx.modalities.ecg_signal.ecg_file import EcgFile, EcgRef, format_of, open_ecg
from pacx.modalities.ecg_signal.facts import NO_FACTS, EcgFacts, EcgUnit, UnusableError
from pacx.modalities.ecg_signal.record import EcgRecord, Window
from pacx.modalities.ecg_signal.recordings import EcgRecordings, require_distinct

_USUAL_HZ = 500.0
_ROWS_AT_ONCE = 64
_BESIDE_S = 1.0  # a filter that changes the rate reaches beyond what is used


class EcgPiece(ABC):
    """A few recordings of a source, in their order; small enough to travel to another process."""

    sample_ids: Sequence[str]

    @abstractmethod
    def records(self, duration_s: float) -> Iterator[EcgRecord | str]:
        """Each recording, or why there is none; of a long one what is wanted, and a little more.

        Args:
            duration_s: how many seconds are wanted.
        """


class EcgSource(ABC):
    """Recordings by their sample ids, none of them read yet."""

    sample_ids: tuple[str, ...]
    places: Sequence[str]
    """Where each recording lies, in words."""
    notes: tuple[str, ...]
    place: str
    """What should name the patients, where nobody did until the recordings are read; "" elsewhere."""

    @property
    def has_voltage(self) -> bool:
        """Whether nothing says, before they are read, that recordings were scaled one by one."""
        return True

    @abstractmethod
    def piece(self, rows: NDArray[np.int64]) -> EcgPiece:
        """Some of the recordings."""

    @abstractmethod
    def stamp(self) -> str:
        """A SHA-256 that changes with every recording, its id, its patient or how it is read."""


@dataclass(frozen=True, eq=False)
class EcgFiles(EcgSource):
    """Recordings in files of any formats.

    Args:
        refs: N recordings.
        sample_ids: N different ids.
        patient_ids: N ids, one that is not known (None, "", NA) being a person of its own; () = whom the files name.
        moments: around which to read each; None = its beginning; () = of all.
        facts: what the files may not say.
        notes: what a reader should know of how the list came about.
        place: what should name the patients, where the files do not; "" where they are given.

    Raises:
        DataError: an id occurs twice.
    """

    refs: tuple[EcgRef, ...]
    sample_ids: tuple[str, ...]
    patient_ids: tuple[str, ...] = ()
    moments: tuple[datetime | None, ...] = ()
    facts: EcgFacts = NO_FACTS
    notes: tuple[str, ...] = ()
    place: str = ""

    def __post_init__(self) -> None:
        require_distinct(self.sample_ids)
        if self.patient_ids:
            object.__setattr__(self, "patient_ids", persons(self.patient_ids, self.sample_ids))

    @cached_property
    def places(self) -> tuple[str, ...]:  # type: ignore[override]  # the base has a field, this one derives it
        """Files, with the key of the recording where they hold many."""
        return tuple(map(str, self.refs))

    def piece(self, rows: NDArray[np.int64]) -> EcgPiece:
        """Some of the files."""
        at = rows.tolist()
        patients = tuple(self.patient_ids[row] for row in at) if self.patient_ids else ()
        moments = tuple(self.moments[row] for row in at) if self.moments else ()
        refs, ids = tuple(self.refs[row] for row in at), tuple(self.sample_ids[row] for row in at)
        return _FilesPiece(refs, ids, patients, moments, self.facts)

    def stamp(self) -> str:
        """By names, sizes and times of the files and of what belongs to them."""
        digest = hashlib.sha256(repr((self.sample_ids, self.patient_ids, self.moments, self.facts)).encode())
        for path, refs in groupby(self.refs, lambda ref: ref.path):
            digest.update(repr([str(ref) for ref in refs]).encode())
            kind = format_of(path) if path.is_file() else None
            for file in (path, *sorted(kind.parts(path) if kind else ())):
                about = file.stat() if file.exists() else None
                digest.update(f"{file.name} {(about.st_size, about.st_mtime_ns) if about else None}\n".encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class _FilesPiece(EcgPiece):
    refs: tuple[EcgRef, ...]
    sample_ids: tuple[str, ...]
    patient_ids: tuple[str, ...]
    moments: tuple[datetime | None, ...]
    facts: EcgFacts

    def records(self, duration_s: float) -> Iterator[EcgRecord | str]:
        """A file is opened once for its neighbours."""
        for path, of_file in groupby(range(len(self.refs)), lambda row: self.refs[row].path):
            rows = list(of_file)
            try:
                with open_ecg(path, self.facts) as file:
                    for row in rows:
                        yield self._one(file, row, duration_s)
            except DataError as error:
                yield from (str(error) for _ in rows)

    def _one(self, file: EcgFile, row: int, duration_s: float) -> EcgRecord | str:
        # Where only a file is named that holds many recordings, the sample's id says which of them is meant.
        key = self.refs[row].key or ("" if "" in file.keys else self.sample_ids[row])
        moment = self.moments[row] if self.moments else None
        try:
            record = windowed(file, key, duration_s, moment)
        except DataError as error:
            return str(error)
        except UnusableError as reason:
            return f"{self.refs[row]} {reason}"
        # Finer than any converter's steps, and what targets of earlier releases were made of: they stay the same bits.
        signals = record.signals.astype(np.float32).astype(np.float64)
        return replace(
            record, signals=signals, patient_id=self.patient_ids[row] if self.patient_ids else record.patient_id
        )


def windowed(file: EcgFile, key: str, duration_s: float, moment: datetime | None = None) -> EcgRecord:
    """The first seconds of a recording, or those around a moment, and a second more where there is one.

    Near its beginning or end the window is moved until it is full.

    Raises:
        DataError: the recording cannot be used.
        UnusableError: it does not say when it began, but there is a moment.
    """
    if moment is None:
        record = file.read(key, Window(0, round((duration_s + _BESIDE_S) * _USUAL_HZ)))
        wanted = round((duration_s + _BESIDE_S) * record.rate_hz)
        if record.signals.shape[1] < min(wanted, record.num_stored):
            record = file.read(key, Window(0, wanted))
        return record
    about = file.read(key, Window(0, 0))
    if about.start is None:
        raise UnusableError("does not say when it began, so that there is no window around a moment in it")
    start = about.start
    if (start.tzinfo is None) != (moment.tzinfo is None):  # a clock on the wall, on both sides
        start, moment = start.replace(tzinfo=None), moment.replace(tzinfo=None)
    num_wanted = round(duration_s * about.rate_hz)
    middle = round((moment - start).total_seconds() * about.rate_hz)
    first = min(max(middle - num_wanted // 2, 0), max(about.num_stored - num_wanted, 0))
    return file.read(key, Window(first, round((duration_s + _BESIDE_S) * about.rate_hz)))


@dataclass(frozen=True, eq=False)
class EcgArray(EcgSource):
    """Recordings of one array, which stays where it is until a piece is made."""

    recordings: EcgRecordings
    place = ""

    @property
    def has_voltage(self) -> bool:
        """By the unit that the array was given."""
        return self.recordings.unit is not EcgUnit.RELATIVE

    @property
    def sample_ids(self) -> tuple[str, ...]:  # type: ignore[override]  # the base has a field, this one derives it
        """Those of the array."""
        return self.recordings.sample_ids

    @property
    def places(self) -> tuple[str, ...]:  # type: ignore[override]  # the base has a field, this one derives it
        """Their ids: they are no files of their own."""
        return self.recordings.sample_ids

    @property
    def notes(self) -> tuple[str, ...]:  # type: ignore[override]  # the base has a field, this one derives it
        """Those of the array."""
        return self.recordings.notes

    def piece(self, rows: NDArray[np.int64]) -> EcgPiece:
        """Some rows of the array, in memory."""
        return _ArrayPiece(self.recordings.select(rows))

    def stamp(self) -> str:
        """By every sample; the array is read a few rows at a time."""
        stored = self.recordings
        about = (stored.leads, stored.sample_rate_hz, stored.unit, stored.sample_ids, stored.patient_ids)
        digest = hashlib.sha256(repr(about).encode())
        for start in range(0, len(stored), _ROWS_AT_ONCE):
            digest.update(np.ascontiguousarray(stored.signals[start : start + _ROWS_AT_ONCE]).data)
        return digest.hexdigest()


def source_of(recordings: EcgSource | EcgRecordings) -> EcgSource:
    """Recordings as a source, which an array in memory is made one of."""
    return EcgArray(recordings) if isinstance(recordings, EcgRecordings) else recordings


@dataclass(frozen=True)
class _ArrayPiece(EcgPiece):
    recordings: EcgRecordings

    @property
    def sample_ids(self) -> Sequence[str]:  # type: ignore[override]  # the base has a field, this one derives it
        return self.recordings.sample_ids

    def records(self, duration_s: float) -> Iterator[EcgRecord | str]:
        stored = self.recordings
        step = stored.unit.millivolts
        for row, patient in enumerate(stored.patient_ids):
            yield EcgRecord(
                signals=np.asarray(stored.signals[row], np.float64) * step,
                stored_leads=stored.leads,
                rate_hz=stored.sample_rate_hz,
                resolution_mv=(None if stored.signals.dtype.kind == "f" else step,) * len(stored.leads),
                is_millivolt=stored.unit is not EcgUnit.RELATIVE,
                patient_id=patient,
            )
