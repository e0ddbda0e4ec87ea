#!/usr/bin/env bash
# pydicom 3.0.2 says of the JPEG XL transfer syntaxes of DICOM (1.2.840.10008.1.2.4.110 to .112) and of deflated image
# frames (1.2.840.10008.1.2.8.1) that they are no transfer syntaxes at all.
#
# A file with one of them is opened by dcmread and pixel_array says honestly that it cannot decode it, but
# `file_meta.TransferSyntaxUID.is_encapsulated` raises ValueError ("UID is not a transfer syntax."), where other
# syntaxes without a decoder answer True, and dcmwrite refuses to write them. Code that asks how pixels are stored before it
# chooses a decoder of its own takes such a valid file for a damaged one.
# Source: DICOM PS3.5, annex A; PS3.6, registry of UIDs.
# Seen: ValueError for the four, True for JPEG 2000 (.4.90) and HTJ2K (.4.201). This script fails when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pydicom==3.0.2 numpy==2.4.6 imagecodecs==2026.3.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

film = np.arange(32 * 32, dtype=np.uint8).reshape(32, 32)
dataset = Dataset()
dataset.file_meta = FileMetaDataset()
dataset.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.201")  # of the same length: it refuses to write .110
dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3"
dataset.Rows, dataset.Columns, dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 32, 32, 1, "MONOCHROME2"
dataset.BitsAllocated = dataset.BitsStored = 8
dataset.HighBit, dataset.PixelRepresentation = 7, 0
dataset.PixelData = encapsulate([imagecodecs.jpegxl_encode(film, lossless=True)])
dataset["PixelData"].VR = "OB"
dataset.save_as("film.dcm", enforce_file_format=True)
film_file = Path("film.dcm")
film_file.write_bytes(film_file.read_bytes().replace(b"1.2.840.10008.1.2.4.201", b"1.2.840.10008.1.2.4.110"))


def answer(ask) -> str:
    try:
        return str(ask())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


opened = pydicom.dcmread("film.dcm")
seen = {uid: answer(lambda: UID(uid).is_encapsulated) for uid in (
    *(f"1.2.840.10008.1.2.4.{number}" for number in (110, 111, 112)), "1.2.840.10008.1.2.8.1",
    "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201",
)}
for uid, said in seen.items():
    print(f"pydicom {pydicom.__version__}, {uid}, is_encapsulated: {said}")
pixels = answer(lambda: opened.pixel_array)
print(f"pixel_array of a valid JPEG XL file: {pixels}")
refused = "ValueError: UID is not a transfer syntax."
assert list(seen.values()) == [refused] * 4 + ["True"] * 2, "the behaviour has changed"
assert pixels.startswith("NotImplementedError"), "the behaviour has changed"
PYTHON
