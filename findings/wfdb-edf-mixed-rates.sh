#!/usr/bin/env bash
# wfdb 4.3.1 forgets the gain of an EDF file's ECG as soon as another signal of the file has a lower rate.
#
# read_edf turns stored numbers into units by (number - baseline) / gain. Where all signals have one rate, and for the
# slowest one, it does; for the others a bracket is missing, and only the baseline is divided: what comes out is the mean of the
# stored numbers of each second, still called uV. An ECG of 100 uV is read as 1000 uV at ten steps per uV. A Holter or
# polysomnography with a temperature or a saturation beside the ECG is such a file, and the documentation says that
# read_edf handles signals of different rates properly.
# Source: edfplus.info, specification of EDF, on samples, digital and physical minimum and maximum; wfdb's documentation.
# Seen: ten times the voltage beside a temperature of 1 Hz, the right one without it; pyedflib reads both alike. (That
# rates are brought down to the lowest is documented; both are read one baseline step too low.) This script fails when that
# changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check wfdb==4.3.1 numpy==2.4.6 pandas==3.1.1 pyedflib==0.1.42
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from pathlib import Path

import numpy as np
import pyedflib
import wfdb
from wfdb.io.convert.edf import read_edf

SECONDS, RATE_HZ = 4, 100


def text(value, width):
    return str(value).ljust(width)


def write(path, signals):
    """Signals by label: (unit, physical minimum, physical maximum, stored samples), in records of a second."""
    unit, low, high, stored = zip(*signals.values(), strict=True)
    rates, count = [len(each) // SECONDS for each in stored], len(signals)
    header = text(0, 8) + text("", 160) + "01.01.2000.00.00" + text(256 * (count + 1), 8) + text("", 44)
    header += text(SECONDS, 8) + text(1, 8) + text(count, 4)
    for width, values in (
        (16, signals), (80, [""] * count), (8, unit), (8, low), (8, high), (8, [-32768] * count), (8, [32767] * count),
        (80, [""] * count), (8, rates), (32, [""] * count),
    ):
        header += "".join(text(value, width) for value in values)
    records = [each.astype("<i2").reshape(SECONDS, -1)[second].tobytes() for second in range(SECONDS) for each in stored]
    Path(path).write_bytes(header.encode("ascii") + b"".join(records))


ecg = ("uV", -3276.8, 3276.7, np.repeat([1000, 2000, 3000, 4000], RATE_HZ))  # ten steps per uV: 100 to 400 uV
temperature = ("degC", -327.68, 327.67, np.array([3600, 3610, 3620, 3630]))
write("alone.edf", {"ECG II": ecg})
write("beside.edf", {"ECG II": ecg, "Temp body": temperature})
right, seen = [100, 200, 300, 400], {}
for name in ("alone.edf", "beside.edf"):
    with pyedflib.EdfReader(name) as file:
        assert np.allclose(file.readSignal(0)[::RATE_HZ], right), "the file is right"
    record = read_edf(name)
    seen[name] = record.p_signal.reshape(SECONDS, -1, record.n_sig)[:, 0, 0]
    print(f"wfdb {wfdb.__version__}, ECG {name}: {seen[name]} {record.units[0]} where {right} uV are right")
assert np.allclose(record.p_signal[:, 1], [36, 36.1, 36.2, 36.3], atol=0.011), "the temperature is right"
assert np.allclose(seen["alone.edf"], right, atol=0.11), "alone it is right"
assert np.allclose(seen["beside.edf"], 10 * np.array(right), atol=0.11), "the behaviour has changed"
PYTHON
