#!/usr/bin/env bash
# imageio 2.38.1 turns the bright half of a DICOM film negative where the header has a rescale slope of 1 and an
# intercept of 0.
#
# imread (its own DICOM plugin, which it chooses for .dcm) gives unsigned numbers for a film without Modality LUT. With a
# slope and an intercept, even those that change nothing, it picks the type by how many bits the numbers need and takes
# the signed one: 128 to 255 become -128 to -1, and 32,768 to 65,535 become -32,768 to -1, and it says nothing of it.
# Digital radiographs must have both, slope 1 and intercept 0. Those whose brightest pixel needs one bit less (12 bits in
# 16, as most have) come out right, so that a test on a few films does not show it.
# Source: DICOM PS3.3 C.8.11.3 (DX image module: unsigned, slope 1, intercept 0, both of type 1) and C.11.1 (output =
# slope x stored + intercept); pydicom reads the same files as control.
# Seen: int8 from -128 to 127 for a ramp of 0 to 255, int16 from -32,768 to 32,752 for one of 0 to 65,520. This script
# fails when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check imageio==2.38.1 pydicom==3.0.2 numpy==2.4.6
mkdir "$folder/films"  # the plugin looks at the other files of a film's folder, too
cd "$folder/films"
"$folder/venv/bin/python" -W ignore - <<'PYTHON' | tr '\r' '\n' | grep '^imageio'
import imageio
import imageio.v2
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

RAMPS = {8: np.arange(256, dtype="u1").reshape(16, 16), 16: np.arange(0, 65536, 16, dtype="<u2").reshape(64, 64)}


def write(path, bits, ramp, **modality):
    """A digital radiograph that rises from black to white."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = DigitalXRayImageStorageForPresentation, "1.2.3"
    dataset.Modality, dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = "DX", *ramp.shape, 1
    dataset.SeriesInstanceUID, dataset.InstanceNumber = "1.2.4", 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits, bits - 1, 0
    dataset.PhotometricInterpretation, dataset.PixelData = "MONOCHROME2", ramp.tobytes()
    dataset["PixelData"].VR = "OW"
    for name, value in modality.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    film = pydicom.dcmread(path)
    assert np.array_equal(apply_modality_lut(film.pixel_array, film), ramp), "the file is right"


for bits, ramp in RAMPS.items():
    for name, modality in {"plain": {}, "rescaled": {"RescaleSlope": 1, "RescaleIntercept": 0}}.items():
        write(f"{name}{bits}.dcm", bits, ramp, **modality)
        seen = np.asarray(imageio.v2.imread(f"{name}{bits}.dcm"))
        print(
            f"\nimageio {imageio.__version__}, {bits} bits, {name}: {seen.dtype} from {seen.min()} to {seen.max()}, "
            f"right is {ramp.min()} to {ramp.max()}"
        )
        if modality:
            assert np.array_equal(seen, ramp.astype(f"i{bits // 8}")), "the behaviour has changed"
            assert (seen.ravel()[ramp.size // 2 :] < 0).all(), "the behaviour has changed"
        else:
            assert np.array_equal(seen, ramp), "a film without slope is right"
PYTHON
