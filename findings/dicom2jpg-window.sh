#!/usr/bin/env bash
# dicom2jpg 0.1.10 stretches each picture from black to white after the window: the same tissue has another grey in
# each.
#
# A window says which values are black and which are white. dicom2jpg applies it and then stretches what comes out, so
# that the darkest pixel of the picture is black and the brightest white. A slice whose values lie inside the window
# loses it altogether: two tissues 20 HU apart are shown black and white, the noise of a water phantom is shown at full
# contrast, and 40 HU (mid-grey, in a window about 40) may be anything. Slices of one series cannot be compared. The
# documentation says that the pictures look as they do in standard DICOM viewers.
# Source: DICOM PS3.3 C.11.2.1.2 (window centre and width, with the formula); dicom2jpg's documentation.
# Seen: the greys below; a picture that reaches beyond both ends of the window is right within a grey level. This script
# fails when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dicom2jpg==0.1.10 pydicom==3.0.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import dicom2jpg
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

CENTRE_HU, WIDTH_HU = 40, 400


def write(path, hounsfield):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, "1.2.3"
    dataset.Modality, dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = "CT", *hounsfield.shape, 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PhotometricInterpretation, dataset.RescaleSlope, dataset.RescaleIntercept = "MONOCHROME2", 1, -1024
    dataset.WindowCenter, dataset.WindowWidth = CENTRE_HU, WIDTH_HU
    dataset.PixelData = (hounsfield + 1024).astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.save_as(path, enforce_file_format=True)


def grey(hounsfield):
    """Black is 0, white is 255, by the formula of the standard."""
    return np.clip(255 * ((hounsfield - (CENTRE_HU - 0.5)) / (WIDTH_HU - 1) + 0.5), 0, 255)


seen = {}
for lowest, highest in ((-1000, 1000), (30, 50), (100, 150), (-100, 100)):
    hounsfield = np.linspace(lowest, highest, 64).round().astype(int).reshape(8, 8)
    write("slice.dcm", hounsfield)
    film = pydicom.dcmread("slice.dcm")
    windowed = apply_voi_lut(apply_modality_lut(film.pixel_array, film), film)
    black, white = -1024, 3071  # what pydicom spreads the window over: the values that 12 bits can have
    assert np.allclose(255 * (windowed - black) / (white - black), grey(hounsfield)), "the file is right"
    picture = dicom2jpg.dicom2img("slice.dcm").astype(float)
    seen[lowest, highest] = (picture.min(), picture.max())
    print(
        f"dicom2jpg {version('dicom2jpg')}, a slice of {lowest} to {highest} HU: greys {picture.min():.0f} to "
        f"{picture.max():.0f}, where {grey(lowest):.0f} to {grey(highest):.0f} are right"
    )
    if lowest == -1000:
        assert np.abs(picture - grey(hounsfield)).max() < 2, "beyond the window it is right"
assert set(seen.values()) == {(0, 255)}, "the behaviour has changed"
PYTHON
