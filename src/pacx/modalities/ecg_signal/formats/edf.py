"""EDF, EDF+ and BDF, as Holters, sleep laboratories and PhysioNet write them.

Signals may have rates of their own, and others than the ECG's are beside it. Interrupted recordings (EDF+D) are
refused: their parts would be joined as if no time lay between them.

Headers are plain ASCII and dates real ones, by the specification and for edflib, which refuses all others. Programs
write µV, umlauts in names and 00.00.00 all the same: such a file is read from a copy with a corrected header.

Source: edfplus.info, specifications of EDF and EDF+.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import numpy as np

from pacx.core.host import require_memory
from pacx.core.vocabulary import ECG_LEADS
from pacx.modalities.ecg_signal.ecg_file import OneEcgFormat
from pacx.modalities.ecg_signal.facts import EcgFacts, EcgUnit, UnusableError
from pacx.modalities.ecg_signal.record import MILLIVOLTS, EcgRecord, Window, later, passed_over
from pacx.modalities.ecg_signal.recordings import lead_called

_VERSIONS = (b"0       ", b"\xffBIOSEMI")
_RESERVED, _NUM_RECORDS, _NUM_SIGNALS = slice(192, 236), slice(236, 244), slice(252, 256)
_NUM_HEADER_BYTES, _BYTES_BEFORE_COUNTS, _COUNT_WIDTH = 256, 216, 8
_INTERRUPTED = (b"EDF+D", b"BDF+D")
_VERSION, _PATIENT, _BEGAN = slice(0, 8), slice(8, 88), slice(168, 184)
_BYTES_BEFORE_UNITS, _UNIT_WIDTH = 96, 8
_MICRO = re.compile(rb"\xc2\xb5|\xce\xbc|\xb5")
"""The micro sign and the letter mu in UTF-8, and the sign in Latin-1."""
_NO_ASCII = re.compile(rb"[^ -~]")
_NEVER_SET = datetime(1985, 1, 1)
"""What programs write that know no date."""
_ANONYMOUS = "X"


class Edf(OneEcgFormat):
    """A header of fixed width, then records of all signals."""

    title = "EDF file"
    suffixes = (".edf", ".bdf")

    def recognises(self, head: bytes, path: Path) -> bool:
        """By the version and by numbers where the header has them."""
        return head.startswith(_VERSIONS) and len(head) > 256 and head[184:192].strip().isdigit()

    def read(self, path: Path, window: Window, facts: EcgFacts) -> EcgRecord:
        """The signals that have a lead's name; where none has, those that are called ECG."""
        from pyedflib import DO_NOT_READ_ANNOTATIONS, EdfReader

        header = _header(path)
        with _as_edflib_wants(path, header) as readable, EdfReader(readable, DO_NOT_READ_ANNOTATIONS) as file:
            labels = [str(label).strip() for label in file.getSignalLabels()]
            channels = [at for at, label in enumerate(labels) if lead_called(label) in ECG_LEADS]
            channels = channels or [at for at, label in enumerate(labels) if label[:3].casefold() in ("ecg", "ekg")]
            if not channels:
                raise UnusableError("holds no ECG lead")
            sizes = {(float(file.getSampleFrequency(at)), int(file.getNSamples()[at])) for at in channels}
            if len(sizes) > 1:
                raise UnusableError("stores its leads at different rates; leave it out, or write them at one rate")
            rate_hz, num_stored = sizes.pop()
            wanted = window.within(num_stored)
            num_samples = wanted.stop - wanted.start
            require_memory(np.dtype(np.float64).itemsize * len(channels) * num_samples, "the samples of an EDF file")
            factors = [_millivolts(str(file.getPhysicalDimension(at)), facts.unit) for at in channels]
            signals = [file.readSignal(at, wanted.start, num_samples) for at in channels] if num_samples else []
            steps = [
                factor
                * (file.getPhysicalMaximum(at) - file.getPhysicalMinimum(at))
                / (file.getDigitalMaximum(at) - file.getDigitalMinimum(at))
                for at, factor in zip(channels, factors, strict=True)
            ]
            start = file.getStartdatetime()
            patient = str(file.getPatientCode()).strip()  # "" of plain EDF, which has no code
        if patient and not header[_PATIENT].isascii():  # as the file itself has it, since Müller is not Möller
            patient = header[_PATIENT].split()[0].decode("latin-1").replace("_", " ")
        return EcgRecord(
            signals=np.reshape(signals, (len(channels), num_samples)) * np.array(factors)[:, None],
            stored_leads=tuple(labels[at] for at in channels),
            rate_hz=rate_hz,
            num_stored=num_stored,
            start=None if start == _NEVER_SET else later(start, window, rate_hz),
            resolution_mv=tuple(map(abs, steps)),
            patient_id="" if patient == _ANONYMOUS else patient,
            notes=passed_over(len(labels) - len(channels)),
        )


def _header(path: Path) -> bytes:
    """The header of a file.

    Raises:
        UnusableError: the recording was interrupted, or is of another length than it says: edflib prints its figures.
    """
    with path.open("rb") as file:
        header = file.read(_NUM_HEADER_BYTES)
        num_signals = int(header[_NUM_SIGNALS])
        header += file.read(_NUM_HEADER_BYTES * num_signals)
    if header[_RESERVED].startswith(_INTERRUPTED):
        raise UnusableError("was interrupted (EDF+D) and is not read; write it as continuous recordings")
    begin = _NUM_HEADER_BYTES + _BYTES_BEFORE_COUNTS * num_signals
    counts = header[begin : begin + _COUNT_WIDTH * num_signals]
    per_record = sum(int(counts[at : at + _COUNT_WIDTH]) for at in range(0, len(counts), _COUNT_WIDTH))
    sample_bytes = 2 if header.startswith(_VERSIONS[0]) else 3
    expected = _NUM_HEADER_BYTES * (1 + num_signals) + int(header[_NUM_RECORDS]) * per_record * sample_bytes
    if path.stat().st_size != expected:
        raise UnusableError("is not as long as its header says; copy it again")
    return header


@contextmanager
def _as_edflib_wants(path: Path, header: bytes) -> Iterator[str]:
    """The file, or where edflib would refuse its header a copy with another one."""
    corrected = _corrected(header)
    if corrected == header:
        yield str(path)
        return
    with tempfile.TemporaryDirectory(prefix="pacx-edf-") as folder:
        copy = Path(folder, "recording")
        shutil.copyfile(path, copy)
        with copy.open("r+b") as file:
            file.write(corrected)
        yield str(copy)


def _corrected(header: bytes) -> bytes:
    """A header as long as this one, in ASCII, with a moment that there is."""
    begin = _NUM_HEADER_BYTES + _BYTES_BEFORE_UNITS * int(header[_NUM_SIGNALS])
    end = begin + _UNIT_WIDTH * int(header[_NUM_SIGNALS])
    units = [header[at : at + _UNIT_WIDTH] for at in range(begin, end, _UNIT_WIDTH)]
    units = [_MICRO.sub(b"u", unit).ljust(_UNIT_WIDTH) for unit in units]
    written = header[_BEGAN]
    try:
        datetime.strptime(written.decode("latin-1"), "%d.%m.%y%H.%M.%S")
    except ValueError:
        written = f"{_NEVER_SET:%d.%m.%y%H.%M.%S}".encode()
    parts = (header[_VERSION.stop : _BEGAN.start], written, header[_BEGAN.stop : begin], *units, header[end:])
    return header[_VERSION] + _NO_ASCII.sub(b"_", b"".join(parts))


def _millivolts(unit: str, said: EcgUnit | None) -> float:
    """Millivolts in a signal's unit; in a blank one, what somebody says it is."""
    if not unit.strip() and said:
        return said.millivolts
    factor = MILLIVOLTS.get(unit.strip().casefold())
    if factor is None:
        raise UnusableError("does not say its unit, or one that is no volts; correct its header, or give --unit")
    return factor


FORMAT = Edf()
