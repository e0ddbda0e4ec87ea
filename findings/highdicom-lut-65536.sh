#!/usr/bin/env bash
# highdicom 0.28.2 cannot show a film whose look-up table has 65,536 entries, the full table of 16 bits.
#
# The number of entries stands in 16 bits, and the standard has 65,536 written as 0. highdicom's reader takes the 0 as
# it is and says that the table's length is not what the header promises. So a film with such a table, as Modality LUT
# or as VOI LUT, cannot be read into pixels by Image.get_frame. A table for all the values that 16 bits can have is one.
# highdicom's own class for writing tables writes the 0 as it should be.
# Source: DICOM PS3.3 C.11.1.1 and C.11.2.1.1 (LUT Descriptor: where the number of entries is 65,536 the value is 0).
# Seen: an error for 65,536 entries, as Modality LUT and as VOI LUT; right pixels for 65,535. pydicom reads all rightly.
# This script fails when that changes.
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

RAMP = np.arange(65535, dtype="<u2")[: 255 * 257].reshape(255, 257)


def table(entries):
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [entries % 65536, 0, 16])
    item.add_new("LUTData", "OW", (entries - 1 - np.arange(entries)).astype("<u2").tobytes())
    return item


def write(path, **tables):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = ComputedRadiographyImageStorage, "1.2.3"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.4", "1.2.5"
    dataset.PatientID = dataset.PatientName = dataset.PatientBirthDate = dataset.PatientSex = dataset.StudyID = ""
    dataset.StudyDate = dataset.StudyTime = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    dataset.Modality, dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = "CR", *RAMP.shape, 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.PhotometricInterpretation, dataset.PixelData = "MONOCHROME2", RAMP.tobytes()
    dataset["PixelData"].VR = "OW"
    for name, value in tables.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)


seen = {}
for kind in ("ModalityLUTSequence", "VOILUTSequence"):
    for entries in (65535, 65536):
        item = table(entries)
        if kind == "ModalityLUTSequence":
            item.ModalityLUTType = "US"
        write("film.dcm", **{kind: [item]})
        film = pydicom.dcmread("film.dcm")
        right = entries - 1 - RAMP.astype(int)
        by_pydicom = apply_voi_lut(apply_modality_lut(film.pixel_array, film), film)
        assert np.array_equal(by_pydicom, right), "the file is right"
        try:
            pixels = highdicom.imread("film.dcm").get_frame(1, apply_voi_transform=kind == "VOILUTSequence")
        except RuntimeError as error:
            seen[kind, entries] = str(error)
        else:
            scale = 1 if kind == "ModalityLUTSequence" else 65534
            assert np.allclose(pixels * scale, right), "the pixels are right"
            seen[kind, entries] = "right pixels"
        print(f"highdicom {highdicom.__version__}, {kind} of {entries} entries: {seen[kind, entries]}")
for kind in ("ModalityLUTSequence", "VOILUTSequence"):
    assert seen[kind, 65535] == "right pixels", "a smaller table works"
    assert "Expected 0, found 65536" in seen[kind, 65536], "the behaviour has changed"
written = highdicom.LUT(first_mapped_value=0, lut_data=np.arange(65536, dtype=np.uint16))
assert written.LUTDescriptor[0] == 0, "its own class writes a 0"
PYTHON
