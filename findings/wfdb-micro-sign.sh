#!/usr/bin/env bash
# wfdb 4.3.1 reads a WFDB header whose unit is written with the micro sign (µV, in UTF-8 or Latin-1) as one in volts.
#
# It decodes header lines as ASCII and drops every other byte, so "2(0)/µV" becomes "2(0)/V": the samples come out the
# same numbers with the unit V, a million times the voltage, without a warning. Written as uV they are microvolts.
# A header's unit is "a string without embedded whitespace" (WFDB Applications Guide, header(5)).
# Seen: V for both encodings, uV for the ASCII spelling. This script fails when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check wfdb==4.3.1 numpy==2.4.6 pandas==3.1.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from pathlib import Path

import numpy as np
import wfdb

Path("r.dat").write_bytes(np.arange(20, dtype="<i2").tobytes())


def read(unit: bytes) -> tuple[str, float]:
    Path("r.hea").write_bytes(b"r 1 500 20\nr.dat 16 2(0)/" + unit + b" 16 0 0 0 0 I\n")
    record = wfdb.rdrecord("r")
    return record.units[0], float(record.p_signal[1, 0])


seen = {name: read(unit) for name, unit in {
    "micro sign, UTF-8": "µV".encode(), "micro sign, Latin-1": "µV".encode("latin-1"), "ASCII": b"uV",
}.items()}
for name, (unit, value) in seen.items():
    print(f"wfdb {wfdb.__version__}, {name}: stored 1 at 2 per unit is read as {value} {unit}")
assert seen == {
    "micro sign, UTF-8": ("V", 0.5), "micro sign, Latin-1": ("V", 0.5), "ASCII": ("uV", 0.5),
}, "the behaviour has changed"
PYTHON
