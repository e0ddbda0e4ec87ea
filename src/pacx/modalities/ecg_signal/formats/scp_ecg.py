"""SCP-ECG (EN 1064, ISO 11073-91064): sections with checksums; samples or differences, in Huffman codes or not.

Most records hold I, II and V1 to V6, as those that come with the standard do, and leave the other four to be computed.
Where a reference beat was subtracted (sections 4 and 5) it is added again. Bimodal compression keeps fewer samples
between the beats than were recorded, and is refused.
"""

import struct
from binascii import crc_hqx
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from math import gcd
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.modalities.ecg_signal.ecg_file import OneEcgFormat
from pacx.modalities.ecg_signal.facts import EcgFacts, UnusableError
from pacx.modalities.ecg_signal.record import EcgRecord, Window, later, with_limb_leads
from pacx.modalities.ecg_signal.sample_coding import STANDARD, HuffmanCode, HuffmanTables, undone

_BEFORE, _HEADER = 6, 16  # bytes of the record and of a section before their content
_STANDARD_TABLE = 19999
_LEADS = {
    1: "I", 2: "II", 3: "V1", 4: "V2", 5: "V3", 6: "V4", 7: "V5", 8: "V6", 9: "V7", 10: "V2R", 11: "V3R", 12: "V4R",
    13: "V5R", 14: "V6R", 15: "V7R", 16: "X", 17: "Y", 18: "Z", 61: "III", 62: "aVR", 63: "aVL", 64: "aVF", 65: "-aVR",
    66: "V8", 67: "V9",
}  # fmt: skip
_INDEPENDENT = {"I", "II", "V1", "V2", "V3", "V4", "V5", "V6"}
_MOST_SAMPLES = 2**24  # of all leads
_MOST_BYTES = 2**25  # lengths of 16 bits hold half as many
_DAMAGED = "is damaged: a section of it is cut off; copy it again"

Samples = NDArray[np.int64]


class ScpEcg(OneEcgFormat):
    """Reads the rhythm of section 6."""

    title = "SCP-ECG file"
    suffixes = (".scp",)

    def recognises(self, head: bytes, path: Path) -> bool:
        """By section 0, which comes first and begins at byte 7, as it says of itself."""
        return len(head) >= 32 and head[8:10] == b"\0\0" and head[22:24] == b"\0\0" and head[28:32] == b"\7\0\0\0"

    def read(self, path: Path, window: Window, facts: EcgFacts) -> EcgRecord:
        """All of a lead has to be decoded for any stretch of it."""
        if path.stat().st_size > _MOST_BYTES:
            raise UnusableError("is larger than any SCP-ECG record; leave it out")
        sections = _sections(path.read_bytes())
        if not {3, 6} <= sections.keys():
            raise UnusableError("holds no rhythm (section 6) or does not name its leads; export it with both")
        has_reference, leads = _leads(sections[3])
        tables = _tables(sections[2]) if 2 in sections else None
        coded = _Coded.of(sections[6], len(leads))
        signals = [coded.lead(row, each.count, tables) for row, each in enumerate(leads)]
        step_nv = coded.step_nv
        if has_reference:
            signals, step_nv = _with_reference(signals, coded, leads, sections, tables)
        elif coded.is_bimodal:
            raise UnusableError(_BIMODAL)
        first = min(each.first for each in leads)
        num_stored = max(each.last for each in leads) - first + 1
        millivolts = np.full((len(leads), num_stored), np.nan)
        for row, each in enumerate(leads):
            millivolts[row, each.first - first : each.last - first + 1] = signals[row] * (step_nv * 1e-6)
        rate_hz = _rate_hz(coded.interval_us)
        about = _tags(sections.get(1, b""))
        record = EcgRecord(
            signals=millivolts[:, window.within(num_stored)],
            stored_leads=tuple(_LEADS.get(each.code, "another lead") for each in leads),
            rate_hz=rate_hz,
            num_stored=num_stored,
            start=later(_moment(about), window, rate_hz),
            resolution_mv=(step_nv * 1e-6,) * len(leads),
            patient_id=about.get(2, b"").split(b"\0")[0].decode("latin-1").strip(),
        )
        return with_limb_leads(record) if set(record.leads) >= _INDEPENDENT else record


_BIMODAL = "was stored with fewer samples between the beats than were recorded (bimodal); export it without"


def _numbers(layout: str, data: bytes, position: int = 0) -> tuple[int, ...]:
    try:
        return struct.unpack_from(f"<{layout}", data, position)
    except struct.error:
        raise UnusableError(_DAMAGED) from None


def _sections(data: bytes) -> dict[int, bytes]:
    """The content of sections 1 to 6 that are there, their checksums and the record's compared.

    Raises:
        UnusableError: the record is cut off, a checksum is wrong, or a section is not where section 0 says.
    """
    checksum, size = _numbers("HI", data)
    if size > len(data) or size < _BEFORE + _HEADER:
        raise UnusableError("is cut off; copy it again")
    if crc_hqx(data[2:size], 0xFFFF) != checksum:
        raise UnusableError("has a wrong checksum, so that something in it was changed; copy it again")
    (size_of_pointers,) = _numbers("I", data, _BEFORE + 4)
    found: dict[int, bytes] = {}
    for position in range(_BEFORE + _HEADER, min(_BEFORE + size_of_pointers, size) - 9, 10):
        number, length, index = _numbers("HII", data, position)
        if not (1 <= number <= 6 and length):
            continue
        section = data[max(index - 1, 0) : index - 1 + length]
        if not index or len(section) < max(length, _HEADER) or _numbers("H", section, 2) != (number,):
            raise UnusableError(_DAMAGED)
        if crc_hqx(section[2:], 0xFFFF) != _numbers("H", section)[0]:
            raise UnusableError("has a section with a wrong checksum, so that it was changed; copy it again")
        if length > _HEADER:
            found[number] = section[_HEADER:]
    return found


@dataclass(frozen=True)
class _Lead:
    """One lead of section 3, its samples counted from 1."""

    first: int
    last: int
    code: int

    @property
    def count(self) -> int:
        return self.last - self.first + 1


def _leads(section: bytes) -> tuple[bool, list[_Lead]]:
    """Whether a reference beat was subtracted, and the leads."""
    num_leads, flags = _numbers("BB", section)
    leads = [_Lead(*_numbers("IIB", section, 2 + 9 * row)) for row in range(num_leads)]
    if not leads:
        raise UnusableError("holds no ECG lead")
    span = max(each.last for each in leads) - min(each.first for each in leads) + 1
    if span * len(leads) > _MOST_SAMPLES or any(not 1 <= each.first <= each.last for each in leads):
        raise UnusableError("says a length that no record has; leave it out")
    return bool(flags & 1), leads


def _tables(section: bytes) -> HuffmanTables:
    (num_tables,) = _numbers("H", section)
    if num_tables == _STANDARD_TABLE:
        return STANDARD
    tables: list[list[HuffmanCode]] = []
    position = 2
    for _ in range(num_tables):
        (num_codes,) = _numbers("H", section, position)
        position += 2
        codes = []
        for _ in range(num_codes):
            prefix_bits, bits, mode, value, stored = _numbers("BBBhI", section, position)
            position += 9
            reversed_bits = f"{stored & (2**prefix_bits - 1):0{prefix_bits}b}"[::-1]
            codes.append(HuffmanCode(int(reversed_bits, 2), prefix_bits, bits - prefix_bits, value, mode == 0))
        tables.append(codes)
    return HuffmanTables(tables)


@dataclass(frozen=True)
class _Coded:
    """Section 5 or 6: leads in whole steps."""

    step_nv: int
    interval_us: int
    order: int
    is_bimodal: bool
    leads: list[bytes]

    @classmethod
    def of(cls, section: bytes, num_leads: int) -> "_Coded":
        step_nv, interval_us, order, is_bimodal, *sizes = _numbers(f"HHBB{num_leads}H", section)
        if not (step_nv and interval_us and order <= 2):
            raise UnusableError("does not say its step, its rate or how its samples were coded; export it again")
        ends = 6 + 2 * num_leads + np.cumsum([0, *sizes])
        if ends[-1] > len(section):
            raise UnusableError(_DAMAGED)
        leads = [section[begin:end] for begin, end in pairwise(ends)]
        return cls(step_nv, interval_us, order, bool(is_bimodal), leads)

    def lead(self, row: int, count: int, tables: HuffmanTables | None) -> Samples:
        packed = self.leads[row]
        if tables is not None:
            return undone(tables.decode(packed, count), self.order)
        if len(packed) < 2 * count:
            raise UnusableError("has fewer samples than it says; export it again")
        return undone(np.frombuffer(packed, "<i2", count).astype(np.int64), self.order)


def _with_reference(
    residuals: list[Samples],
    coded: _Coded,
    leads: list[_Lead],
    sections: Mapping[int, bytes],
    tables: HuffmanTables | None,
) -> tuple[list[Samples], int]:
    """Add the reference beat where it was subtracted; the sum is in steps that both are whole in."""
    if not {4, 5} <= sections.keys():
        raise UnusableError("lacks the reference beat that was subtracted from it; export it again")
    length_ms, fiducial, num_beats = _numbers("HHH", sections[4])
    beats = [_numbers("HIII", sections[4], 6 + 14 * row) for row in range(num_beats)]
    reference = _Coded.of(sections[5], len(leads))
    if reference.interval_us != coded.interval_us:
        raise UnusableError(_BIMODAL)
    count = round(length_ms * 1000 / reference.interval_us)
    step_nv = gcd(reference.step_nv, coded.step_nv)
    signals = []
    for row, (lead, residual) in enumerate(zip(leads, residuals, strict=True)):
        beat = reference.lead(row, count, tables) * (reference.step_nv // step_nv)
        signal = residual * (coded.step_nv // step_nv)
        for kind, begin, center, end in beats:
            begins = center - fiducial + 1  # the sample with which the reference beat coincides first
            first, last = max(begin, begins, lead.first), min(end, begins + count - 1, lead.last)
            if kind == 0 and first <= last:
                signal[first - lead.first : last - lead.first + 1] += beat[first - begins : last - begins + 1]
        signals.append(signal)
    return signals, step_nv


def _rate_hz(interval_us: int) -> float:
    """The whole rate whose interval was rounded or cut off to microseconds: 3333 are 300 Hz, and no 300.03."""
    whole = round(1e6 / interval_us)
    return float(whole) if whole and abs(1e6 / whole - interval_us) < 1 else 1e6 / interval_us


def _tags(section: bytes) -> dict[int, bytes]:
    """Section 1 by tag, up to where it is damaged."""
    tags: dict[int, bytes] = {}
    position = 0
    while position + 3 <= len(section) and section[position] != 255:
        tag, size = struct.unpack_from("<BH", section, position)
        tags.setdefault(tag, section[position + 3 : position + 3 + size])
        position += 3 + size
    return tags


def _moment(tags: Mapping[int, bytes]) -> datetime | None:
    try:
        return datetime(*struct.unpack("<HBB", tags[25]), *struct.unpack("<BBB", tags[26]))
    except (KeyError, struct.error, ValueError):
        return None


FORMAT = ScpEcg()
