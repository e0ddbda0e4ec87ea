#!/usr/bin/env bash
# wfdb 4.3.1 takes start_time and stop_time of ann2rr for the shortest and the longest interval that is wanted.
#
# They are "the time to start (stop) the intervals in seconds", as -f and -t of the program of that name in the WFDB
# software, from which it was made. But the lengths of the intervals are compared with them and not the moments at which they
# lie: start_time=10 leaves nothing of any recording, stop_time=10 leaves all of it, and stop_time=1 is no first second but
# the whole recording without its slow beats, which makes a heart of 60 beats a minute one of 75. Nothing says so.
# Source: WFDB Applications Guide, ann2rr(1): -f, begin at the specified time; -t, stop at the specified time.
# Seen: of 40 beats in 40 s, 0, all 40, and the 30 short ones are left. This script fails when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check wfdb==4.3.1 numpy==2.4.6 pandas==3.1.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import wfdb
from wfdb.processing import ann2rr

RATE_HZ = 250
intervals_s = np.array([0.8] * 30 + [1.6] * 10)  # 24 s at 75 beats a minute, then 16 s with every second beat dropped
beats_s = np.cumsum(intervals_s)
wfdb.wrann("r", "atr", np.rint(beats_s * RATE_HZ).astype(int), symbol=["N"] * len(beats_s), fs=RATE_HZ)
assert np.allclose(wfdb.rdann("r", "atr").sample / RATE_HZ, beats_s), "the file is right"


def left(**limits):
    return ann2rr("r", "atr", format="s", **limits)


assert np.allclose(left(), intervals_s), "without limits it is right"
for limits, right in (
    ({"start_time": 10}, (beats_s > 10).sum()), ({"stop_time": 10}, (beats_s < 10).sum()), ({"stop_time": 1}, 1),
):
    found = left(**limits)
    rate = 60 / found.mean() if len(found) else np.nan
    print(f"wfdb {wfdb.__version__}, {limits}: {len(found)} intervals, {rate:.0f} beats a minute; {right} are right")
assert len(left(start_time=10)) == 0, "the behaviour has changed"
assert np.allclose(left(stop_time=10), intervals_s), "the behaviour has changed"
assert np.allclose(left(stop_time=1), intervals_s[intervals_s < 1]), "the behaviour has changed"
assert np.allclose(left(start_time=1), intervals_s[intervals_s > 1]), "the behaviour has changed"
PYTHON
