"""One WFDB record as it lies on the disk: twelve leads in millivolts at the rate at which they were stored.

Of a record in several segments the master header counts, and the segments are no recordings of their own. Some headers
name their record with an ending, which wfdb does not take, or write microvolts with a Greek letter, which it drops, so
that volts are left; they are read all the same.
"""

import re
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacx.core.errors import DataError
from pacx.modalities.ecg_signal.recordings import lead_positions

HEADER_SUFFIX = ".hea"
_SUFFIXES = (HEADER_SUFFIX, ".dat", ".mat")
_FULL_SCALE_UNITS = {"v": 1e3, "mv": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3}
_NAME = re.compile(rb"[-\w]+")
_MICRO = re.compile(rb"(?:\xc2\xb5|\xce\xbc|\xb5)(?=[vV])")
"""The micro sign and the letter mu in UTF-8, and the sign in Latin-1."""
_FAULTS = (
    ValueError, IndexError, KeyError, TypeError, AttributeError, ArithmeticError, AssertionError, OSError, RuntimeError,
    MemoryError,
)  # fmt: skip
"""What wfdb and its decoders of FLAC raise over damaged records; they have no exception of their own."""


def imported_wfdb() -> Any:  # noqa: ANN401 - a module without types
    """The library, imported when it is needed and in silence."""
    with warnings.catch_warnings():
        # wfdb 4.3 calls pandas in ways that pandas 3.1 deprecates, while it is imported; nothing a user can act on.
        warnings.simplefilter("ignore", DeprecationWarning)
        import wfdb
    return wfdb


def read_record(path: Path) -> tuple[NDArray[np.float64], float]:
    """Read a record.

    Args:
        path: with or without suffix.

    Returns:
        (12, T) millivolts in the order of ``ECG_LEADS``, NaN where the device marked a sample as invalid; and the rate
        in Hz. Where a frame holds several samples of a lead, all of them.

    Raises:
        DataError: a file is missing or damaged, a lead is missing, or a unit is not known.
    """
    wfdb = imported_wfdb()
    stem = path.with_suffix("") if path.suffix in _SUFFIXES else path
    try:
        with _named_as_wfdb_wants(stem) as readable:
            header: Any = wfdb.rdheader(readable, rd_segments=True)
            _require_one_unit(header, stem)
            per_frame = {1} if hasattr(header, "segments") else set(header.samps_per_frame or ())
            if not header.n_sig or not per_frame:
                raise DataError(f"{stem} is a header without signals; leave it out")
            if not header.fs > 0:
                raise DataError(f"{stem} has a header with a rate of {header.fs:g} Hz; correct it")
            record: Any = wfdb.rdrecord(readable, smooth_frames=per_frame == {1})
            positions = lead_positions(record.sig_name, str(stem))
            if per_frame == {1}:
                return record.p_signal.T[positions] * _gains(record, positions, stem), float(record.fs)
            of_leads = {record.samps_per_frame[position] for position in positions}
            if len(of_leads) > 1:
                raise DataError(f"{stem} stores its leads at different rates; leave it out, or write them at one rate")
            signals = np.stack([record.e_p_signal[position] for position in positions])
            return signals * _gains(record, positions, stem), float(record.fs * of_leads.pop())
    except FileNotFoundError as error:
        raise DataError(
            f"{stem} has no header (.hea) or no signal file beside it; copy both files of the record"
        ) from error
    except _FAULTS as error:
        raise DataError(f"{stem} is not a readable WFDB record ({type(error).__name__}); copy it again") from error


def without_segments(headers: Sequence[Path]) -> list[Path]:
    """Headers of records, without those that are a segment of another record among them."""
    segments: set[Path] = set()
    for header in headers:
        lines = _lines(header)
        if lines and b"/" in lines[0].split()[0]:
            names = [line.split()[0].decode("latin-1") for line in lines[1:]]
            segments.update(header.parent / f"{name}{HEADER_SUFFIX}" for name in names)
    return [header for header in headers if header not in segments]


def _lines(header: Path) -> list[bytes]:
    """The lines of a header that are no comments; none where it cannot be read, which reading the record will say."""
    try:
        lines = header.read_bytes().splitlines()
    except OSError:
        return []
    return [line for line in lines if line.strip() and not line.lstrip().startswith(b"#")]


@contextmanager
def _named_as_wfdb_wants(stem: Path) -> Iterator[str]:
    """The record as wfdb can be asked for it: where its header calls it NAME.mat or has µV, by a corrected header."""
    header = stem.with_name(stem.name + HEADER_SUFFIX)
    lines = _lines(header)
    name = lines[0].split()[0] if lines else b""
    spelled = [_MICRO.sub(b"u", line) for line in lines[1:]]
    if not name or b"/" in name or (_NAME.fullmatch(name) and spelled == lines[1:]):
        yield str(stem)
        return
    with tempfile.TemporaryDirectory(prefix="pacx-wfdb-") as folder:
        corrected = [lines[0].replace(name, b"record", 1), *spelled]
        Path(folder, f"record{HEADER_SUFFIX}").write_bytes(b"\n".join(corrected) + b"\n")
        for file in {line.split()[0].decode("latin-1") for line in lines[1:]}:
            if Path(file).name == file and (stem.parent / file).is_file():
                Path(folder, file).symlink_to((stem.parent / file).resolve())
        yield str(Path(folder, "record"))


def _require_one_unit(header: Any, stem: Path) -> None:  # noqa: ANN401 - of wfdb, which has no types
    units: dict[str, set[str]] = {}
    for segment in getattr(header, "segments", None) or ():
        if segment is not None and segment.n_sig:
            if set(segment.samps_per_frame) != {1}:
                raise DataError(f"{stem} has segments with several samples a frame; write it as one record")
            for lead, unit in zip(segment.sig_name, segment.units, strict=True):
                units.setdefault(lead, set()).add(str(unit).strip().casefold())
    if any(len(of_lead) > 1 for of_lead in units.values()):
        raise DataError(f"{stem} has segments in different units; correct their headers")


def _gains(record: Any, positions: list[int], stem: Path) -> NDArray[np.float64]:  # noqa: ANN401 - likewise
    units = [str(record.units[position]).strip().casefold() for position in positions]
    unknown = sorted(set(units) - _FULL_SCALE_UNITS.keys())
    if unknown:
        raise DataError(f"{stem} is in units of {', '.join(unknown)}; expected V, mV or uV: correct its header")
    return np.array([[_FULL_SCALE_UNITS[unit]] for unit in units])
