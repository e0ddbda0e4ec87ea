#!/usr/bin/env bash
# sierraecg 0.4.0 cannot read a Philips SierraECG file that is not compressed.
#
# In XLI, Philips' compression, leads III, aVR, aVL and aVF are stored as what is left of them when I and II have foretold
# them, and have to be rebuilt; in a file without compression they are the leads themselves. sierraecg rebuilds them in
# both, in place: on plain samples, which it holds as views of bytes, that ends in "ValueError: assignment destination is
# read-only". Where the arrays can be written to, III becomes II - I - III, which is zero, and aVR, aVL and aVF nearly.
# Seen: the ValueError for a valid file of version 1.04, and a lead III of zeros when the views are copied. This script
# fails when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check sierraecg==0.4.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import base64

import numpy as np
import sierraecg
from sierraecg import lib

one, two = np.arange(0, 400, 4), np.arange(0, 800, 8)
limbs = [one, two, two - one, -(one + two) // 2, one - two // 2, two - one // 2]
leads = np.array([*limbs, *[one] * 6], "<i2")
samples = base64.b64encode(leads.tobytes()).decode()
names = "I II III aVR aVL aVF V1 V2 V3 V4 V5 V6"
with open("plain.xml", "w") as file:
    file.write(
        '<restingecgdata xmlns="http://www3.medical.philips.com">'
        "<documentinfo><documenttype>SierraECG</documenttype><documentversion>1.04</documentversion></documentinfo>"
        "<dataacquisition><signalcharacteristics><samplingrate>500</samplingrate></signalcharacteristics></dataacquisition>"
        f'<waveforms><parsedwaveforms dataencoding="Base64" numberofleads="12" leadlabels="{names}" '
        f'durationperchannel="200" resolution="5">{samples}</parsedwaveforms></waveforms></restingecgdata>'
    )
try:
    sierraecg.read_file("plain.xml")
    seen = "read"
except ValueError as error:
    seen = str(error)
print(f"sierraecg {sierraecg.__version__}, plain file: {seen}")

split = lib.split_leads
lib.split_leads = lambda *given: [lead.copy() for lead in split(*given)]
three = sierraecg.read_file("plain.xml").leads[2].samples
print(f"lead III was {leads[2].min()} to {leads[2].max()}, is read as {three.min()} to {three.max()}")
assert seen == "assignment destination is read-only", "the behaviour has changed"
assert not three.any() and leads[2].any(), "the behaviour has changed"
PYTHON
