#!/usr/bin/env bash
# hrv-analysis 1.0.6 gives a power by Lomb-Scargle that rises with the heart rate: at 60 a minute half of what is right.
#
# get_frequency_domain_features(method="lomb") adds up a periodogram over frequency as if it were a density per hertz.
# It is not: each value has to be multiplied by twice the mean interval first (two, because there are no negative
# frequencies). So all powers (VLF, LF, HF, total) are too small by half the mean heart rate in hertz: 50 % at 60 a
# minute, 67 % at 80, right at 120 only. The documentation calls them variances. Powers of two people, or of one at rest
# and in exercise, or by the two methods of this function, cannot be compared: the same swing seems to double when the
# rate does.
# Source: Task Force of the ESC and NASPE, Heart rate variability, Circulation 93:1043, 1996 (power in ms2; the power of
# a sine of amplitude A is its variance, A2 / 2); Scargle, Astrophys. J. 263:835, 1982.
# Seen: the powers below, for intervals that swing by 50 ms at 0.1 Hz (1250 ms2); by Welch, and by scipy's periodogram
# with the factor, they are right within a tenth. This script fails when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
# nolds, for the sample entropy only: 0.6.3, which hrv-analysis asks for, cannot be imported by Python 3.11
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps hrv-analysis==1.0.6
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 scipy==1.17.1 pandas==3.1.1 \
    astropy==8.0.2 matplotlib==3.11.2 nolds==0.6.2
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from hrvanalysis import get_frequency_domain_features
from scipy.signal import lombscargle

SWING_MS, SWING_HZ, SECONDS = 50, 0.1, 600
RIGHT_MS2 = SWING_MS**2 / 2


def intervals_ms(mean_ms):
    time_s, intervals = 0.0, []
    while time_s < SECONDS:
        intervals.append(mean_ms + SWING_MS * np.sin(2 * np.pi * SWING_HZ * time_s))
        time_s += intervals[-1] / 1000
    return np.array(intervals)


def own_power_ms2(intervals):
    """The area under scipy's periodogram from 0.04 to 0.15 Hz, one-sided and per hertz."""
    times_s = np.cumsum(intervals) / 1000
    frequencies_hz = np.linspace(0.04, 0.15, 4001)
    periodogram = lombscargle(times_s, intervals - intervals.mean(), 2 * np.pi * frequencies_hz)
    density = 2 * periodogram * (times_s[-1] - times_s[0]) / (len(intervals) - 1)
    return np.trapezoid(density, frequencies_hz)


for mean_ms in (1000, 750, 500):
    intervals = intervals_ms(mean_ms)
    assert np.isclose(intervals.var(), RIGHT_MS2, rtol=0.01), "the variance is right"
    assert np.isclose(own_power_ms2(intervals), RIGHT_MS2, rtol=0.02), "so is the power by scipy"
    power = {method: get_frequency_domain_features(intervals, method=method)["lf"] for method in ("welch", "lomb")}
    print(
        f"hrv-analysis {version('hrv-analysis')}, {60000 / mean_ms:.0f} a minute: LF by Lomb-Scargle "
        f"{power['lomb']:.0f} ms2, by Welch {power['welch']:.0f}, right is {RIGHT_MS2:.0f}"
    )
    assert np.isclose(power["welch"], RIGHT_MS2, rtol=0.1), "by Welch it is right"
    assert np.isclose(power["lomb"], RIGHT_MS2 * 500 / mean_ms, rtol=0.02), "the behaviour has changed"
PYTHON
