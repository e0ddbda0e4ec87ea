"""A DICOM file in, a grey 8-bit film out; nothing else of the file leaves this module.

`stored values -> modality LUT -> VOI LUT or window -> inversion (MONOCHROME1) -> 8 bit`, evaluated once for each value
that can be stored, then looked up for each pixel. Refused: several frames, colour, no pixels, text burned into the film
(unless allowed), deflated files, sizes that no film has.

Without a VOI LUT or a window, full scale is the smallest of 8, 10, 12, 14 or 16 bits that holds the brightest pixel, as
for 16-bit PNG files. Header values never enter a message, a log or a record: they are a patient's.
"""

import io
from collections.abc import Iterator

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing, get_decoder
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from pacx.data.images.codestreams import DECODERS, declared_size
from pacx.data.images.headers import object_of, silence
from pacx.data.images.unreadable import DAMAGED, UnreadableImage, check_size

_FAR = 1e12
"""Darker and brighter than any window: what they come out as is its black and its white."""
_MAX_LUT_ENTRIES = 2**16
_ROWS_PER_BLOCK = 256


def grey_from_dicom(data: bytes, *, allow_burned_in: bool = False) -> NDArray[np.uint8]:
    """Decode a single-frame grey DICOM file.

    Args:
        data: the whole file.
        allow_burned_in: read it although its header says that text is burned into the pixels.

    Returns:
        uint8 (H, W), dark is low whatever the photometric interpretation.

    Raises:
        UnreadableImage: for the reasons in the module's docstring, or because the file is damaged.

    Source: DICOM PS3.3 C.11.1 (modality LUT), C.11.2 (VOI LUT, windows), C.7.6.3.1.2 (photometric interpretation).
    """
    with silence():
        try:
            dataset = _parsed(data)
            _check_header(dataset, allow_burned_in=allow_burned_in)
            index = _as_index(_stored(dataset), dataset)
            table = _table(dataset, index)
            grey = np.empty(index.shape, np.uint8)
            for rows in _row_blocks(index):
                np.take(table, index[rows], out=grey[rows])
            return grey
        except UnreadableImage:
            raise
        except Exception:
            # Damaged headers make pydicom raise nearly anything, and its messages quote them.
            raise UnreadableImage(DAMAGED) from None


def _parsed(data: bytes) -> Dataset:
    # A few kilobytes may inflate to gigabytes while the file is parsed; no radiograph comes so. The name is looked for
    # everywhere, because where the parser finds its header's end is the file's own word.
    if DeflatedExplicitVRLittleEndian.encode() in data:
        raise UnreadableImage("deflated DICOM files are not read; save it with another transfer syntax")
    return pydicom.dcmread(io.BytesIO(data))


def _check_header(dataset: Dataset, *, allow_burned_in: bool) -> None:
    if other := object_of(dataset).other_than_film:
        raise UnreadableImage(f"the DICOM object is no chest film: {other}")
    if not dataset.get("PixelData"):
        raise UnreadableImage("the DICOM file holds no pixel data")
    if int(dataset.get("NumberOfFrames") or 1) != 1:
        raise UnreadableImage("the DICOM file holds more than one frame; expected a single film")
    if dataset.SamplesPerPixel != 1 or dataset.PhotometricInterpretation not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnreadableImage("the DICOM file is not grey (MONOCHROME1 or MONOCHROME2)")
    if dataset.BitsAllocated not in (8, 16) or not 1 <= dataset.BitsStored <= dataset.BitsAllocated:
        raise UnreadableImage("the DICOM file stores its pixels in neither 8 nor 16 bits")
    if str(dataset.get("BurnedInAnnotation", "")).strip().upper() == "YES" and not allow_burned_in:
        raise UnreadableImage(
            "its header says that text is burned into the film, which may name the patient; look, then allow it"
        )
    check_size(int(dataset.Rows), int(dataset.Columns))


def _stored(dataset: Dataset) -> NDArray[np.generic]:
    """The stored values, (H, W), as integers of 8 or 16 bits; bits beyond those stored may hold anything."""
    syntax, shape = dataset.file_meta.TransferSyntaxUID, (int(dataset.Rows), int(dataset.Columns))
    if syntax in DECODERS:
        frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
        if declared_size(frame) != shape:
            raise UnreadableImage("its compressed pixels have another size than its header says")
        stored = DECODERS[syntax](frame)
    elif syntax.is_encapsulated and syntax != RLELossless:
        raise UnreadableImage("its pixels are compressed in a way that is not read")
    else:
        num_bytes = shape[0] * shape[1] * dataset.BitsAllocated // 8
        if not syntax.is_encapsulated and not num_bytes <= len(dataset.PixelData) <= num_bytes + 1:
            raise UnreadableImage("it holds fewer or more pixels than its header says")
        stored, _ = get_decoder(syntax).as_array(dataset, raw=True, index=0)
    if stored.shape != shape or stored.dtype.kind not in "ui" or stored.dtype.itemsize > 2:
        raise UnreadableImage("its pixels are not single grey values of at most 16 bits")
    return stored


def _row_blocks(index: NDArray[np.uint16]) -> Iterator[slice]:
    """A few rows at a time: numpy turns whatever it looks up into eight bytes a pixel first."""
    for start in range(0, len(index), _ROWS_PER_BLOCK):
        yield slice(start, start + _ROWS_PER_BLOCK)


def _as_index(stored: NDArray[np.generic], dataset: Dataset) -> NDArray[np.uint16]:
    """Where a stored value's entry stands in the table: its low bits, read as a whole number."""
    native = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    unsigned = native.view(f"u{stored.dtype.itemsize}")
    return unsigned & np.array(2**dataset.BitsStored - 1, unsigned.dtype)


def _table(dataset: Dataset, index: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """The grey (0 to 255) of each value that can be stored, uint8 (2 ** bits stored,)."""
    num_bits, is_signed = int(dataset.BitsStored), bool(dataset.PixelRepresentation)
    values = np.arange(2**num_bits)
    if is_signed:
        values[2 ** (num_bits - 1) :] -= 2**num_bits
    for sequence in ("ModalityLUTSequence", "VOILUTSequence"):
        for item in dataset.get(sequence) or ():
            if len(item.LUTData) > 2 * _MAX_LUT_ENTRIES:
                raise UnreadableImage(DAMAGED)
    rescaled = apply_modality_lut(values.astype(np.int16 if is_signed else np.uint16), dataset)
    if dataset.get("VOILUTSequence"):
        greys = apply_voi(np.rint(rescaled).astype(np.int64), dataset).astype(np.float64)
        black, white = 0.0, 2.0 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
    elif all(dataset.get(name) not in (None, "") for name in ("WindowCenter", "WindowWidth")):
        black, *inner, white = apply_windowing(np.array([-_FAR, *rescaled, _FAR]), dataset)
        greys = np.array(inner)
    else:
        in_use = _values_in_use(values, index, is_signed=is_signed)
        greys = rescaled.astype(np.float64)
        black, white = greys[in_use].min(), greys[in_use].max()
    if not (np.isfinite(greys).all() and np.isfinite([black, white]).all() and black != white):
        raise UnreadableImage("its window or look-up table leaves no contrast")
    share = np.clip((greys - black) / (white - black), 0, 1)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        share = 1 - share
    return np.floor(share * 255 + 0.5).astype(np.uint8)


def _values_in_use(values: NDArray[np.int64], index: NDArray[np.uint16], *, is_signed: bool) -> NDArray[np.bool_]:
    """Which values belong to the smallest usual bit depth that holds the brightest pixel."""
    is_present = np.zeros(len(values), bool)
    for rows in _row_blocks(index):
        is_present[index[rows]] = True
    present = values[is_present]
    needed = max(int(present.max()) + 1, -int(present.min()))
    num_bits = next(bits for bits in (8, 10, 12, 14, 16) if needed <= 2 ** (bits - is_signed))
    low, high = (-(2 ** (num_bits - 1)), 2 ** (num_bits - 1) - 1) if is_signed else (0, 2**num_bits - 1)
    return (values >= low) & (values <= high)
