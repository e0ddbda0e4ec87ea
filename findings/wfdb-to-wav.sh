#!/usr/bin/env bash
# wfdb 4.3.1 turns no record into a WAV file: wfdb_to_wav raises the same error for all three formats that were tried.
#
# wfdb_to_wav reads the record with smooth_frames=False, which puts the samples into e_p_signal, and then asks for the
# stored numbers of p_signal, which is empty. So it raises an error, whatever the record's format or number of
# leads, and leaves the first 44 bytes of the WAV file behind: a header that promises samples that are not there.
# Source: wfdb's documentation of wfdb_to_wav and of rdrecord (smooth_frames).
# Seen: the same error for three records that rdrecord reads rightly, and a file of 44 bytes. This script fails when
# that changes.
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
from wfdb.io.convert.wav import wfdb_to_wav

for name, file_format, leads in (("ecg16", "16", 2), ("ecg212", "212", 2), ("ecg80", "80", 1)):
    stored = np.random.default_rng(0).integers(-120, 120, (500, leads))
    wfdb.wrsamp(
        name, fs=250, units=["mV"] * leads, sig_name=["I", "II"][:leads], d_signal=stored, fmt=[file_format] * leads,
        adc_gain=[200] * leads, baseline=[0] * leads,
    )
    assert np.array_equal(wfdb.rdrecord(name, physical=False).d_signal, stored), "the record is right"
    try:
        wfdb_to_wav(name)
    except AttributeError as error:
        seen = str(error)
    else:
        raise AssertionError("the behaviour has changed")
    size = Path(f"{name}.wav").stat().st_size
    print(f"wfdb {wfdb.__version__}, format {file_format}, {leads} leads: {seen}; the WAV file has {size} bytes, "
          f"right are {44 + 2 * stored.size}")
    assert "'NoneType' object has no attribute 'copy'" in seen, "the behaviour has changed"
    assert size == 44, "the behaviour has changed"
PYTHON
