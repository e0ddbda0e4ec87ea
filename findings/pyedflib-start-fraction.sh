#!/usr/bin/env bash
# pyedflib 0.1.42 reads and writes the fraction of a recording's first second wrongly, by a factor of ten, or not at
# all.
#
# The library below it counts that fraction in steps of 100 ns, ten to a microsecond. pyedflib takes a hundred. A
# recording that starts at 12:00:00.25 is read as one of 12:00:00.025. When it writes, 0.05 s becomes 0.5 s in the file
# (pyedflib reads it back as 0.05, so a round trip looks right), and 0.25 s is too large, which nobody is told: the file
# starts at the full second. Two recordings of one patient, joined by their times, are out of step by up to 0.9 s.
# Source: edfplus.info, specification of EDF+, 2.2.4 (the onset of the first record may hold a fraction of a second).
# Seen: the values below, beside those of edfio, which reads and writes the fraction as the file has it. This script
# fails when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyedflib==0.1.42 edfio==0.4.18 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import datetime
from pathlib import Path

import edfio
import numpy as np
import pyedflib
from pyedflib import highlevel

RATE_HZ = 100
samples = np.arange(2 * RATE_HZ, dtype=np.int32)
seen = {}


def first_onset_s(path):
    """The onset of the first record as the file's own text has it."""
    data = Path(path).read_bytes()
    start = data.index(b"\x14\x14\x00", int(data[184:192]))
    return float(data[data.rindex(b"+", 0, start) : start].decode("ascii"))


for microseconds in (250_000, 50_000):
    time = datetime.time(12, 0, 0, microseconds)
    edfio.Edf(
        [edfio.EdfSignal(samples.astype(float), RATE_HZ, label="ECG II", physical_range=(-3276.8, 3276.7))],
        recording=edfio.Recording(startdate=datetime.date(2000, 1, 1)),
        starttime=time,
        annotations=[],
    ).write("edfio.edf")
    assert edfio.read_edf("edfio.edf").starttime == time, "the file is right"
    assert first_onset_s("edfio.edf") == microseconds / 1e6, "the file is right"
    with pyedflib.EdfReader("edfio.edf") as file:
        read = file.getStartdatetime().microsecond

    header = highlevel.make_signal_header("ECG II", sample_frequency=RATE_HZ, physical_min=-3277, physical_max=3277)
    with pyedflib.EdfWriter("pyedflib.edf", 1, file_type=pyedflib.FILETYPE_EDFPLUS) as file:
        file.setSignalHeaders([header])
        file.setStartdatetime(datetime.datetime(2000, 1, 1, 12, 0, 0, microseconds))
        file.writeSamples([samples], digital=True)
    written = first_onset_s("pyedflib.edf")
    assert edfio.read_edf("pyedflib.edf").starttime.microsecond == round(1e6 * written), "another reader agrees"
    seen[microseconds] = (read, round(1e6 * written))
    print(
        f"pyedflib {pyedflib.__version__}, a start at {microseconds / 1e6} s after 12:00: read as {read / 1e6} s, "
        f"written as {written} s"
    )
assert seen == {250_000: (25_000, 0), 50_000: (5_000, 500_000)}, "the behaviour has changed"
PYTHON
