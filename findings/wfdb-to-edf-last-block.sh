#!/usr/bin/env bash
# wfdb 4.3.1 writes EDF files whose leads, but for the first, are wrong in the last data block.
#
# wfdb_to_edf cuts a record into blocks of ten seconds. Where the record does not end with a block, the leads of the
# last one follow each other at once instead of each behind the filling of the one before: a reader finds the second
# lead's last seconds at the end of the first lead, and nothing but filling (-32.768 mV here) in the second. Most
# recordings do not last a multiple of ten seconds. One that does (ten seconds, as most resting ECGs) gets a whole
# block of filling and lasts twice as long.
# Source: EDF specification (a data record holds all samples of the first signal, then all of the second, ...);
# pyedflib and EDF's own layout of bytes say the same.
# Seen: leads of 25 s at 360 Hz: the first within rounding, the second off by 33 mV from second 20 on; 5,000 samples
# of 10 s become 10,000. This script fails when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check wfdb==4.3.1 pyedflib==0.1.42 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import numpy as np
import pyedflib
import wfdb
from wfdb.io.convert.edf import wfdb_to_edf


def converted(name, rate_hz, seconds):
    """Two leads as they were written into a record, and as EDF gives them, in millivolts."""
    rng = np.random.default_rng(0)
    leads = np.round(np.cumsum(rng.normal(0, 0.01, (rate_hz * seconds, 2)), axis=0), 3)
    wfdb.wrsamp(
        name, fs=rate_hz, units=["mV", "mV"], sig_name=["I", "II"], p_signal=leads, fmt=["16", "16"],
        adc_gain=[1000, 1000], baseline=[0, 0],
    )  # fmt: skip
    assert np.allclose(wfdb.rdrecord(name).p_signal, leads), "the record is right"
    wfdb_to_edf(name, output_filename=f"{name}.edf")
    with pyedflib.EdfReader(f"{name}.edf") as file:
        return leads.T, np.stack([file.readSignal(place) for place in range(2)])


said, seen = converted("long", 360, 25)
error = np.abs(seen[:, : said.shape[1]] - said).max(axis=1)
assert error[0] < 0.001, "the first lead is right"
assert error[1] > 1, "the behaviour has changed"
late = np.flatnonzero(np.abs(seen[1, : said.shape[1]] - said[1]) > 0.001)[0] / 360
print(f"wfdb {version('wfdb')}, 25 s: lead I within {error[0]:.3f} mV, lead II {error[1]:.3f} mV off, from {late} s on")
assert late == 20, "the behaviour has changed"
said, seen = converted("ten", 500, 10)
print(f"wfdb {version('wfdb')}, 10 s: {said.shape[1]} samples a lead became {seen.shape[1]}")
assert np.allclose(seen[:, : said.shape[1]], said, atol=0.001), "whole blocks are right"
assert seen.shape[1] == 2 * said.shape[1], "the behaviour has changed"
PYTHON
