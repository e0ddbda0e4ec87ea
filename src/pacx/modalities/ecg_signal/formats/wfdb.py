"""WFDB records: MIMIC-IV-ECG, PTB-XL, the challenges and archives of PhysioNet.

A header (.hea) says all of a record; its signal files (.dat, .mat) and segments are no recordings of their own. Signals
are read by wfdb, of which four things are not left to it: headers that name their record with an ending or write
microvolts with a Greek letter (it drops the letter, so that volts are left), lengths that files do not bear out,
windows of format 8, which stores differences and is wrong unless read from its start, and records in segments, whose
units, gains and samples a frame may differ.

Source: physionet.org, header(5) and signal(5) of the WFDB Applications Guide.
"""

import re
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from pacx.core.host import require_memory
from pacx.core.vocabulary import ECG_LEADS
from pacx.modalities.ecg_signal.ecg_file import HEADER_SUFFIX, OneEcgFormat
from pacx.modalities.ecg_signal.facts import EcgFacts, UnusableError
from pacx.modalities.ecg_signal.record import MILLIVOLTS, WHOLE, EcgRecord, Window, later, passed_over
from pacx.modalities.ecg_signal.recordings import lead_called

_RECORD_LINE = re.compile(rb"[-\w.]+(?:/\d+)?\s+\d+(?:\s+[\d.eE+-]+(?:/\S+)?(?:\s+\d+.*)?)?\s*")
_NAME = re.compile(rb"[-\w]+")
_MICRO = re.compile(rb"(?:\xc2\xb5|\xce\xbc|\xb5)(?=[vV])")
"""The micro sign and the letter mu in UTF-8, and the sign in Latin-1."""
_BYTES_PER_SAMPLE = {
    **{"8": 1.0, "16": 2.0, "24": 3.0, "32": 4.0, "61": 2.0, "80": 1.0, "160": 2.0},
    **{"212": 1.5, "310": 4 / 3, "311": 4 / 3, "508": 0.0, "516": 0.0, "524": 0.0},
}
_COMPRESSED = ("508", "516", "524")
_DIFFERENCES = "8"
_NOTHING = "~"
"""The name of a segment in which nothing was recorded."""
_LOST = "has no header (.hea) or no signal file beside it; copy both files of the record"

_FIRST = re.compile(rb"[-\w.]+\s+(\d+)\s+(\d+(?:\.\d+)?)\s+(\d+)\s*(.*?)\s*")
_LEAD = re.compile(
    rb"(\S+)\s+16(?:\+(\d+))?\s+(\d+(?:\.\d+)?)(?:\((-?\d+)\))?/([^\s/]+)\s+\d+\s+(-?\d+)\s+-?\d+\s+-?\d+\s+\d+\s+(.+?)\s*"
)
_BEGAN = re.compile(r"\d{1,2}:\d{2}:\d{2} \d{1,2}/\d{1,2}/\d{4}")
_NO_TIME = re.compile(r"(?:\d{1,2}-[A-Za-z]{3}-\d{4} \d{1,2}:\d{2}:\d{2})?")
"""What the challenges write in the place of a time; wfdb takes no time from it either."""
INVALID = -32768
"""Of 16-bit samples, the one that stands for none."""


def imported_wfdb() -> Any:  # noqa: ANN401 - a module without types
    """The library, imported when it is needed and in silence."""
    with warnings.catch_warnings():
        # wfdb 4.3 calls pandas in ways that pandas 3.1 deprecates, while it is imported; nothing a user can act on.
        warnings.simplefilter("ignore", DeprecationWarning)
        import wfdb
    return wfdb


class Wfdb(OneEcgFormat):
    """A header and its signal files."""

    title = "WFDB record"
    suffixes = (HEADER_SUFFIX,)

    def recognises(self, head: bytes, path: Path) -> bool:
        """By the first line that is no comment, and by the next one, which names a signal's format or a segment."""
        lines = _without_comments(head)
        if len(lines) < 2 or not _RECORD_LINE.fullmatch(lines[0]):
            return False
        if b"/" in lines[0].split()[0]:
            return re.fullmatch(rb"\S+\s+\d+\s*", lines[1]) is not None
        fmt = re.match(rb"\S+\s+(\d+)(?:x\d+)?(?::\d+)?(?:\+\d+)?(?:\s|$)", lines[1])
        return fmt is not None and fmt[1].decode() in _BYTES_PER_SAMPLE

    def parts(self, path: Path) -> Iterable[Path]:
        """Signal files, or the headers of segments and what belongs to those."""
        files = [path.parent / name for name in _named_in(path)]
        if not _is_sequence(path):
            return files
        headers = [file.with_name(file.name + HEADER_SUFFIX) for file in files]
        return [*headers, *(path.parent / name for header in headers for name in _named_in(header))]

    def read(self, path: Path, window: Window, facts: EcgFacts) -> EcgRecord:
        """The leads among the signals, or where there are none, what is measured in volts."""
        stem = path.with_suffix("") if path.suffix == HEADER_SUFFIX else path
        try:
            if (record := read_plain(stem.with_name(stem.name + HEADER_SUFFIX), window)) is not None:
                return record
            return _in_segments(stem, window) if _is_sequence(path) else _in_one(stem, window)
        except FileNotFoundError:
            raise UnusableError(_LOST) from None


@dataclass(frozen=True)
class PlainHeader:
    """What the header of the commonest kind of record says: one file of 16-bit samples, numbers written plainly.

    MIMIC-IV-ECG, PTB-XL and the challenges have it. wfdb parses such a header twice, through a pandas table, for ten
    times as long as reading the whole record takes.

    Args:
        file: of samples.
        num_skipped: bytes before the first of them.
        num_stored: samples of each lead.
        leads: as the header writes them; each is one of the twelve.
        baselines: sample that means 0 V, of each lead.
        gains: steps per unit, of each lead.
        factors: millivolts of the unit, of each lead.
        rate_hz: samples per second.
        start: when it began; None where nobody says.
    """

    file: Path
    num_skipped: int
    num_stored: int
    leads: tuple[str, ...]
    baselines: np.ndarray
    gains: np.ndarray
    factors: np.ndarray
    rate_hz: float
    start: datetime | None

    @classmethod
    def of(cls, header: Path) -> "PlainHeader | None":
        """Of a file; None where it is of another kind, damaged or absent, or its samples are not all there."""
        try:
            lines = header.read_bytes().splitlines()
        except OSError:
            return None
        lines = [line for line in lines if line.strip() and not line.lstrip().startswith(b"#")]
        first = _FIRST.fullmatch(lines[0]) if lines else None
        leads = [_LEAD.fullmatch(line) for line in lines[1:]]
        if first is None or not leads or len(leads) != int(first[1]):
            return None
        found = [lead for lead in leads if lead is not None]
        files = {lead[1] for lead in found}
        offset = {int(lead[2] or 0) for lead in found}
        names = tuple(lead[7].decode("latin-1") for lead in found)
        units = [MILLIVOLTS.get(lead[5].decode("latin-1").casefold()) for lead in found]
        gains = np.array([float(lead[3]) for lead in found])
        began = first[4].decode("latin-1")
        is_told = _BEGAN.fullmatch(began) is not None
        if (
            len(found) < len(leads)
            or len(files) > 1
            or len(offset) > 1
            or None in units
            or not gains.all()
            or not float(first[2])
            or any(lead_called(name) not in ECG_LEADS for name in names)
            or not (is_told or _NO_TIME.fullmatch(began))
        ):
            return None
        num_stored, num_skipped = int(first[3]), offset.pop()
        file = header.with_name(files.pop().decode("latin-1"))
        try:
            if not num_stored or file.stat().st_size < num_skipped + 2 * len(found) * num_stored:
                return None
            start = datetime.strptime(began, "%H:%M:%S %d/%m/%Y") if is_told else None
        except (OSError, ValueError):
            return None
        baselines = np.array([float(lead[4] or lead[6]) for lead in found])
        factors = np.array(units, float)
        return cls(file, num_skipped, num_stored, names, baselines, gains, factors, float(first[2]), start)

    def samples(self, window: Window = WHOLE) -> np.ndarray:
        """Samples as stored, (count, leads), int16; ``INVALID`` where there is none.

        Raises:
            OSError: the file cannot be read.
            UnusableError: the recording ends before the wanted stretch begins.
        """
        wanted, per_frame = window.within(self.num_stored), len(self.leads)
        count, before = (wanted.stop - wanted.start) * per_frame, wanted.start * per_frame * 2
        return np.fromfile(self.file, "<i2", count, offset=self.num_skipped + before).reshape(-1, per_frame)


def read_plain(header: Path, window: Window) -> EcgRecord | None:
    """Read a record of the commonest kind without wfdb, or None where it is of another one, damaged or absent.

    Raises:
        UnusableError: the recording ends before the wanted stretch begins.
    """
    plain = PlainHeader.of(header)
    try:
        samples = None if plain is None else plain.samples(window).T
    except (OSError, ValueError):
        return None
    if plain is None or samples is None:
        return None
    signals = (samples - plain.baselines[:, None]) / plain.gains[:, None] * plain.factors[:, None]
    signals[samples == INVALID] = np.nan
    return EcgRecord(
        signals=signals,
        stored_leads=plain.leads,
        rate_hz=plain.rate_hz,
        num_stored=plain.num_stored,
        start=later(plain.start, window, plain.rate_hz),
        resolution_mv=tuple(map(float, plain.factors / plain.gains)),
    )


def _lines(header: Path) -> list[bytes]:
    """The lines of a header that are no comments; none where it cannot be read, which reading the record will say."""
    try:
        return _without_comments(header.read_bytes())
    except OSError:
        return []


def _named_in(header: Path) -> set[str]:
    """The signal files or segments that a header names."""
    return {line.split()[0].decode("latin-1") for line in _lines(header)[1:]}


def _is_sequence(header: Path) -> bool:
    """Whether a header names segments."""
    lines = _lines(header)
    return bool(lines) and b"/" in lines[0].split()[0]


def _without_comments(header: bytes) -> list[bytes]:
    return [line for line in header.splitlines() if line.strip() and not line.lstrip().startswith(b"#")]


@contextmanager
def _named_as_wfdb_wants(stem: Path) -> Iterator[str]:
    """The record as wfdb can be asked for it: where its header calls it NAME.mat or has µV, by a corrected header."""
    lines = _lines(stem.with_name(stem.name + HEADER_SUFFIX))
    name = lines[0].split()[0] if lines else b""
    spelled = [_MICRO.sub(b"u", line) for line in lines[1:]]
    if not name or b"/" in name or (_NAME.fullmatch(name) and spelled == lines[1:]):
        yield str(stem)
        return
    with tempfile.TemporaryDirectory(prefix="pacx-wfdb-") as folder:
        corrected = [lines[0].replace(name, b"record", 1), *spelled]
        Path(folder, f"record{HEADER_SUFFIX}").write_bytes(b"\n".join(corrected) + b"\n")
        for file in _named_in(stem.with_name(stem.name + HEADER_SUFFIX)):
            if Path(file).name == file and (stem.parent / file).is_file():
                Path(folder, file).symlink_to((stem.parent / file).resolve())
        yield str(Path(folder, "record"))


def _in_one(stem: Path, window: Window) -> EcgRecord:
    """A record that is no sequence of others."""
    wfdb = imported_wfdb()
    with _named_as_wfdb_wants(stem) as readable:
        header: Any = wfdb.rdheader(readable)
        _require_rate(header)
        if not header.n_sig or not header.samps_per_frame:
            raise UnusableError("is a header without signals; leave it out")
        channels = _ecg_channels(header)
        per_frame = header.samps_per_frame[channels[0]]
        num_frames = _num_frames(header, Path(readable).parent)
        wanted = window.within(num_frames * per_frame)
        says_length = header.sig_len is not None  # wfdb reads no part of a record that does not
        first = wanted.start // per_frame if says_length and _DIFFERENCES not in header.fmt else 0
        last = min(max(-(-wanted.stop // per_frame), first + 1), num_frames) if says_length else None
        record: Any = wfdb.rdrecord(
            readable, sampfrom=first, sampto=last, channels=channels, smooth_frames=False, warn_empty=False
        )
    cut = slice(wanted.start - first * per_frame, wanted.stop - first * per_frame)
    in_millivolts = [_millivolts(header.units[channel]) for channel in channels]
    rate_hz = float(header.fs * per_frame)
    return EcgRecord(
        signals=np.stack([lead[cut] * factor for lead, factor in zip(record.e_p_signal, in_millivolts, strict=True)]),
        stored_leads=tuple(header.sig_name[channel] or "" for channel in channels),
        rate_hz=rate_hz,
        num_stored=num_frames * per_frame,
        start=later(header.base_datetime, window, rate_hz),
        resolution_mv=tuple(
            factor / header.adc_gain[channel] for channel, factor in zip(channels, in_millivolts, strict=True)
        ),
        notes=passed_over(header.n_sig - len(channels)),
    )


def _in_segments(stem: Path, window: Window) -> EcgRecord:
    """A record that is a sequence of others, each with units, gains and leads of its own; gaps are NaN."""
    with _named_as_wfdb_wants(stem) as readable:
        header: Any = imported_wfdb().rdheader(readable)
    _require_rate(header)
    segments = [(stem.parent / name, length) for name, length in zip(header.seg_name, header.seg_len, strict=True)]
    first = next((segment for segment, _ in segments if segment.name != _NOTHING), None)
    if first is None:
        raise UnusableError("is a header without signals; leave it out")
    with _named_as_wfdb_wants(first) as readable:
        layout: Any = imported_wfdb().rdheader(readable)
    names = [layout.sig_name[channel] for channel in _ecg_channels(layout)]
    per_frame = layout.samps_per_frame[_ecg_channels(layout)[0]]
    num_stored = sum(length for _, length in segments) * per_frame
    wanted = window.within(num_stored)
    num_samples = wanted.stop - wanted.start
    require_memory(len(names) * num_samples * np.dtype(np.float64).itemsize, "the samples of a record in segments")
    signals = np.full((len(names), num_samples), np.nan)
    steps: list[float | None] = [None] * len(names)
    begin = 0
    for segment, length in segments:
        start, stop = max(begin, wanted.start), min(begin + length * per_frame, wanted.stop)
        if start < stop and segment.name != _NOTHING:
            part = _in_one(segment, Window(start - begin, stop - start))
            if part.rate_hz != header.fs * per_frame or part.signals.shape[1] != stop - start:
                raise UnusableError("has segments that do not fit each other; copy its files again")
            for row, name in enumerate(part.stored_leads):
                if name in names:
                    place = names.index(name)
                    signals[place, start - wanted.start : stop - wanted.start] = part.signals[row]
                    # The coarsest of the segments: no number of the lead has a finer step.
                    steps[place] = max(steps[place] or 0.0, part.resolution_mv[row] or 0.0)
        begin += length * per_frame
    rate_hz = float(header.fs * per_frame)
    return EcgRecord(
        signals=signals,
        stored_leads=tuple(names),
        rate_hz=rate_hz,
        num_stored=num_stored,
        start=later(header.base_datetime, window, rate_hz),
        resolution_mv=tuple(steps),
        notes=passed_over(layout.n_sig - len(names)),
    )


def _require_rate(header: Any) -> None:  # noqa: ANN401 - of wfdb, which has no types
    if not header.fs > 0:
        raise UnusableError(f"has a header with a rate of {header.fs:g} Hz; correct it")


def _ecg_channels(header: Any) -> list[int]:  # noqa: ANN401 - likewise
    """Which signals are the ECG's: those with a lead's name, otherwise those in volts; all of one rate."""
    names, units = header.sig_name or (), header.units or ()
    channels = [at for at, name in enumerate(names) if name and lead_called(name) in ECG_LEADS]
    channels = channels or [at for at, unit in enumerate(units) if str(unit).strip().casefold() in MILLIVOLTS]
    if not channels:
        raise UnusableError("holds no ECG lead")
    if len({header.samps_per_frame[channel] for channel in channels}) > 1:
        raise UnusableError("stores its leads at different rates; leave it out, or write them at one rate")
    for channel in channels:
        _millivolts(units[channel])
    return channels


def _millivolts(unit: object) -> float:
    factor = MILLIVOLTS.get(str(unit).strip().casefold())
    if factor is None:
        raise UnusableError("is in units that are no volts; expected V, mV or uV: correct its header")
    return factor


def _num_frames(header: Any, folder: Path) -> int:  # noqa: ANN401 - likewise
    """The length that a header claims, held against its signal files before memory is taken; theirs if it claims none.

    Compressed files (FLAC) have no size from which a length follows and are held against the memory alone.
    """
    held = []
    for file in set(header.file_name):
        members = [at for at, name in enumerate(header.file_name) if name == file]
        fmt, offset = header.fmt[members[0]], header.byte_offset[members[0]] or 0
        num_samples = sum(header.samps_per_frame[at] for at in members)
        if fmt not in _COMPRESSED:
            held.append(int(((folder / file).stat().st_size - offset) / _BYTES_PER_SAMPLE[fmt] / num_samples))
    claimed = min(held, default=0) if header.sig_len is None else header.sig_len
    if claimed < 1:
        raise UnusableError("holds no samples")
    if claimed > min(held, default=claimed):
        raise UnusableError("is shorter than its header says; copy it again")
    reach = claimed + max(abs(skew or 0) for skew in header.skew)
    require_memory(np.dtype(np.float64).itemsize * reach * sum(header.samps_per_frame), "the samples of a WFDB record")
    return claimed


FORMAT = Wfdb()
