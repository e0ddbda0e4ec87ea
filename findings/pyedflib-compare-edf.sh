#!/usr/bin/env bash
# pyedflib 0.1.42 says of two EDF files that they hold the same values where a lead has a tenth of its voltage, is
# upside down, or is not there at all.
#
# compare_edf is there to verify that a changed file (made anonymous, for example) still has the same signals. It takes
# the physical range of the last lead for all leads, so the gain of the others is never compared; it takes absolute
# values, so the sign does not matter; and it stops with the file that has fewer leads, so leads at the end may be
# missing. An ECG that lost its gain or its polarity, or a lead, passes the check.
# Source: pyedflib's documentation of compare_edf: it checks whether the values are the same, gives True if the signals
# are equal, and raises an error otherwise.
# Seen: True for all three; an error, as it should be, for other stored numbers. edfio reads three different recordings.
# This script fails when that changes.
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
from pyedflib.highlevel import compare_edf

RATE_HZ, RANGE_UV = 100, (-3276.7, 3276.7)
lead_i, lead_ii = np.random.default_rng(0).integers(-3000, 3000, (2, 5 * RATE_HZ)).astype(float)


def write(path, *leads):
    """Leads as (samples in uV, physical range in uV)."""
    signals = [
        edfio.EdfSignal(
            samples,
            RATE_HZ,
            label=name,
            physical_dimension="uV",
            physical_range=(low, high),
            digital_range=(-32767, 32767),
        )
        for name, (samples, (low, high)) in zip(("ECG I", "ECG II"), leads, strict=False)
    ]
    edfio.Edf(signals).write(path)


write("original.edf", (lead_i, RANGE_UV), (lead_ii, RANGE_UV))
write("tenth.edf", (lead_i / 10, (-327.67, 327.67)), (lead_ii, RANGE_UV))
write("upside-down.edf", (-lead_i, RANGE_UV), (-lead_ii, RANGE_UV))
write("one-lead.edf", (lead_i, RANGE_UV))
write("other.edf", (np.roll(lead_i, 1), RANGE_UV), (lead_ii, RANGE_UV))

for name, right in (("tenth", [lead_i / 10, lead_ii]), ("upside-down", [-lead_i, -lead_ii]), ("one-lead", [lead_i])):
    read = [signal.data for signal in edfio.read_edf(f"{name}.edf").signals]
    assert len(read) == len(right), "the file is right"
    assert all(np.allclose(a, b, atol=0.051) for a, b in zip(read, right, strict=True)), "the file is right"
    try:
        same = compare_edf("original.edf", f"{name}.edf")
    except AssertionError as error:
        raise AssertionError("the behaviour has changed") from error
    print(f"pyedflib {pyedflib.__version__}, {name}: compare_edf says {same}; edfio reads {read[0][:3].round(1)} uV in "
          f"{len(read)} leads, and {lead_i[:3]} in 2 in the original")
    assert same is True, "the behaviour has changed"
assert compare_edf("original.edf", "original.edf") is True
try:
    compare_edf("original.edf", "other.edf")
except AssertionError as error:
    assert "are not the same" in str(error)
else:
    raise AssertionError("other stored numbers are not found either")
PYTHON
