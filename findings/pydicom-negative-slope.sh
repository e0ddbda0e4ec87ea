#!/usr/bin/env bash
# pydicom 3.0.2 makes a negative of a film when it applies a window to one whose rescale slope is negative.
#
# apply_windowing (and apply_voi_lut, which calls it) spreads the window over the values that the film can have: it
# rescales the least and the greatest stored number and takes them for the least and the greatest value. With a negative
# slope it is the other way round, so what lies above the window becomes the least value, and white turns black. Nothing
# is said. The standard allows such slopes; a device that stores light where film would be dark needs one. A set of
# windowed films then holds negatives of those of one device.
# Source: DICOM PS3.3 C.11.1 (rescale) and C.11.2.1.2.1 (below the window the least output value, above it the
# greatest), and the same for LINEAR_EXACT and SIGMOID (C.11.2.1.3).
# Seen: for three functions, falling values where rising ones are right, and the other way round; highdicom shows the
# same films rightly (but for half a step with LINEAR), and pydicom those with the same values and a positive slope.
# This script fails when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pydicom==3.0.2 highdicom==0.28.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import highdicom
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

VALUES = np.arange(4096).reshape(64, 64)  # the film after the rescale: it rises from 0 to 4095
CENTRE, WIDTH = 2048, 1000


def write(path, slope, intercept, function):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = ComputedRadiographyImageStorage, "1.2.3"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.4", "1.2.5"
    dataset.PatientID = dataset.PatientName = dataset.PatientBirthDate = dataset.PatientSex = dataset.StudyID = ""
    dataset.StudyDate = dataset.StudyTime = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    dataset.Modality, dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = "CR", *VALUES.shape, 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = ((VALUES - intercept) // slope).astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = slope, intercept, "US"
    dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = CENTRE, WIDTH, function
    dataset.save_as(path, enforce_file_format=True)


def right(function):
    """From 0 for the least output value to 1 for the greatest, by the formulas of the standard."""
    if function == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (VALUES - CENTRE) / WIDTH))
    if function == "LINEAR_EXACT":
        return np.clip((VALUES - CENTRE) / WIDTH + 0.5, 0, 1)
    return np.clip((VALUES - (CENTRE - 0.5)) / (WIDTH - 1) + 0.5, 0, 1)


for function in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
    for slope, intercept in ((1, 0), (-1, 4095)):
        write("film.dcm", slope, intercept, function)
        film = pydicom.dcmread("film.dcm")
        values = apply_modality_lut(film.pixel_array, film)
        assert np.array_equal(values, VALUES), "the rescale is right"
        other = highdicom.imread("film.dcm").get_frame(1, apply_voi_transform=True)
        assert np.allclose(other, right(function), atol=0.0021), "the file is right"  # highdicom: a half-step beside
        seen = apply_voi_lut(values, film) / 4095
        print(
            f"pydicom {pydicom.__version__}, {function}, slope {slope}: {seen[0, 0]:.2f} to {seen[-1, -1]:.2f}, where "
            f"{right(function)[0, 0]:.2f} to {right(function)[-1, -1]:.2f} is right"
        )
        if slope == 1:
            assert np.allclose(seen, right(function)), "with a positive slope it is right"
        else:
            assert np.allclose(seen, 1 - right(function)), "the behaviour has changed"
PYTHON
