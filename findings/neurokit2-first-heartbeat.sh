#!/usr/bin/env bash
# neurokit2 0.3.0 never finds a heartbeat in the first 0.3 seconds of a recording.
#
# Its default detector keeps heartbeats 0.3 s apart ("mindelay") and begins its list with a heartbeat at sample 0, which
# it takes off at the end. A true one before 0.3 s is too near to that and is dropped: of a recording that begins within
# a beat, as every second one of 100 beats a minute does, the first heartbeat and the first interval are lost, and
# nothing says so. ecg_findpeaks, ecg_peaks and ecg_process all do it.
# Seen: of 13 equal beats, the first at 0.29 s, 12 are found; where the first is at 0.31 s, all 13. Padding the recording in
# front brings the heartbeat back. This script fails when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check neurokit2==0.3.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import neurokit2
import numpy as np

RATE_HZ = 500


def recording(first_s):
    """Ten seconds with a beat (QRS and T) every 0.8 s, and where the beats are."""
    time_s, beats_s = np.arange(10 * RATE_HZ) / RATE_HZ, np.arange(first_s, 10, 0.8)
    offset = time_s[:, None] - beats_s
    waves = np.exp(-0.5 * (offset / 0.012) ** 2) + 0.25 * np.exp(-0.5 * ((offset - 0.28) / 0.04) ** 2)
    return waves.sum(axis=1), beats_s


def peaks_s(signal):
    return neurokit2.ecg_findpeaks(signal, sampling_rate=RATE_HZ)["ECG_R_Peaks"] / RATE_HZ


print(f"neurokit2 {neurokit2.__version__}")
found = {}
for first_s in (0.1, 0.29, 0.31):
    signal, beats_s = recording(first_s)
    found[first_s] = peaks_s(signal)
    print(f"first of {len(beats_s)} beats at {first_s} s: {len(found[first_s])} found, the first at {found[first_s][0]:.2f} s")
signal, beats_s = recording(0.29)
whole = neurokit2.ecg_process(signal, sampling_rate=RATE_HZ)[1]["ECG_R_Peaks"] / RATE_HZ
padded = peaks_s(np.concatenate([np.zeros(RATE_HZ), signal])) - 1
print(f"ecg_process finds the first at {whole[0]:.2f} s; with a second of silence before it, ecg_findpeaks at {padded[0]:.2f} s")
assert np.isclose(found[0.1][0], 0.9, atol=0.01), "the behaviour has changed"
assert np.isclose(found[0.29][0], 1.09, atol=0.01), "the behaviour has changed"
assert np.isclose(found[0.31][0], 0.31, atol=0.01), "the behaviour has changed"
assert np.isclose(whole[0], 1.09, atol=0.02), "the behaviour has changed"
assert np.isclose(padded[0], 0.29, atol=0.01), "the behaviour has changed"
PYTHON
