"""Philips SierraECG 1.04: twelve leads in one element of base64, compressed as XLI; UTF-16, 5 uV a step.

XLI holds a chunk a lead. III, aVR, aVL and aVF are what is left of them when I and II have foretold them; of each lead
the second differences are stored, high bytes before low bytes, in the 10-bit codes of LZW (Lempel, Ziv and Welch).
"""

import base64
import struct
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.core.vocabulary import ECG_LEADS
from pacx.simulation.signals.ecg_files.writer import EcgWriter, Tracing, child, save_xml

_NAMESPACE = "http://www3.medical.philips.com"
_RESOLUTION_UV = 5
_CODE_BITS, _LAST_CODE = 10, 1022
_BIAS = 64  # of a stored second difference


class PhilipsXmlWriter(EcgWriter):
    """Writes SierraECG files, compressed or plain."""

    suffix = ".xml"
    step_mv = _RESOLUTION_UV / 1000

    def __init__(self, *, is_compressed: bool) -> None:
        self._is_compressed = is_compressed

    def save(self, path: Path, tracing: Tracing) -> None:
        """One ``restingecgdata``."""
        counts = [lead.astype(np.int64) for lead in tracing.counts(self.step_mv).values()]
        stored = _xli(counts) if self._is_compressed else b"".join(lead.astype("<i2").tobytes() for lead in counts)
        root = ET.Element("restingecgdata", {"xmlns": _NAMESPACE, "status": "Unconfirmed"})
        about = child(root, "documentinfo")
        child(about, "documenttype", "SierraECG")
        child(about, "documentversion", "1.04")
        when = {"date": f"{tracing.started:%Y-%m-%d}", "time": f"{tracing.started:%H:%M:%S}"}
        characteristics = child(child(root, "dataacquisition", **when), "signalcharacteristics")
        facts = {
            "samplingrate": tracing.rate_hz,
            "resolution": _RESOLUTION_UV,
            "acquisitiontype": "STD-12",
            "bitspersample": 16,
            "signaloffset": 0,
            "signalsigned": True,
            "numberchannelsallocated": len(ECG_LEADS),
            "numberchannelsvalid": len(ECG_LEADS),
        }
        for tag, value in facts.items():
            child(characteristics, tag, value)
        child(child(child(root, "patient"), "generalpatientdata"), "patientid", tracing.patient_id)
        waveforms = child(root, "waveforms")
        child(
            waveforms,
            "parsedwaveforms",
            base64.encodebytes(stored).decode(),
            dataencoding="Base64",
            **({"compression": "XLI"} if self._is_compressed else {}),
            numberofleads=len(ECG_LEADS),
            leadlabels=" ".join(ECG_LEADS),
            durationperchannel=1000 * tracing.num_samples // tracing.rate_hz,
            samplespersecond=tracing.rate_hz,
            resolution=_RESOLUTION_UV,
            signaloffset=0,
            signalsigned=True,
            bitspersample=16,
        )
        beats = child(
            waveforms, "repbeats", dataencoding="Base64", samplespersec=tracing.rate_hz, resolution=_RESOLUTION_UV
        )
        beat = base64.b64encode(counts[0][: tracing.rate_hz].astype("<i2").tobytes()).decode()
        child(child(beats, "repbeat", leadname=ECG_LEADS[0]), "waveform", beat, duration=1000)
        save_xml(path, root, '<?xml version="1.0" encoding="UTF-16"?>', "utf-16")


def _xli(leads: list[NDArray[np.int64]]) -> bytes:
    one, two, three, right, left, foot = leads[:6]
    residuals = [
        one,
        two,
        two - one - three,
        -right - (one + two) // 2,
        (one - three) // 2 - left,
        (two + three) // 2 - foot,
        *leads[6:],
    ]
    return b"".join(map(_chunk, residuals))


def _chunk(lead: NDArray[np.int64]) -> bytes:
    """The first two samples, then what each next one falls short of the straight line through the last two.

    What the third falls short of it stands in the header; the others are stored with a bias, and the last place is
    left over.
    """
    short = 2 * lead[1:-1] - lead[:-2] - lead[2:]
    words = np.concatenate([lead[:2], short[1:] + _BIAS, [_BIAS]]).astype(">i2").view(np.uint8).reshape(-1, 2)
    coded = _lzw(words.T.tobytes())
    return struct.pack("<ih", len(coded), 0) + short[:1].astype("<i2").tobytes() + coded


def _lzw(data: bytes) -> bytes:
    """Codes of ten bits, the first bit first; when all are given away no string gets a new one."""
    codes = {bytes([byte]): byte for byte in range(256)}
    stream, count, held = 0, 0, b""
    for byte in data:
        longer = held + bytes([byte])
        if longer in codes:
            held = longer
            continue
        stream, count = (stream << _CODE_BITS) | codes[held], count + 1
        if len(codes) <= _LAST_CODE:
            codes[longer] = len(codes)
        held = bytes([byte])
    stream, count = (stream << _CODE_BITS) | codes[held], count + 1
    spare = -count * _CODE_BITS % 8
    return (stream << spare).to_bytes((count * _CODE_BITS + spare) // 8, "big")


WRITER = PhilipsXmlWriter(is_compressed=True)
