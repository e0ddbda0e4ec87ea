#!/usr/bin/env bash
# SimpleITK 2.5.7 passes over the Modality LUT of a DICOM film: where the table turns the film round, it stays a negative.
#
# ReadImage gives numbers in the modality's unit where the header has a rescale slope and intercept. The other form of the
# same step, a table (Modality LUT Sequence), it does not apply, and gives the stored numbers without a warning or an error.
# Computed radiography and digitized film may have such a table, for example to optical density. Whoever reads an archive by
# SimpleITK (or what is built on it) has films in two kinds of unit. pydicom's apply_modality_lut heeds both forms.
# Source: DICOM PS3.3 C.11.1 (Modality LUT: a table, or slope and intercept) and A.2 (computed radiography).
# Seen: stored numbers for a film with a table, rescaled ones for the same film with slope and intercept of the same
# meaning; nothing on standard output or error. This script fails when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check SimpleITK==2.5.7 pydicom==3.0.2 numpy==2.4.6
cd "$folder"
cat > films.py <<'PYTHON'
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

RAMP = np.arange(4096, dtype="<u2").reshape(64, 64)
RIGHT = 4095 - RAMP.astype(int)


def write(path, **modality):
    """A film that rises from 0 to 4095, with what makes 4095 to 0 of it."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = ComputedRadiographyImageStorage, "1.2.3"
    dataset.Modality, dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = "CR", *RAMP.shape, 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PhotometricInterpretation, dataset.PixelData = "MONOCHROME2", RAMP.tobytes()
    dataset["PixelData"].VR = "OW"
    for name, value in modality.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    film = pydicom.dcmread(path)
    assert np.array_equal(apply_modality_lut(film.pixel_array, film), RIGHT), "the file is right"


table = Dataset()
table.ModalityLUTType = "US"
table.add_new("LUTDescriptor", "US", [4096, 0, 16])
table.add_new("LUTData", "US", RIGHT.ravel().tolist())
write("table.dcm", ModalityLUTSequence=[table])
write("slope.dcm", RescaleSlope=-1, RescaleIntercept=4095, RescaleType="US")
PYTHON
"$folder/venv/bin/python" -W ignore films.py
cat > read.py <<'PYTHON'
import sys

import SimpleITK

pixels = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(sys.argv[1]))[0]
sys.stdout.write(f"{pixels[0, 0]} to {pixels[-1, -1]}")
PYTHON
version=$("$folder/venv/bin/python" -c 'import SimpleITK; print(SimpleITK.__version__)')
for film in table slope; do
    "$folder/venv/bin/python" read.py "$film.dcm" > "$film.txt" 2>&1
    echo "SimpleITK $version, $film: $(cat "$film.txt"), where 4095 to 0 is right"
done
[ "$(cat slope.txt)" = "4095 to 0" ] || { echo "the slope is not applied"; exit 1; }
[ "$(cat table.txt)" = "0 to 4095" ] || { echo "the behaviour has changed"; exit 1; }
