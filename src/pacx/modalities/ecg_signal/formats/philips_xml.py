"""Philips SierraECG 1.03 and 1.04: twelve leads or more in one element, as base64 or digits, compressed (XLI) or plain.

What XLI is was found out by C. Watford (sierra-ecg-tools) and is in no document of the maker: a chunk a lead, each
compressed by LZW with codes of ten bits; high bytes before low bytes; second differences; and III, aVR, aVL and aVF as
what is left of them when I and II have foretold them.
"""

import struct
import xml.etree.ElementTree as ET
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.core.vocabulary import ECG_LEADS
from pacx.modalities.ecg_signal.ecg_file import OneEcgFormat
from pacx.modalities.ecg_signal.facts import EcgFacts, UnusableError
from pacx.modalities.ecg_signal.record import EcgRecord, Window, later
from pacx.modalities.ecg_signal.recordings import lead_called
from pacx.modalities.ecg_signal.sample_coding import in_16_bits, undone
from pacx.modalities.ecg_signal.xml_document import (
    number,
    read_xml,
    root_of,
    stored_bytes,
    stored_numbers,
    text_of,
)

_CODE_BITS = 10
_LAST_CODE = 1022
_BIAS = 64  # of a stored second difference
_SPARE_SAMPLES = 4096
_MOST_SAMPLES = 2**24  # of all leads; twelve for three quarters of an hour
_DAMAGED = "has compressed samples that are damaged; export it again"

Samples = NDArray[np.int64]


class PhilipsXml(OneEcgFormat):
    """Reads the rhythm (``parsedwaveforms``), never the representative beats."""

    title = "Philips XML file"

    def recognises(self, head: bytes, path: Path) -> bool:
        """By the outermost element."""
        return root_of(head) == "restingecgdata"

    def read(self, path: Path, window: Window, facts: EcgFacts) -> EcgRecord:
        """All of a document has to be parsed for any stretch of it."""
        root = read_xml(path)
        waveforms = root.find(".//parsedwaveforms")
        if waveforms is None:
            raise UnusableError("holds no rhythm, only representative beats or nothing; export it with its rhythm")
        about = {each.tag: text_of(each) for each in root.iterfind(".//signalcharacteristics/*")} | waveforms.attrib
        leads = _names(about)
        rate_hz = number(about.get("samplespersecond") or about.get("samplingrate", ""), "its rate")
        duration_ms = number(about.get("durationperchannel", ""), "how long it is")
        if not 0 < len(leads) * duration_ms * rate_hz / 1000 < _MOST_SAMPLES:
            raise UnusableError("says a length that no export has; leave it out")
        num_stored = round(duration_ms * rate_hz / 1000)
        resolution = about.get("resolution") or about.get("signalresolution", "")
        step_mv = number(resolution, "its resolution") * 1e-3  # microvolts
        zero = number(about.get("signaloffset") or "0", "its offset")
        samples = np.stack(_samples(waveforms, about, leads, num_stored)).astype(np.float64)
        return EcgRecord(
            signals=(samples[:, window.within(num_stored)] - zero) * step_mv,
            stored_leads=leads,
            rate_hz=rate_hz,
            num_stored=num_stored,
            start=later(_moment(root), window, rate_hz),
            resolution_mv=(step_mv,) * len(leads),
            patient_id=text_of(root, ".//generalpatientdata/patientid"),
        )


def _names(about: dict[str, str]) -> tuple[str, ...]:
    """The leads in their order; files of version 1.03 name the set alone."""
    if names := about.get("leadlabels", "").split():
        return tuple(names[: int(number(about.get("numberofleads") or str(len(names)), "how many leads it has"))])
    if (about.get("acquisitiontype") or about.get("leadset")) in ("STD-12", "10-WIRE"):
        return ECG_LEADS
    raise UnusableError("does not name its leads; leave it out")


def _samples(waveforms: ET.Element, about: dict[str, str], leads: tuple[str, ...], num_stored: int) -> list[Samples]:
    text = waveforms.text or ""
    method = about.get("compression") or about.get("compressmethod", "")
    is_plain = about.get("compressflag", "").casefold() == "false" or method.casefold() in ("uncompressed", "none")
    is_compressed = not is_plain and (bool(method) or "compressflag" in about)
    if is_compressed:
        if method.upper() not in ("", "XLI"):
            raise UnusableError("is compressed in a way that is not known; export it without")
        return _rebuilt(_unpacked(stored_bytes(text), len(leads), num_stored), leads)
    if about.get("dataencoding", "").casefold() == "plain":
        numbers = stored_numbers(text)
    else:
        stored = stored_bytes(text)
        is_signed = about.get("signalsigned", "True").casefold() != "false"
        numbers = np.frombuffer(stored[: len(stored) // 2 * 2], "<i2" if is_signed else "<u2")
    if len(numbers) != len(leads) * num_stored:
        raise UnusableError("has another number of samples than it says; export it again")
    return list(numbers.reshape(len(leads), -1))


def _unpacked(stored: bytes, num_leads: int, num_stored: int) -> list[Samples]:
    """The chunks of XLI, one a lead."""
    leads: list[Samples] = []
    position = 0
    while len(leads) < num_leads:
        if position + 8 > len(stored):
            raise UnusableError(_DAMAGED)
        size, _, third = struct.unpack_from("<ihh", stored, position)
        position += 8
        if not 0 < size <= len(stored) - position:
            raise UnusableError(_DAMAGED)
        packed = _strings(stored[position : position + size], 2 * (num_stored + _SPARE_SAMPLES))
        lead = _lead(packed + bytes(len(packed) % 2), third)
        if len(lead) < num_stored:
            raise UnusableError("has fewer samples than it says; export it again")
        leads.append(lead[:num_stored].copy())  # so that what is beyond is not kept
        position += size
    return leads


def _lead(packed: bytes, third: int) -> Samples:
    """A lead of its bytes; ``third`` is what its third sample falls short of the line through the first two.

    What the next ones fall short of theirs follows those two, with a bias; the last place says nothing.
    """
    halves = np.frombuffer(packed, np.uint8).reshape(2, -1).astype(np.uint16)
    words = (halves[0] << 8 | halves[1]).view(np.int16).astype(np.int64)
    if len(words) < 3:
        raise UnusableError(_DAMAGED)
    return undone(np.concatenate([words[:2], [-third], _BIAS - words[2:-1]]), 2)


def _strings(packed: bytes, most: int) -> bytes:
    """Undo LZW: each code is a string met before, and a new string is the last one with the first byte of this one."""
    bits = np.unpackbits(np.frombuffer(packed, np.uint8))
    codes = bits[: len(bits) // _CODE_BITS * _CODE_BITS].reshape(-1, _CODE_BITS) @ (1 << np.arange(_CODE_BITS)[::-1])
    strings = [bytes([byte]) for byte in range(256)]
    out: list[bytes] = []
    before, size = b"", 0
    for code in codes.tolist():
        if code > _LAST_CODE:
            break
        if code > len(strings) or (code == len(strings) and not before):
            raise UnusableError(_DAMAGED)
        string = strings[code] if code < len(strings) else before + before[:1]
        if before and len(strings) <= _LAST_CODE:
            strings.append(before + string[:1])
        out.append(string)
        before, size = string, size + len(string)
        if size > most:
            raise UnusableError("has more samples than it says; export it again")
    return b"".join(out)


def _rebuilt(leads: list[Samples], names: tuple[str, ...]) -> list[Samples]:
    called = tuple(map(lead_called, names))
    if called[:6] != ECG_LEADS[:6]:
        if set(ECG_LEADS[2:6]) & set(called):
            raise UnusableError("is compressed with its limb leads in another order than is known; export it without")
        return leads
    one, two, three, right, left, foot = leads[:6]
    three = in_16_bits(two - one - three)
    augmented = -right - (one + two) // 2, (one - three) // 2 - left, (two + three) // 2 - foot
    return [one, two, three, *map(in_16_bits, augmented), *leads[6:]]


def _moment(root: ET.Element) -> datetime | None:
    acquired = root.find("dataacquisition")
    if acquired is None:
        return None
    try:
        return datetime.strptime(f"{acquired.get('date')} {acquired.get('time')}", "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return None


FORMAT = PhilipsXml()
