#!/usr/bin/env bash
# pydicom 3.0.2 reads waveforms of Explicit VR Big Endian files with the bytes of every sample exchanged, and says nothing.
#
# Dataset.waveform_array takes the bytes of WaveformData for little endian whatever the transfer syntax is; pixel_array heeds
# it. An ECG sample of 1 becomes 256, of 300 becomes 11265. Older carts and archives still hold such files.
# Source: DICOM PS3.5, 7.3 and A.3 (OW in big endian files is big endian); PS3.3 C.10.9.
# Seen: exchanged bytes for 16-bit waveforms, right pixels from the same syntax. This script fails when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pydicom==3.0.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRBigEndian

ecg = pydicom.dcmread(get_testdata_file("waveform_ecg.dcm"))
right = ecg.waveform_array(0)
for group in ecg.WaveformSequence:
    group.WaveformData = np.frombuffer(group.WaveformData, "<i2").astype(">i2").tobytes()
ecg.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
pydicom.dcmwrite("big.dcm", ecg, little_endian=False, implicit_vr=False)
wrong = pydicom.dcmread("big.dcm").waveform_array(0)
samples = np.frombuffer(pydicom.dcmread("big.dcm").WaveformSequence[0].WaveformData, ">i2").reshape(-1, 12) * 1.25

film = pydicom.dcmread(get_testdata_file("MR_small.dcm")).pixel_array
same_film = pydicom.dcmread(get_testdata_file("MR_small_bigendian.dcm")).pixel_array
print(f"pydicom {pydicom.__version__}, lead I, first samples in uV: {right[:4, 0]} little endian, {wrong[:4, 0]} big endian")
assert np.array_equal(samples, right), "the file holds the same samples"
assert np.array_equal(film, same_film), "pixels of both byte orders are read alike"
assert not np.array_equal(wrong, right), "the behaviour has changed"
PYTHON
