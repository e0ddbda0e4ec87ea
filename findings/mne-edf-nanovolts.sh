#!/usr/bin/env bash
# MNE-Python 1.13.2 takes an EDF signal in nanovolts for one in volts: a billion times as much, without a word.
#
# read_raw_edf promises volts. It knows the physical dimensions uV and mV, and gives every other one as it stands.
# EDF+ allows the prefixes of the SI before V, nV among them. The original unit is kept in a private attribute, so that
# nothing a caller sees tells the two apart.
# Source: EDF+ specification, additional standard texts, "standard physical dimensions" (prefixes from Y to y before
# V).
# Seen: the same wave of one millivolt, written in V, mV, uV and nV by pyedflib, read as 0.001 V of the first three
# and as a million volts of the last. This script fails when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mne==1.13.2 pyedflib==0.1.42 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import warnings

import mne
import numpy as np
import pyedflib

PER_VOLT = {"V": 1, "mV": 1e3, "uV": 1e6, "nV": 1e9}
WAVE_V = 1e-3 * np.sin(np.arange(5000) / 20)

for unit, per_volt in PER_VOLT.items():
    path, most = f"{unit}.edf", 0.002 * per_volt
    with pyedflib.EdfWriter(path, 1, file_type=pyedflib.FILETYPE_EDFPLUS) as file:
        file.setSignalHeader(
            0,
            {
                "label": "ECG II", "dimension": unit, "sample_frequency": 500, "physical_max": most,
                "physical_min": -most, "digital_max": 32767, "digital_min": -32768, "transducer": "", "prefilter": "",
            },
        )  # fmt: skip
        file.writeSamples([WAVE_V * per_volt])
    with pyedflib.EdfReader(path) as file:
        assert file.getPhysicalDimension(0) == unit, "the file is right"
        assert np.allclose(file.readSignal(0) / per_volt, WAVE_V, atol=1e-7), "the file is right"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # MNE-Python has nothing to say of the file
        seen = mne.io.read_raw_edf(path, preload=True, verbose="warning").get_data()[0]
    print(f"MNE-Python {mne.__version__}, a wave of 0.001 V in {unit}: read as {np.abs(seen).max():.6g} V")
    right = WAVE_V * (1e9 if unit == "nV" else 1)
    assert np.allclose(seen, right, rtol=1e-3, atol=1e-4 * np.abs(right).max()), "the behaviour has changed"
PYTHON
