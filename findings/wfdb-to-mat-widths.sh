#!/usr/bin/env bash
# wfdb 4.3.1 turns a record of 8-bit samples into a MATLAB file and header that give other voltages, and one of 24 or 32
# bits into a pair that nobody can read.
#
# wfdb_to_mat writes a .mat file and a WFDB header that describes the same file. It chooses 8, 16 or 32 bits by the
# record's resolution and says so in both, but then writes 16 bits for each sample whatever it said (and forgets that
# 8-bit samples are stored with 128 added). rdrecord reads an 8-bit record back without a word, half of it, with values
# that have nothing to do with the ECG. Records of 24 and 32 bits, as BDF has them (24), cannot be read back.
# Source: header(5) and signal(5) of WFDB (formats 16, 32 and 80); MathWorks, MAT-file format (the data type in the
# tag).
# Seen: the numbers below for 8 bits; errors for 24 and 32 from rdrecord and for all three from scipy; 16 and 12 bits
# are right. This script fails when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check wfdb==4.3.1 numpy==2.4.6 scipy==1.17.1 pandas==3.1.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import contextlib
import io

import numpy as np
import wfdb
from scipy.io import loadmat
from wfdb.io.convert.matlab import wfdb_to_mat

STORED = np.random.default_rng(0).integers(-120, 120, (500, 2))


def wfdb_reads(name):
    try:
        return wfdb.rdrecord(name, physical=False).d_signal
    except ValueError as error:
        return str(error)


def scipy_reads(name):
    try:
        return loadmat(f"{name}.mat")["val"].T
    except (OSError, TypeError) as error:
        return str(error)


for file_format, readable in (("16", True), ("212", True), ("80", False), ("24", False), ("32", False)):
    name = f"ecg{file_format}"
    wfdb.wrsamp(
        name, fs=250, units=["mV", "mV"], sig_name=["I", "II"], d_signal=STORED, fmt=[file_format] * 2,
        adc_gain=[100, 100], baseline=[0, 0],
    )
    assert np.array_equal(wfdb_reads(name), STORED), "the record is right"
    with contextlib.redirect_stdout(io.StringIO()):
        wfdb_to_mat(name)
    by_wfdb, by_scipy = wfdb_reads(f"{name}m"), scipy_reads(f"{name}m")
    first = by_wfdb if isinstance(by_wfdb, str) else by_wfdb[:3].tolist()
    print(f"wfdb {wfdb.__version__}, format {file_format}: {first}, where {STORED[:3].tolist()} is right; scipy: "
          f"{by_scipy if isinstance(by_scipy, str) else 'readable'}")
    if readable:
        assert np.array_equal(by_wfdb, STORED) and np.array_equal(by_scipy, STORED), "here it is right"
        continue
    assert isinstance(by_scipy, str), "the behaviour has changed"
    if file_format == "80":
        assert by_wfdb.shape == STORED.shape, "the behaviour has changed"
        assert np.mean(by_wfdb == STORED) < 0.1, "the behaviour has changed"
    else:
        assert by_wfdb == "Samples were not loaded correctly", "the behaviour has changed"
PYTHON
