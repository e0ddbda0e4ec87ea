#!/usr/bin/env bash
# pyedflib 0.1.42 makes a recording longer, by samples that nobody measured, when it makes it anonymous or drops a lead.
#
# The functions of pyedflib.highlevel (anonymize_edf, drop_channels, rename_channels) read a file and write it again, in
# records of a length of its own choice (here a second) whatever the length was before. Where the recording is no whole
# number of seconds, each lead is filled up with stored zeros: up to a second of them, at the physical value that a
# stored zero means. Where the physical range is not centred on 0 (saturation, pressure, temperature), that is a
# plausible value, such as 50 %. The standard leaves the length of a record to the writer.
# Source: edfplus.info, specification of EDF (duration of a data record; a whole number of seconds is recommended only).
# Seen: a file of 10.5 s becomes one of 11 s, with half a second of a saturation of 50 %; with verify=True an error,
# which is about shapes. This script fails when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyedflib==0.1.42 edfio==0.4.18 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import edfio
import numpy as np
import pyedflib
from pyedflib import highlevel

RATE_HZ, SECONDS = 100, 10.5
ecg_uv = np.random.default_rng(0).integers(-1000, 1000, int(RATE_HZ * SECONDS)).astype(float)
saturation = np.full(int(RATE_HZ * SECONDS), 97.0)
edfio.Edf(
    [
        edfio.EdfSignal(ecg_uv, RATE_HZ, label="ECG II", physical_dimension="uV", physical_range=(-3276.8, 3276.7)),
        edfio.EdfSignal(saturation, RATE_HZ, label="SaO2", physical_dimension="%", physical_range=(0, 100)),
    ],
    data_record_duration=0.5,
).write("original.edf")
original = edfio.read_edf("original.edf")
assert (original.duration, original.data_record_duration) == (SECONDS, 0.5), "the file is right"
with pyedflib.EdfReader("original.edf") as file:
    assert list(file.getNSamples()) == [1050, 1050], "pyedflib reads it right"
    assert np.allclose(file.readSignal(1), 97, atol=0.001), "pyedflib reads it right"

highlevel.anonymize_edf("original.edf", "anonymous.edf")
try:
    highlevel.anonymize_edf("original.edf", "verified.edf", verify=True)
except ValueError as error:
    print(f"with verify=True: {error}")
else:
    raise AssertionError("the behaviour has changed")
highlevel.drop_channels("original.edf", "dropped.edf", to_drop=["ECG II"])
for name in ("anonymous.edf", "dropped.edf"):
    after = edfio.read_edf(name)
    signal = after.signals[-1].data
    assert np.allclose(signal[:1050], 97, atol=0.001), "what was measured is right"
    assert after.duration == 11, "the behaviour has changed"
    assert len(signal) == 1100, "the behaviour has changed"
    print(
        f"pyedflib {pyedflib.__version__}, {name}: {after.duration} s where {SECONDS} s are right; the last of SaO2: "
        f"{signal[1049]:.1f} %, then {signal[1050]:.1f} % {len(signal) - 1050} times"
    )
    assert np.allclose(signal[1050:], 50, atol=0.001), "the behaviour has changed"
PYTHON
