"""EDF, EDF+ and BDF, as Holters, sleep laboratories and PhysioNet write them.

Signals may have rates of their own, and others than the ECG's are beside it. Interrupted recordings (EDF+D) are
refused: their parts would be joined as if no time lay between them.

Source: edfplus.info, specifications of EDF and EDF+.
"""

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

        _require_length(path)
        with EdfReader(str(path), DO_NOT_READ_ANNOTATIONS) as file:
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
            patient = str(file.getPatientCode()).strip()
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


def _require_length(path: Path) -> None:
    """Refuse an interrupted recording, and one of another length than its header says: edflib prints its figures."""
    with path.open("rb") as file:
        head = file.read(_NUM_HEADER_BYTES)
        num_signals = int(head[_NUM_SIGNALS])
        file.seek(_NUM_HEADER_BYTES + _BYTES_BEFORE_COUNTS * num_signals)
        counts = file.read(_COUNT_WIDTH * num_signals)
    if head[_RESERVED].startswith(_INTERRUPTED):
        raise UnusableError("was interrupted (EDF+D) and is not read; write it as continuous recordings")
    per_record = sum(int(counts[at : at + _COUNT_WIDTH]) for at in range(0, len(counts), _COUNT_WIDTH))
    sample_bytes = 2 if head.startswith(_VERSIONS[0]) else 3
    expected = _NUM_HEADER_BYTES * (1 + num_signals) + int(head[_NUM_RECORDS]) * per_record * sample_bytes
    if path.stat().st_size != expected:
        raise UnusableError("is not as long as its header says; copy it again")


def _millivolts(unit: str, said: EcgUnit | None) -> float:
    """Millivolts in a signal's unit; in a blank one, what somebody says it is."""
    if not unit.strip() and said:
        return said.millivolts
    factor = MILLIVOLTS.get(unit.strip().casefold())
    if factor is None:
        raise UnusableError("does not say its unit, or one that is no volts; correct its header, or give --unit")
    return factor


FORMAT = Edf()
