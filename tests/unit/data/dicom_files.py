"""DICOM files made by hand for tests: any pixels, any syntax, any header."""

import io

import imagecodecs
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_encoder
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, RLELossless

SECRET = "Doe^Jane^Secret"

LOSSLESS = {
    "1.2.840.10008.1.2.4.57": lambda pixels, bits: imagecodecs.ljpeg_encode(pixels, bitspersample=bits),
    "1.2.840.10008.1.2.4.70": lambda pixels, bits: imagecodecs.jpeg8_encode(pixels, lossless=True, bitspersample=bits),
    "1.2.840.10008.1.2.4.80": lambda pixels, _: imagecodecs.jpegls_encode(pixels),
    "1.2.840.10008.1.2.4.90": lambda pixels, bits: imagecodecs.jpeg2k_encode(
        pixels, level=0, codecformat="j2k", bitspersample=bits
    ),
    "1.2.840.10008.1.2.4.110": lambda pixels, bits: imagecodecs.jpegxl_encode(
        pixels, lossless=True, bitspersample=bits
    ),
    "1.2.840.10008.1.2.4.201": lambda pixels, _: imagecodecs.htj2k_encode(pixels),
}
LOSSY = {
    "1.2.840.10008.1.2.4.50": lambda pixels, _: imagecodecs.jpeg8_encode(pixels, level=98),
    "1.2.840.10008.1.2.4.51": lambda pixels, bits: imagecodecs.jpeg8_encode(pixels, level=98, bitspersample=bits),
    "1.2.840.10008.1.2.4.81": lambda pixels, _: imagecodecs.jpegls_encode(pixels, level=2),
    "1.2.840.10008.1.2.4.91": lambda pixels, bits: imagecodecs.jpeg2k_encode(
        pixels, level=60, codecformat="j2k", bitspersample=bits
    ),
    "1.2.840.10008.1.2.4.112": lambda pixels, bits: imagecodecs.jpegxl_encode(pixels, level=98, bitspersample=bits),
}


def dicom(pixels: np.ndarray, *, bits_stored: int, syntax: str = ExplicitVRLittleEndian, **header: object) -> bytes:
    """A film as a DICOM file; further keywords replace header elements, None removes one."""
    dataset = Dataset()
    dataset.PatientName = SECRET
    dataset.PatientID = SECRET
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    dataset.SOPInstanceUID = "1.2.3.4"
    dataset.Modality = "DX"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = 8 * pixels.dtype.itemsize
    dataset.BitsStored, dataset.HighBit = bits_stored, bits_stored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    syntax = UID(syntax)
    if syntax == RLELossless:
        frame = get_encoder(RLELossless).encode(pixels, encoding_plugin="pydicom", **_described(dataset))
        dataset.PixelData = encapsulate([frame])
    elif syntax in LOSSLESS | LOSSY:
        dataset.PixelData = encapsulate([(LOSSLESS | LOSSY)[syntax](pixels, bits_stored)])
    else:
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    dataset["PixelData"].VR = "OB" if syntax in {RLELossless, *LOSSLESS, *LOSSY} or pixels.dtype.itemsize == 1 else "OW"
    for name, value in header.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.file_meta = FileMetaDataset()
    written = syntax if syntax.is_transfer_syntax else UID("1.2.840.10008.1.2.4.100")  # one that pydicom knows
    dataset.file_meta.TransferSyntaxUID = written
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue().replace(f"{written}\0".encode(), f"{syntax}\0".encode())


def lut(first: int, values: list[int], bits: int) -> Dataset:
    """One item of a modality or VOI LUT sequence."""
    item = Dataset()
    item.LUTDescriptor = [len(values), first, bits]
    item.add_new("LUTData", "OW", np.asarray(values, "<u2").tobytes())
    item.ModalityLUTType = "US"
    return item


def _described(dataset: Dataset) -> dict[str, object]:
    return {
        "rows": dataset.Rows, "columns": dataset.Columns, "samples_per_pixel": 1, "number_of_frames": 1,
        "photometric_interpretation": "MONOCHROME2", "bits_allocated": dataset.BitsAllocated,
        "bits_stored": dataset.BitsStored, "pixel_representation": dataset.PixelRepresentation,
    }  # fmt: skip
