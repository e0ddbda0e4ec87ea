"""A DICOM file in, a grey 8-bit film out; nothing else of the file leaves this module.

`cells -> stored values -> modality LUT -> VOI LUT or window -> inversion (MONOCHROME1) -> 8 bit`, evaluated once for
each cell that there can be, then looked up for each pixel. Refused: several frames, colour, no pixels, text burned into
the film (unless allowed), deflated files, sizes that no film has.

A VOI LUT goes before a window. A table or window that is none, or leaves (nearly) nothing of this film to see, is
passed over for the next; without any, the film's own full scale is taken (``full_scale.py``), as for 16-bit pictures.
Padding is black. Whether dark is low, the photometric interpretation tells alone: the Presentation LUT Shape repeats
it where it is right, and is known to be wrong in files of several makers.

"Damaged" is said of bytes that cannot be read; what a header lacks or contradicts itself in is told as that. Its values
never enter a message, a log or a record: they are a patient's.
"""

import io
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from pacx.data.images.brightness import shares_of_white
from pacx.data.images.dicom_objects import DicomObject
from pacx.data.images.full_scale import full_scale, row_blocks
from pacx.data.images.header_values import raw_bytes, text, whole_number
from pacx.data.images.headers import object_of, silence
from pacx.data.images.pixel_data import Cells, cells
from pacx.data.images.unreadable import DAMAGED, ONE_GREY, TooLargeImage, UnreadableImage, check_size

_MOST_ALIKE = 0.99
"""If more of a film's pixels come out alike, its window or table is not for this film."""
_NUM_GREYS_ALIKE = 32
"""An eighth of the greys: what a window for 16 bits leaves of 12 is less, what a film has under its own is far more."""
_EVERY_NTH_ROW = 8


def grey_from_dicom(data: bytes, *, allow_burned_in: bool = False) -> NDArray[np.uint8]:
    """Decode a single-frame grey DICOM file.

    Args:
        data: the whole file.
        allow_burned_in: read it although its header says that text is burned into the pixels.

    Returns:
        uint8 (H, W), dark is low whatever the photometric interpretation; padding is 0.

    Raises:
        UnreadableImage: for the reasons in the module's docstring, or because the file is damaged.

    Source: DICOM PS3.3 C.7.6.3.1.2 (photometric interpretation), C.7.5.1.1.2 (padding); PS3.5 8.1.1 (bits of a pixel).
    """
    with silence(), np.errstate(all="ignore"):  # absurd numbers of a header overflow, and are passed over for it
        try:
            dataset = _parsed(data)
            _check_header(dataset, allow_burned_in=allow_burned_in)
            film = cells(dataset)
            table = _table(dataset, film)
            grey = np.empty(film.codes.shape, np.uint8)
            for rows in row_blocks(grey):
                np.take(table, film.codes[rows], out=grey[rows], mode="clip")  # none lies outside; "raise" is slower
            return grey
        except MemoryError:
            raise TooLargeImage("decoding the DICOM file takes more memory than there is") from None


def _parsed(data: bytes) -> Dataset:
    # A few kilobytes may inflate to gigabytes while the file is parsed; no radiograph comes so. The name is looked for
    # everywhere, because where the parser finds its header's end is the file's own word.
    if DeflatedExplicitVRLittleEndian.encode() in data:
        raise UnreadableImage("deflated DICOM files are not read; save it with another transfer syntax")
    try:
        return pydicom.dcmread(io.BytesIO(data), force=True)  # there may be no preamble
    except MemoryError:
        raise
    except Exception:  # damaged bytes make pydicom raise nearly anything, and its messages quote them
        raise UnreadableImage(DAMAGED) from None


def _check_header(dataset: Dataset, *, allow_burned_in: bool) -> None:
    described = _described(dataset)
    if other := described.other_than_film:
        raise UnreadableImage(f"the DICOM object is no chest film: {other}")
    if not raw_bytes(dataset, "PixelData"):
        raise UnreadableImage("the DICOM file holds no pixel data")
    if described.num_frames > 1:
        raise UnreadableImage("the DICOM file holds more than one frame; expected a single film")
    if text(dataset, "PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2") or (described.num_channels > 1):
        raise UnreadableImage("the DICOM file is not grey (MONOCHROME1 or MONOCHROME2)")
    sizes = [whole_number(dataset, name) for name in ("Rows", "Columns", "BitsAllocated", "BitsStored")]
    if None in sizes:
        raise UnreadableImage("its header does not say how many pixels it has, or of how many bits")
    height, width, num_allocated, num_stored = (size or 0 for size in sizes)
    if num_allocated not in (8, 16):
        raise UnreadableImage("the DICOM file stores its pixels in neither 8 nor 16 bits")
    if not 1 <= num_stored <= num_allocated:
        raise UnreadableImage("its header says that a pixel has more bits than there is room for, or none")
    if text(dataset, "BurnedInAnnotation") == "YES" and not allow_burned_in:
        raise UnreadableImage(
            "its header says that text is burned into the film, which may name the patient; look at it, and "
            "leave it out or pack it with --allow-burned-in"
        )
    check_size(height, width)


def _described(dataset: Dataset) -> DicomObject:
    try:
        return object_of(dataset)
    except Exception:  # pydicom reads an element when it is asked for it, and raises nearly anything
        raise UnreadableImage("its header holds a value that cannot be read") from None


def _table(dataset: Dataset, film: Cells) -> NDArray[np.uint8]:
    """The grey of each cell, from the first source that leaves the film something to see.

    Where none leaves more than a hundredth of it to be told from the rest, from the first that leaves any.
    """
    counts = cache(film.counts)
    some = film.counts(_EVERY_NTH_ROW)  # enough for most films, as these rows hold no more than all of what differs
    passed_over = []
    for table in _tables(dataset, film, counts):
        if _share_alike(table, some) <= 1 - _EVERY_NTH_ROW * (1 - _MOST_ALIKE):
            return table
        alike = _share_alike(table, counts())
        if alike <= _MOST_ALIKE:
            return table
        passed_over.append(table)
    left = [table for table in passed_over if len(set(table[counts() > 0].tolist())) > 1]
    if (
        not left and not film.is_padding.any()
    ):  # an empty mask is right; that of a film one grey is none, its reader says
        left = passed_over[-1:]
    if not left:
        raise UnreadableImage(ONE_GREY)
    return left[0]


def _tables(dataset: Dataset, film: Cells, counts: Callable[[], NDArray[np.int64]]) -> Iterator[NDArray[np.uint8]]:
    is_inverted = text(dataset, "PhotometricInterpretation") == "MONOCHROME1"
    sources = shares_of_white(dataset, film.values, lambda: full_scale(*film.counts_of_values(counts())))
    for shares in sources:
        share = np.clip(shares, 0, 1)
        grey = np.floor((1 - share if is_inverted else share) * 255 + 0.5).astype(np.uint8)
        grey[film.is_padding] = 0
        yield grey


def _share_alike(table: NDArray[np.uint8], counts: NDArray[np.int64]) -> float:
    """How much of the film lies within few greys of each other; 1 where there is none of it."""
    greys = np.bincount(table, weights=counts, minlength=256)
    if not greys.any():
        return 1.0
    up_to = np.concatenate([[0.0], np.cumsum(greys)])
    return float((up_to[_NUM_GREYS_ALIKE:] - up_to[:-_NUM_GREYS_ALIKE]).max() / greys.sum())
