"""SCP-ECG (EN 1064): sections 0 to 3 and 6, second differences in the standard's own Huffman code; 1 uV a step."""

import binascii
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.core.vocabulary import ECG_LEADS
from pacx.simulation.signals.ecg_files.writer import EcgWriter, Tracing

_STEP_NV = 1000
_LEAD_CODES = dict(zip(ECG_LEADS, (1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8), strict=True))
_NUM_SECTIONS = 12
_PROTOCOL = 20  # version 2.0
_DEFAULT_TABLE = 19999
_SECOND_DIFFERENCES = 2
_ALL_AT_ONCE = 0x04


class ScpEcgWriter(EcgWriter):
    """Writes SCP-ECG records."""

    suffix = ".scp"
    step_mv = _STEP_NV / 1e6

    def save(self, path: Path, tracing: Tracing) -> None:
        """One record."""
        counts = tracing.counts(self.step_mv)
        bits = [_huffman(_second_differences(lead)) for lead in counts.values()]
        interval_us = 1_000_000 // tracing.rate_hz
        when = tracing.started
        facts = {
            2: tracing.patient_id.encode() + b"\0",
            14: bytes(14) + bytes([_PROTOCOL, 0xA0]) + bytes(20) + b"\0simulated\0\0\0\0",
            25: struct.pack("<HBB", when.year, when.month, when.day),
            26: struct.pack("<BBB", when.hour, when.minute, when.second),
            255: b"",
        }
        leads = (struct.pack("<IIB", 1, tracing.num_samples, _LEAD_CODES[lead]) for lead in ECG_LEADS)
        sections = {
            1: b"".join(struct.pack("<BH", tag, len(value)) + value for tag, value in facts.items()),
            2: struct.pack("<H", _DEFAULT_TABLE),
            3: bytes([len(ECG_LEADS), _ALL_AT_ONCE | len(ECG_LEADS) << 3]) + b"".join(leads),
            6: struct.pack("<HHBB", _STEP_NV, interval_us, _SECOND_DIFFERENCES, 0)
            + struct.pack(f"<{len(bits)}H", *map(len, bits))
            + b"".join(bits),
        }
        path.write_bytes(_record(sections))


def _checked(content: bytes) -> bytes:
    """With its checksum before it: CRC-CCITT, all ones at the start."""
    return struct.pack("<H", binascii.crc_hqx(content, 0xFFFF)) + content


def _section(number: int, data: bytes, reserved: bytes = bytes(6)) -> bytes:
    padded = data + bytes(len(data) % 2)
    header = struct.pack("<HIBB", number, 16 + len(padded), _PROTOCOL, _PROTOCOL)
    return _checked(header + reserved + padded)


def _record(sections: dict[int, bytes]) -> bytes:
    """The record with its table of sections, which counts bytes from 1."""
    bodies = {number: _section(number, data) for number, data in sections.items()}
    num_pointed = 16 + 10 * _NUM_SECTIONS
    pointers, position = struct.pack("<HII", 0, num_pointed, 7), 7 + num_pointed
    for number in range(1, _NUM_SECTIONS):
        length = len(bodies.get(number, b""))
        pointers += struct.pack("<HII", number, length, position if length else 0)
        position += length
    content = _section(0, pointers, b"SCPECG") + b"".join(bodies.values())
    return _checked(struct.pack("<I", 6 + len(content)) + content)


def _second_differences(lead: NDArray[np.int16]) -> NDArray[np.int64]:
    """What each sample but the first two differs from the straight line through the two before it."""
    samples = lead.astype(np.int64)
    samples[2:] = samples[2:] - 2 * samples[1:-1] + samples[:-2]
    return samples


def _huffman(values: NDArray[np.int64]) -> bytes:
    """The table of the standard: up to 8 as a run of ones with a sign, else as eight or sixteen bits."""
    bits = "".join(map(_code, values.tolist()))
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def _code(value: int) -> str:
    if value == 0:
        return "0"
    if abs(value) <= 8:
        return f"{'1' * abs(value)}0{int(value < 0)}"
    width = 8 if -128 <= value <= 127 else 16
    return f"{'1' * 9}{int(width == 16)}{value % 2**width:0{width}b}"


WRITER = ScpEcgWriter()
