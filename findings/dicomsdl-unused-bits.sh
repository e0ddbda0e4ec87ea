#!/usr/bin/env bash
# dicomsdl 0.109.4 takes all 16 bits of a pixel for its value where the header says that 12 of them are.
#
# The header says how many bits of each pixel are its value, and where the highest lies. dicomsdl does not use it. Where
# an overlay (the outline of a region, the writing on a film) lies in a bit above, as the older editions of the standard
# let it, its pixels are 4096 too high, and without a window to_pil_image darkens the rest of the film. Where signed
# pixels are stored without copies of their sign, every negative value is 4096 too high: -1000 HU is read as 3096.
# Source: DICOM PS3.5 8.1.1 (Bits Stored is the number of the allocated bits that represent a sample, High Bit says
# where they lie; older editions: the others can be used for overlay planes).
# Seen: the values below. pydicom and SimpleITK read the same files rightly. This script fails when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dicomsdl==0.109.4 pydicom==3.0.2 numpy==2.4.6 \
    SimpleITK==2.5.7
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import dicomsdl
import numpy as np
import pydicom
import SimpleITK
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

RAMP = np.arange(4096).reshape(64, 64)
SIGNED = RAMP - 2048
OVERLAY = np.zeros_like(RAMP)
OVERLAY[:8] = 1


def write(path, stored, signed):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, "1.2.3"
    dataset.Modality, dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = "CT", *stored.shape, 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, signed
    dataset.PhotometricInterpretation, dataset.PixelData = "MONOCHROME2", stored.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.save_as(path, enforce_file_format=True)


for name, stored, signed, right, error in (
    ("plain", RAMP, 0, RAMP, 0),
    ("an overlay in bit 12", RAMP + (OVERLAY << 12), 0, RAMP, 4096 * OVERLAY),
    ("signed, the sign not copied", SIGNED & 0xFFF, 1, SIGNED, 4096 * (SIGNED < 0)),
):
    write("film.dcm", stored, signed)
    assert np.array_equal(pydicom.dcmread("film.dcm").pixel_array, right), "the file is right"
    other = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage("film.dcm"))[0]
    assert np.array_equal(other, right), "the file is right"
    seen = dicomsdl.open("film.dcm").pixelData().astype(int)
    print(
        f"dicomsdl {version('dicomsdl')}, {name}: {seen[0, 0]} to {seen[-1, -1]}, where {right[0, 0]} to "
        f"{right[-1, -1]} is right; {np.mean(seen != right):.0%} of the pixels are wrong"
    )
    assert np.array_equal(seen, right + error), "the behaviour has changed"
PYTHON
