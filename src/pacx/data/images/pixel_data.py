"""The pixels of a DICOM file, as cells of 8 or 16 bits, and which numbers the cells hold.

`PixelData -> decompressed cells -> for each cell that there can be: its stored value, whether it is padding`

A cell may hold more than its value: overlays of old files in the bits above and below, the sign spread over them, or
anything. No pixel is touched for it: what a cell means is told by a table of all cells.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from pacx.data.images.codestreams import DECODERS, declared
from pacx.data.images.full_scale import counts_of
from pacx.data.images.header_values import raw_bytes, whole_number, words
from pacx.data.images.unreadable import DAMAGED, UnreadableImage

_NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
_NO_GREY = "its pixels are not single grey values of at most 16 bits"
_MOST_EXCESS_BYTES = 2**16
"""Behind the pixels: writers fill a block. Whatever else is there is not what the header describes."""


@dataclass(frozen=True, eq=False)
class Cells:
    """The pixels of a film.

    Args:
        codes: uint8 or uint16 (H, W); what is meant is looked up by them.
        values: the stored value of each cell that there can be, int64 (256 or 65536,).
        is_padding: whether such a cell fills up the rectangle and shows nothing, bool (256 or 65536,).
    """

    codes: NDArray[np.uint8] | NDArray[np.uint16]
    values: NDArray[np.int64]
    is_padding: NDArray[np.bool_]

    def counts(self, every_nth_row: int = 1) -> NDArray[np.int64]:
        """How many pixels hold each cell, int64 (256 or 65536,), padding left out."""
        counts = counts_of(self.codes[::every_nth_row], len(self.values))
        counts[self.is_padding] = 0
        return counts

    def counts_of_values(self, counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
        """The same for each value that can be stored, from the lowest on; and the lowest."""
        lowest = int(self.values.min())
        return np.bincount(self.values - lowest, weights=counts).astype(np.int64), lowest


def cells(dataset: Dataset) -> Cells:
    """The pixels of a header that has been checked.

    Raises:
        UnreadableImage: there are fewer than the header says, or far more; they are compressed in a way that is not
            read, or not as the header says; the bytes are damaged.
    """
    height, width, num_allocated = (whole_number(dataset, name) or 0 for name in ("Rows", "Columns", "BitsAllocated"))
    try:
        stored, depth = _decompressed(dataset, height, width, num_allocated)
    except (MemoryError, UnreadableImage):
        raise
    except Exception:  # damaged bytes make decoders raise nearly anything, and their messages may quote them
        raise UnreadableImage(DAMAGED) from None
    if stored.shape != (height, width) or stored.dtype.kind not in "ui" or stored.dtype.itemsize > 2:
        raise UnreadableImage(_NO_GREY)
    native = np.ascontiguousarray(stored, stored.dtype.newbyteorder("="))
    codes = native.view(f"u{native.dtype.itemsize}")
    values = _values(dataset, 8 * codes.itemsize, depth)
    return Cells(codes, values, _is_padding(dataset, values))


def _decompressed(dataset: Dataset, height: int, width: int, num_allocated: int) -> tuple[NDArray[np.generic], int]:
    """The cells, (H, W), and how many bits of them are told of by the header."""
    syntax, pixels = _transfer_syntax(dataset), raw_bytes(dataset, "PixelData")
    if syntax in _NATIVE:
        return _native(dataset, pixels, (height, width), num_allocated // 8), num_allocated
    if syntax == RLELossless:
        described: dict[str, Any] = {
            "rows": height, "columns": width, "samples_per_pixel": 1, "number_of_frames": 1,
            "photometric_interpretation": "MONOCHROME2", "pixel_keyword": "PixelData",
            "bits_allocated": num_allocated, "bits_stored": num_allocated, "pixel_representation": 0,
        }  # fmt: skip
        return get_decoder(RLELossless).as_array(pixels, raw=True, index=0, **described)[0], num_allocated
    if syntax not in DECODERS:
        raise UnreadableImage("its pixels are compressed in a way that is not read")
    frame = get_frame(pixels, 0, number_of_frames=1)
    *shape, samples, depth = declared(frame)
    if shape != [height, width]:
        raise UnreadableImage("its compressed pixels have another size than its header says")
    if samples != 1:
        raise UnreadableImage(_NO_GREY)
    return DECODERS[syntax](frame), depth


def _transfer_syntax(dataset: Dataset) -> str:
    """How the pixels are written; where the file does not say, as its header is."""
    named = str(dataset.file_meta.get("TransferSyntaxUID") or "").strip(" \0")
    is_implicit, is_little = dataset.original_encoding
    found = ImplicitVRLittleEndian if is_implicit else ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian
    return named or found


def _native(dataset: Dataset, pixels: bytes, shape: tuple[int, int], cell_bytes: int) -> NDArray[np.generic]:
    num_bytes = shape[0] * shape[1] * cell_bytes
    if len(pixels) < num_bytes:
        raise UnreadableImage("it holds fewer pixels than its header says")
    if len(pixels) - num_bytes >= min(num_bytes, _MOST_EXCESS_BYTES):
        raise UnreadableImage("it holds more pixels than its header says")
    is_big = _transfer_syntax(dataset) == ExplicitVRBigEndian
    if is_big and cell_bytes == 1 and dataset["PixelData"].VR == "OW":  # two pixels to a word, the later one first
        pixels = np.frombuffer(pixels + b"\0" * (len(pixels) % 2), ">u2").astype("<u2").tobytes()
    kind = f"{'>' if is_big else '<'}u{cell_bytes}"
    return np.frombuffer(pixels, kind, count=shape[0] * shape[1]).reshape(shape)


def _values(dataset: Dataset, num_cell_bits: int, depth: int) -> NDArray[np.int64]:
    """The stored value of each cell: so many bits below the high bit, in two's complement where there is a sign.

    A high bit that there is no room for is not believed; decoders of compressed pixels give the value alone.
    """
    num_bits = min(whole_number(dataset, "BitsStored") or 0, num_cell_bits)
    num_below = (whole_number(dataset, "HighBit") or 0) + 1 - num_bits
    is_believed = 0 < num_below <= min(depth, num_cell_bits) - num_bits
    values = np.arange(2**num_cell_bits) >> (num_below if is_believed else 0) & (2**num_bits - 1)
    if whole_number(dataset, "PixelRepresentation"):
        values[values >= 2 ** (num_bits - 1)] -= 2**num_bits
    return values


def _is_padding(dataset: Dataset, values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which cells hold the padding value, or one between it and the limit of its range.

    Whether the two have a sign follows from the pixels, whatever their own value representation says. A padding value
    that cannot be stored is looked for in the whole cell.
    """
    limits = [*words(dataset, "PixelPaddingValue")[:1], *words(dataset, "PixelPaddingRangeLimit")[:1]]
    if not len(words(dataset, "PixelPaddingValue")):
        return np.zeros(len(values), bool)
    lowest, highest = int(values.min()), int(values.max())
    first, last = (int(limit) - (2**16 if lowest < 0 and limit >= 2**15 else 0) for limit in (limits[0], limits[-1]))
    if not lowest <= first <= highest:
        return np.arange(len(values)) == limits[0]
    return (values >= min(first, last)) & (values <= max(first, last))
