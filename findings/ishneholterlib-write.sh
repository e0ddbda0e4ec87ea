#!/usr/bin/env bash
# ishneholterlib 2020.5.29 changes samples when it writes a Holter recording, and ruins the recording in memory.
#
# write_file turns millivolts back into stored numbers and cuts what is behind the point, where it should round: a
# sample of 213 comes out as 212.99999 and is written as 212. With a resolution of 2441 nV (a range of 10 mV in 12 bits)
# one sample of six is a step nearer to zero after reading and writing, for example without names. Worse: the conversion
# is done in place, so after write_file the leads in memory, said to be in mV, hold stored numbers, and a second
# write_file multiplies those again: what overflows is written as whatever the low 16 bits are.
# Source: Badilini, The ISHNE Holter standard output file format (samples of 16 bits, amplitude resolution in nV per
# lead); ishneholterlib's documentation of write_file.
# Seen: the shares below; a sample of 3.505 mV that is 1402 after writing. The reading itself is right. (The library
# needs an older numpy: 2.4.6 lacks tostring, which its check of a file uses.) This script fails when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ishneholterlib==2020.5.29 numpy==1.26.4 \
    crccheck==1.3.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import struct
from pathlib import Path

import numpy as np
from crccheck.crc import Crc16CcittFalse
from ishneholterlib import Holter

HEADER_BYTES, RATE_HZ = 522, 200
LEADS = np.random.default_rng(0).integers(-2000, 2000, (3, 50 * RATE_HZ))


def per_lead(values):
    return struct.pack("<12h", *values, *[-9] * (12 - len(values)))


def write(path, resolution_nv):
    header = struct.pack("<4ih", 0, LEADS.size, HEADER_BYTES, HEADER_BYTES, 1) + bytes(40 + 40 + 20)
    header += struct.pack("<2h", 0, 0) + struct.pack("<3h", 1, 1, 1950) + struct.pack("<3h", 1, 1, 2000) * 2
    header += struct.pack("<3h", 12, 0, 0) + struct.pack("<h", len(LEADS)) + per_lead([11, 15, 2])
    header += per_lead([1, 1, 1]) + per_lead([resolution_nv] * 3) + struct.pack("<h", 0) + b"digital".ljust(40, b"\0")
    header += struct.pack("<h", RATE_HZ) + bytes(80 + 80 + 88)
    checksum = struct.pack("<H", Crc16CcittFalse.calc(header))
    Path(path).write_bytes(b"ISHNE1.0" + checksum + header + LEADS.T.astype("<i2").tobytes())


def stored(path):
    return np.frombuffer(Path(path).read_bytes()[HEADER_BYTES:], "<i2").reshape(-1, len(LEADS)).T


changed = {}
for resolution_nv in (1000, 2441, 2500):
    write("original.ecg", resolution_nv)
    holter = Holter("original.ecg")
    assert holter.is_valid(), "the file is right"
    holter.load_data()
    right_mv = LEADS * (resolution_nv / 1e6)
    assert all(np.allclose(lead.data, right) for lead, right in zip(holter.lead, right_mv, strict=True)), "read rightly"
    holter.deidentify()
    holter.filename = f"anonymous-{resolution_nv}.ecg"
    holter.write_file()
    steps = (stored(holter.filename) - LEADS) * np.sign(LEADS)
    assert set(np.unique(steps)) <= {-1, 0}, "the behaviour has changed"
    changed[resolution_nv] = (steps != 0).mean()
    print(f"ishneholterlib 2020.5.29, {resolution_nv} nV: {changed[resolution_nv]:.1%} of the samples changed")
    once_more = Holter(holter.filename)
    once_more.load_data()
    assert np.allclose([lead.data for lead in once_more.lead], stored(holter.filename) * (resolution_nv / 1e6))
assert changed[1000] == 0, "at 1000 nV it is right"
assert 0.1 < changed[2441] < 0.3, "the behaviour has changed"
assert 0.01 < changed[2500] < 0.05, "the behaviour has changed"

before, after = right_mv[0][:3], holter.lead[0].data[:3].copy()
holter.write_file(overwrite=True)
print(f"in memory: {before} mV before, {after} after; written a second time: {stored(holter.filename)[0][:3]}, where "
      f"{LEADS[0][:3]} is right")
assert np.allclose(after, LEADS[0][:3]), "the behaviour has changed"
assert np.abs(stored(holter.filename)[0] - LEADS[0]).max() > 10000, "the behaviour has changed"
PYTHON
