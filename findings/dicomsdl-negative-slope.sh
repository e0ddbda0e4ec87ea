#!/usr/bin/env bash
# dicomsdl 0.109.4 makes a negative of a film whose rescale slope is negative.
#
# to_pil_image has to turn stored numbers into the modality's unit, by slope and intercept, before the window. It moves
# the window's ends the other way instead. With a negative slope these change places, and what should be white comes out
# black; where there is no window, the slope is not heeded at all. The standard allows such slopes; a device that stores
# light where film would be dark needs one. pixelData of the same library is right, so the numbers of a film and its
# picture contradict each other.
# Source: DICOM PS3.3 C.11.1 (output is slope times stored value plus intercept) and C.11.2 (the window comes after
# it).
# Seen: black to white for white to black, with a window and without; the same pixels with a slope of 1 are right. This
# script fails when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dicomsdl==0.109.4 pydicom==3.0.2 numpy==2.4.6 \
    pillow==13.0.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import dicomsdl
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

RAMP = np.arange(4096, dtype="<u2").reshape(64, 64)


def write(path, slope, intercept, **window):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = ComputedRadiographyImageStorage, "1.2.3"
    dataset.Modality, dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = "CR", *RAMP.shape, 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PhotometricInterpretation, dataset.PixelData = "MONOCHROME2", RAMP.tobytes()
    dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
    dataset["PixelData"].VR = "OW"
    for name, value in window.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)


full_window = {"WindowCenter": 2048, "WindowWidth": 4096}
seen = {}
for name, slope, intercept, window in (
    ("slope 1 with a window", 1, 0, full_window),
    ("slope 1 without", 1, 0, {}),
    ("slope -1 with a window", -1, 4095, full_window),
    ("slope -1 without", -1, 4095, {}),
):
    write("film.dcm", slope, intercept, **window)
    film = pydicom.dcmread("film.dcm")
    right = apply_modality_lut(film.pixel_array, film) * 255 / 4095  # the window is the whole range
    assert np.allclose(right, (slope * RAMP.astype(float) + intercept) * 255 / 4095), "the file is right"
    film = dicomsdl.open("film.dcm")
    assert np.array_equal(film.pixelData(), slope * RAMP.astype(float) + intercept), "pixelData is right"
    picture = np.asarray(film.to_pil_image())
    seen[name] = (int(picture[0, 0]), int(picture[-1, -1]))
    print(
        f"dicomsdl {version('dicomsdl')}, {name}: greys {picture[0, 0]} to {picture[-1, -1]}, where "
        f"{right[0, 0]:.0f} to {right[-1, -1]:.0f} are right"
    )
assert seen["slope 1 with a window"] == seen["slope 1 without"] == (0, 255), "slope 1 is right"
assert seen["slope -1 with a window"] == seen["slope -1 without"] == (0, 255), "the behaviour has changed"
PYTHON
