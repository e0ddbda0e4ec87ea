#!/usr/bin/env bash
# pydicom 3.0.2 cannot apply a VOI look-up table of 8 bits: as the standard has it, it fails; as many devices write it,
# white turns black, in bands, and nothing says so.
#
# The standard stores entries of 8 bits two to a word. apply_voi (and apply_voi_lut) takes every word for an entry, and
# ends in struct.error (OW) or OverflowError (US). Entries with a word each, which a note in the standard says that some
# implementations write, it accepts; but it keeps the number of the entry that a pixel has in an array of the entries' type,
# here uint8. So pixel 256 of a film of 12 bits takes entry 0, 257 entry 1 and so on, in tables with 4096 entries and with
# 256, where all pixels from 256 on should have the last one. Its documentation says that 8 bits are supported; tables of
# 10 to 16 bits are right.
# Source: DICOM PS3.3 C.11.2.1.1 (format; pixels behind the table have its last entry), C.8.11.3.1.5 (8, or 10 to 16 bits in
# digital radiography); correction item CP-522 (two entries to a word).
# Seen: both errors, and a rising table that makes 15 falls from white to black of a ramp of 12 bits, none with entries of
# 16 bits. This script fails when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pydicom==3.0.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_voi_lut
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

RAMP = np.arange(4096, dtype="<u2").reshape(64, 64)
RISING = np.arange(4096) // 16


def applied(entries, bits, data, representation):
    """What a film that rises from 0 to 4095 becomes by a table, written to a file and read again; or the error."""
    dataset, table = Dataset(), Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = DigitalXRayImageStorageForPresentation, "1.2.3"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = *RAMP.shape, 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PhotometricInterpretation, dataset.PixelData = "MONOCHROME2", RAMP.tobytes()
    dataset["PixelData"].VR = "OW"
    table.add_new("LUTDescriptor", "US", [len(entries), 0, bits])
    table.add_new("LUTData", representation, data.tobytes() if representation == "OW" else data.tolist())
    dataset.VOILUTSequence = [table]
    dataset.save_as("film.dcm", enforce_file_format=True)
    film = pydicom.dcmread("film.dcm")
    try:
        return apply_voi_lut(film.pixel_array, film)
    except Exception as error:
        return f"{type(error).__module__}.{type(error).__name__}"


two_to_a_word = RISING.astype("u1").view("<u2")
seen = {
    "16 bits": applied(RISING, 16, RISING.astype("<u2"), "US"),
    "8 bits, two to a word, OW": applied(RISING, 8, two_to_a_word, "OW"),
    "8 bits, two to a word, US": applied(RISING, 8, two_to_a_word, "US"),
    "8 bits, a word each, OW": applied(RISING, 8, RISING.astype("<u2"), "OW"),
    "8 bits, a word each, US": applied(RISING, 8, RISING.astype("<u2"), "US"),
    "256 of 8 bits, a word each": applied(np.arange(256), 8, np.arange(256, dtype="<u2"), "US"),
}
for name, values in seen.items():
    if isinstance(values, np.ndarray):
        falls = (np.diff(values.ravel().astype(int)) < 0).sum()
        values = f"{falls} falls; 255, 256 and 4095 become {values.ravel()[[255, 256, 4095]]}"
    print(f"pydicom {pydicom.__version__}, {name}: {values}")
assert np.array_equal(seen["16 bits"], RAMP // 16), "the table is right"
assert seen["8 bits, two to a word, OW"] == "struct.error", "the behaviour has changed"
assert seen["8 bits, two to a word, US"] == "builtins.OverflowError", "the behaviour has changed"
assert np.array_equal(seen["8 bits, a word each, OW"], RAMP % 256 // 16), "the behaviour has changed"
assert np.array_equal(seen["8 bits, a word each, US"], RAMP % 256 // 16), "the behaviour has changed"
assert np.array_equal(seen["256 of 8 bits, a word each"], RAMP % 256), "the behaviour has changed"
PYTHON
