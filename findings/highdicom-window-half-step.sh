#!/usr/bin/env bash
# highdicom 0.28.2 shows a film with a wrong window where its rescale slope is not 1: with small slopes a quarter of the
# grey scale off.
#
# The standard's window (LINEAR) is half a unit lower and one unit narrower than its centre and width say; the unit is
# that of the values after the rescale. Image.get_frame does the rescale and the window in one step, on stored numbers,
# and takes half a stored step and one stored step instead. With a slope of 0.001 (optical density, for example) a value
# that should be white is shown at 75 %; with a slope of 2 and a width of 20 the greys are 5 % off; with a negative
# slope the half-step goes the wrong way. Nothing is said.
# Source: DICOM PS3.3 C.11.2.1.2.1 (the formula; its input is the output of the Modality LUT).
# Seen: the values below; right ones for a slope of 1, and for LINEAR_EXACT, which has no half-step. pydicom's
# apply_voi_lut gives the right ones for all. This script fails when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check highdicom==0.28.2 pydicom==3.0.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import highdicom
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

RAMP = np.arange(4096, dtype="<u2").reshape(64, 64)


def write(path, slope, intercept, centre, width, function):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = ComputedRadiographyImageStorage, "1.2.3"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.4", "1.2.5"
    dataset.PatientID = dataset.PatientName = dataset.PatientBirthDate = dataset.PatientSex = dataset.StudyID = ""
    dataset.StudyDate = dataset.StudyTime = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    dataset.Modality, dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = "CR", *RAMP.shape, 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PhotometricInterpretation, dataset.PixelData = "MONOCHROME2", RAMP.tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = slope, intercept, "US"
    dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = centre, width, function
    dataset.save_as(path, enforce_file_format=True)


for slope, intercept, centre, width, function, least_error in (
    (1, -1024, 40, 400, "LINEAR", 0),
    (0.001, 0, 2, 4, "LINEAR_EXACT", 0),
    (0.001, 0, 2, 4, "LINEAR", 0.24),
    (2, 0, 100, 20, "LINEAR", 0.05),
    (0.5, -100, 0, 10, "LINEAR", 0.05),
):
    write("film.dcm", slope, intercept, centre, width, function)
    film = pydicom.dcmread("film.dcm")
    values = apply_modality_lut(film.pixel_array, film)
    assert np.allclose(values, RAMP * float(slope) + intercept), "the rescale is right"
    if function == "LINEAR":
        right = np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)
    else:
        right = np.clip((values - centre) / width + 0.5, 0, 1)
    by_pydicom = apply_voi_lut(values, film)
    least, greatest = intercept, 4095 * slope + intercept  # what pydicom spreads the window over
    assert np.allclose((by_pydicom - least) / (greatest - least), right), "the file is right"
    seen = highdicom.imread("film.dcm").get_frame(1, apply_voi_transform=True)
    worst = np.unravel_index(np.abs(seen - right).argmax(), seen.shape)
    print(
        f"highdicom {highdicom.__version__}, slope {slope}, window {centre}/{width} {function}: a value of "
        f"{values[worst]:g} is shown at {seen[worst]:.1%}, where {right[worst]:.1%} is right"
    )
    error = np.abs(seen - right).max()
    if least_error:
        assert least_error < error < least_error + 0.02, "the behaviour has changed"
    else:
        assert error < 0.0005, "here it is right"
PYTHON
