#!/usr/bin/env bash
# pyedflib 0.1.42 loses every annotation of an EDF+ file in crop_edf, also those inside the part that is kept.
#
# crop_edf reads the samples and the header of a file and writes the part that is wanted. It never asks for the
# annotations, and says nothing of them. Beats, arrhythmias, sleep stages and notes of the staff are such annotations;
# who crops a recording to the hour about an event has afterwards a file that says that nothing happened. The other
# functions of the same module (drop_channels, anonymize_edf) keep them.
# Source: edfplus.info, specification of EDF+, 2.2 (annotations are part of the recording); pyedflib's documentation of
# crop_edf, which says that it crops a file to the times that are wanted.
# Seen: three annotations before; none after, where one is right (at 2 s), and none where the file is kept whole. The
# samples and the start are right. This script fails when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyedflib==0.1.42 edfio==0.4.18 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import datetime

import edfio
import numpy as np
import pyedflib
from pyedflib import highlevel

RATE_HZ, SECONDS = 100, 20
NOTES = [(3, "start of the drug"), (12, "tachycardia"), (18, "end of the drug")]

ecg_uv = np.random.default_rng(0).integers(-1000, 1000, RATE_HZ * SECONDS).astype(float)
edfio.Edf(
    [edfio.EdfSignal(ecg_uv, RATE_HZ, label="ECG II", physical_dimension="uV", physical_range=(-3276.8, 3276.7))],
    recording=edfio.Recording(startdate=datetime.date(2000, 1, 1)),
    starttime=datetime.time(12),
    annotations=[edfio.EdfAnnotation(onset, None, text) for onset, text in NOTES],
).write("long.edf")


def annotations(path):
    """What two libraries find in a file."""
    by_edfio = [(each.onset, each.text) for each in edfio.read_edf(path).annotations]
    by_pyedflib = [(onset, text) for onset, _, text in highlevel.read_edf(path)[2]["annotations"]]
    assert by_edfio == by_pyedflib, "two readers agree"
    return by_edfio


assert annotations("long.edf") == NOTES, "the file is right"
highlevel.drop_channels("long.edf", "kept.edf", to_keep=["ECG II"])
assert annotations("kept.edf") == NOTES, "the other functions keep them"

highlevel.crop_edf("long.edf", new_file="whole.edf", verbose=False)
highlevel.crop_edf(
    "long.edf", new_file="part.edf", start=10, start_format="seconds", stop=15, stop_format="seconds", verbose=False
)
part = edfio.read_edf("part.edf")
assert part.starttime == datetime.time(12, 0, 10), "the start is right"
assert np.allclose(part.signals[0].data, ecg_uv[1000:1500], atol=0.051), "the samples are right"
seen = {name: annotations(name) for name in ("whole.edf", "part.edf")}
for name, right in (("whole.edf", NOTES), ("part.edf", [(2, "tachycardia")])):
    print(f"pyedflib {pyedflib.__version__}, {name}: {seen[name]}, where {right} is right")
assert seen == {"whole.edf": [], "part.edf": []}, "the behaviour has changed"
PYTHON
