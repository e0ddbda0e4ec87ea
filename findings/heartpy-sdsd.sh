#!/usr/bin/env bash
# heartpy 1.2.7 computes SDSD from differences without their signs: a heart whose intervals swing by 200 ms has 0.
#
# SDSD is the standard deviation of the differences between neighbouring intervals, which rise and fall. heartpy takes
# their absolute values first (for RMSSD and pNN50 that changes nothing) and the deviation of those: 0 for intervals that
# alternate, and three fifths of the right value for those that vary at random. process, process_segmentwise and process_rr
# all do it, and their documentation calls the number the standard deviation of successive differences.
# Source: Task Force of the ESC and NASPE, Heart rate variability, Circulation 93:1043, 1996, table 1.
# Seen: 0 ms where 200 ms are right, 43 where 71 are; SDNN and RMSSD of the same intervals are right. This script fails when
# that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check heartpy==1.2.7 numpy==2.4.6 scipy==1.17.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import heartpy
import numpy as np

intervals_ms = {
    "alternating by 200 ms": np.tile([700.0, 900.0], 151)[:301],
    "at random about 800 ms": np.random.default_rng(0).normal(800, 50, 301),
}
seen = {}
for name, values in intervals_ms.items():
    differences = np.diff(values)
    _, measures = heartpy.process_rr(values, threshold_rr=False, clean_rr=False, calc_freq=False)
    seen[name] = measures["sdsd"]
    print(
        f"heartpy {version('heartpy')}, {name}: SDSD {measures['sdsd']:.1f} ms, right is {differences.std():.1f}; "
        f"RMSSD {measures['rmssd']:.1f}, right is {np.sqrt((differences**2).mean()):.1f}"
    )
    assert np.isclose(measures["rmssd"], np.sqrt((differences**2).mean())), "RMSSD is right"
    assert np.isclose(measures["sdnn"], values.std()), "SDNN is right"
    assert np.isclose(measures["sdsd"], np.abs(differences).std()), "the behaviour has changed"
    assert measures["sdsd"] < 0.7 * differences.std(), "the behaviour has changed"
assert seen["alternating by 200 ms"] == 0, "the behaviour has changed"
PYTHON
