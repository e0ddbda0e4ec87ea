"""DICOM waveforms: 12-lead, general (of 16 and 32 bits) and ambulatory ECG storage.

An object holds groups of channels; the rhythm is read and not the median beat beside it. A channel's values are samples
x sensitivity x correction factor + baseline, in the sensitivity's unit; its skew, in samples or in seconds, and its
offset say how late it was sampled. A lead whose status says that it was disconnected, invalid or test data was not
recorded, whatever its samples are; what else its device says against it is told. Samples of 32 bits are read where the
standard allows them (general 32-bit ECG storage): elsewhere nobody knows whether they are whole numbers.

Source: DICOM PS3.3 C.10.9 and A.34; lead codes PS3.16 CID 3001.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pacx.core.host import require_memory
from pacx.core.vocabulary import ECG_LEADS
from pacx.modalities.ecg_signal.ecg_file import NUM_HEAD_BYTES, OneEcgFormat
from pacx.modalities.ecg_signal.facts import EcgFacts, EcgUnit, UnusableError
from pacx.modalities.ecg_signal.record import MILLIVOLTS, EcgRecord, Window, later, passed_over, require_rate
from pacx.modalities.ecg_signal.recordings import lead_called

if TYPE_CHECKING:
    from pydicom import Dataset

_ECG_CLASS = re.compile(
    rb"(?:\x02\x00\x02\x00|\x08\x00\x16\x00|\x00\x08\x00\x16).{4}1\.2\.840\.10008\.5\.1\.4\.1\.1\.9\.1\.([1-4])[^.\d]",
    re.DOTALL,
)
"""The SOP class, in the meta header or the object itself, with explicit or implicit type."""
_DEFLATED, _MOST_DEFLATED = b"1.2.840.10008.1.2.1.99", 1032
"""The transfer syntax, and how many bytes one byte of it may stand for."""
_GENERAL_32_BIT = "1.2.840.10008.5.1.4.1.1.9.1.4"
_TYPES = {(8, "SB"): "i1", (8, "UB"): "u1", (16, "SS"): "i2", (16, "US"): "u2"}
_TYPES_32_BIT = {(32, "SL"): "i4", (32, "UL"): "u4"}
_LEAD_NUMBERS = {
    **{1: "I", 2: "II", 61: "III", 62: "aVR", 63: "aVL", 64: "aVF"},
    **{3: "V1", 4: "V2", 5: "V3", 6: "V4", 7: "V5", 8: "V6"},
}
"""By the last part of a code of scheme SCPECG (5.6.3-9-61) or MDC (2:61)."""
_LEAD_CODE = re.compile(r"(?:5\.6\.3-9-|2:)(\d+)")
_TO_THE_SECOND = len("YYYYMMDDHHMMSS")
_NOT_RECORDED = {"DISCONNECTED", "INVALID", "TEST DATA"}
_QUESTIONED = {"QUESTIONABLE", "UNCALIBRATED", "UNZEROED"}
"""Channel Status (003A,0205); a channel has several where it changed, and OK among them."""
_BEATS = ("MEDIAN", "AVERAGE", "REPRESENTATIVE", "TEMPLATE")


class Dicom(OneEcgFormat):
    """One object, whose rhythm is read."""

    title = "DICOM waveform"

    def recognises(self, head: bytes, path: Path) -> bool:
        """By the SOP class."""
        return _ECG_CLASS.search(head) is not None

    def read(self, path: Path, window: Window, facts: EcgFacts) -> EcgRecord:
        """Read the object; the window saves decoding, not reading."""
        from pydicom import dcmread

        from pacx.data.images.headers import silence

        with path.open("rb") as file:
            if _DEFLATED in file.read(NUM_HEAD_BYTES):
                require_memory(_MOST_DEFLATED * path.stat().st_size, "the contents of a deflated DICOM file")
        with silence():
            return _record(dcmread(path, force=True), window, facts)


def _record(dataset: "Dataset", window: Window, facts: EcgFacts) -> EcgRecord:
    groups = list(dataset.get("WaveformSequence") or ())
    if not groups:
        raise UnusableError("is an object without waveforms; leave it out")
    rhythms = [group for group in groups if not _is_beat(group)]
    if not rhythms:
        raise UnusableError("holds no rhythm as it was recorded, only a median beat or what was derived; leave it out")
    names = [_leads(group) for group in rhythms]
    best = max(range(len(rhythms)), key=lambda at: (_num_known(names[at]), int(rhythms[at].NumberOfWaveformSamples)))
    chosen = [at for at in range(len(rhythms)) if _like(rhythms[at], rhythms[best])]
    if len({name for at in chosen for name in names[at]}) < sum(len(names[at]) for at in chosen):
        chosen = [best]  # the same leads twice: another stretch, or another filter
    rate_hz, num_stored = float(rhythms[best].SamplingFrequency), int(rhythms[best].NumberOfWaveformSamples)
    require_rate(rate_hz)
    wanted = window.within(num_stored)
    stored = [(at, row, name) for at in chosen for row, name in enumerate(names[at])]
    kept = [each for each in stored if lead_called(each[2]) in ECG_LEADS] or stored
    names_kept = tuple(name for *_, name in kept)
    said = [_status(rhythms[at], row) for at, row, _ in kept]
    parts = [
        part
        for at in chosen
        if (rows := [row for group, row, _ in kept if group == at])
        for part in _channels(rhythms[at], dataset, rows, facts.unit)
    ]
    start = _start(dataset, rhythms[best])
    each_of = zip(parts, said, strict=True)
    return EcgRecord(
        signals=np.stack([values[wanted] * (np.nan if _is_lost(status) else 1) for (values, _), status in each_of]),
        stored_leads=names_kept,
        rate_hz=rate_hz,
        num_stored=num_stored,
        start=later(start, window, rate_hz),
        resolution_mv=tuple(step for _, step in parts),
        questioned=tuple(name for name, status in zip(names_kept, said, strict=True) if _is_questioned(status)),
        patient_id=str(dataset.get("PatientID") or "").strip(),
        notes=(
            *passed_over(len(stored) - len(kept)),
            *passed_over(len(rhythms) - len(chosen), "other groups of channels"),
            *(_lost(name, status) for name, status in zip(names_kept, said, strict=True) if _is_lost(status)),
        ),
    )


def _is_beat(group: "Dataset") -> bool:
    """Whether a group is one beat made of many."""
    label = str(group.get("MultiplexGroupLabel") or "").upper()
    return str(group.get("WaveformOriginality")).upper() == "DERIVED" or any(word in label for word in _BEATS)


def _like(group: "Dataset", other: "Dataset") -> bool:
    """Whether two groups were recorded at the same time and rate, so that their channels belong together."""
    fields = ("SamplingFrequency", "NumberOfWaveformSamples", "MultiplexGroupTimeOffset")
    return all(group.get(field) == other.get(field) for field in fields)


def _num_known(names: Sequence[str]) -> int:
    return len({lead_called(name) for name in names} & set(ECG_LEADS))


def _leads(group: "Dataset") -> list[str]:
    """The lead of every channel, by its code, otherwise by what the code means in words, or the channel's label.

    Raises:
        UnusableError: code and words are two leads.
    """
    names = []
    for channel in group.get("ChannelDefinitionSequence") or ():
        source = _first(channel, "ChannelSourceSequence")
        code = str(source.get("CodeValue") or "").strip()
        number = _LEAD_CODE.fullmatch(code)
        by_code = _LEAD_NUMBERS.get(int(number[1])) if number else lead_called(code)
        words = str(source.get("CodeMeaning") or channel.get("ChannelLabel") or "").partition("(")[0].strip()
        if len({by_code, lead_called(words)} & set(ECG_LEADS)) > 1:
            raise UnusableError("calls a channel one lead by its code and another one in words; correct it")
        names.append(by_code if by_code in ECG_LEADS else words or "unnamed")
    return names


def _status(group: "Dataset", row: int) -> set[str]:
    """What a channel's device says of it; nothing where it says nothing."""
    said = group.ChannelDefinitionSequence[row].get("ChannelStatus") or ()
    return {str(each).strip().upper() for each in ((said,) if isinstance(said, str) else said)}


def _is_lost(status: set[str]) -> bool:
    """Whether a channel was not recorded from beginning to end."""
    return bool(status) and status <= _NOT_RECORDED


def _is_questioned(status: set[str]) -> bool:
    return bool(status & (_QUESTIONED | _NOT_RECORDED)) and not _is_lost(status)


def _lost(name: str, status: set[str]) -> str:
    return f"lead {name} was {' and '.join(sorted(status)).lower()} by what the file says, and counts as not recorded"


def _first(channel: "Dataset", sequence: str) -> "Mapping[Any, Any] | Dataset":
    """The one item of a sequence; nothing where there is none."""
    return next(iter(channel.get(sequence) or ()), {})


def _channels(
    group: "Dataset", dataset: "Dataset", rows: Sequence[int], said: EcgUnit | None
) -> Iterator[tuple[NDArray[np.float64], float]]:
    """Some channels of a group in millivolts, (T,), and their steps."""
    channels = list(group.get("ChannelDefinitionSequence") or ())
    samples = _samples(group, dataset, len(channels))
    for row in rows:
        channel, stored = channels[row], samples[:, row]
        sensitivity = channel.get("ChannelSensitivity")
        units = _first(channel, "ChannelSensitivityUnitsSequence")
        factor = MILLIVOLTS.get(str(units.get("CodeValue") or (said.value if said else "")).strip().casefold())
        if sensitivity is None or factor is None:
            raise UnusableError("has a channel without a sensitivity in volts, so that its unit is not known")
        step = float(sensitivity) * float(channel.get("ChannelSensitivityCorrectionFactor") or 1)
        values = (stored.astype(np.float64) * step + float(channel.get("ChannelBaseline") or 0)) * factor
        padding = _padding(group, samples.dtype)
        if padding is not None:
            values[stored == padding] = np.nan
        yield _shifted(values, _skew(channel, float(group.SamplingFrequency))), abs(step * factor)


def _samples(group: "Dataset", dataset: "Dataset", num_channels: int) -> NDArray[Any]:
    """The stored numbers (T, channels)."""
    kind = int(group.WaveformBitsAllocated), str(group.WaveformSampleInterpretation)
    types = _TYPES | (_TYPES_32_BIT if str(dataset.get("SOPClassUID")) == _GENERAL_32_BIT else {})
    if kind not in types:
        raise UnusableError("holds samples of a kind that is not read; expected whole numbers of 8 or 16 bits")
    if num_channels != int(group.NumberOfWaveformChannels) or num_channels < 1:
        raise UnusableError("describes another number of channels than it has; copy it again")
    is_little = dataset.original_encoding[1] is not False
    dtype = np.dtype(types[kind]).newbyteorder("<" if is_little else ">")
    num_values = int(group.NumberOfWaveformSamples) * num_channels
    data = bytes(group.get("WaveformData") or b"")
    surplus = len(data) - num_values * dtype.itemsize
    if num_values < 1 or surplus < 0:
        raise UnusableError("is shorter than its header says; copy it again")
    if surplus > 1:  # one byte makes the length even
        raise UnusableError("holds more samples than its header says; export it again")
    return np.frombuffer(data, dtype, num_values).reshape(-1, num_channels)


def _padding(group: "Dataset", dtype: np.dtype[Any]) -> int | None:
    """The value that stands for nothing recorded, if there is one."""
    value = group.get("WaveformPaddingValue")
    if value is None or isinstance(value, int):
        return value
    return int(np.frombuffer(bytes(value), dtype, 1)[0]) if len(value) >= dtype.itemsize else None


def _skew(channel: "Dataset", rate_hz: float) -> int:
    """Whole samples by which a channel was sampled late; two skews are one in two units, an offset is beside them."""
    skew = channel.get("ChannelSampleSkew")
    samples = float(channel.get("ChannelTimeSkew") or 0) * rate_hz if skew is None else float(skew)
    return round(samples + float(channel.get("ChannelOffset") or 0) * rate_hz)


def _shifted(values: NDArray[np.float64], skew: int) -> NDArray[np.float64]:
    """Values moved to where they were sampled; what is not known there is NaN."""
    if not skew:
        return values
    moved = np.full_like(values, np.nan)
    if abs(skew) < len(values):
        moved[max(skew, 0) : len(values) + min(skew, 0)] = values[max(-skew, 0) : len(values) - max(skew, 0)]
    return moved


def _start(dataset: "Dataset", group: "Dataset") -> datetime | None:
    """When the group began; None where the object does not say it as it should, to the second."""
    from pydicom.valuerep import DT

    written = str(dataset.get("AcquisitionDateTime") or "")
    try:
        begun = DT(written if written[:_TO_THE_SECOND].isdigit() and len(written) >= _TO_THE_SECOND else "")
        offset = timedelta(milliseconds=float(group.get("MultiplexGroupTimeOffset") or 0))
        return begun and datetime.combine(begun.date(), begun.timetz()) + offset
    except (ValueError, TypeError):
        return None


FORMAT = Dicom()
