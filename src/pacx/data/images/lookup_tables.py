"""Look-up tables of a DICOM file, as they are found in files rather than as they should be.

Source: DICOM PS3.3 C.11.1.1 (modality) and C.11.2.1.1 (VOI), with the note there on entries of 8 bits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pacx.data.images.full_scale import USUAL_DEPTHS
from pacx.data.images.header_values import words

_DEPTHS = range(8, 17)
_MOST_ENTRIES = 2**16
_FAR = 2.0**32


@dataclass(frozen=True, eq=False)
class LookupTable:
    """A table from whole numbers to brightness or to the modality's unit.

    Args:
        first: the number that the first entry stands for, as 16 bits without a sign.
        entries: uint16 (N,).
        declared_bits: how deep the file says that the entries are; 8 to 16, or anything.
    """

    first: int
    entries: NDArray[np.uint16]
    declared_bits: int

    @property
    def white(self) -> int:
        """The greatest value of the smallest usual depth, or of the declared one, that holds the largest entry.

        Tables of 12 bits are often declared as 16, and such of 8 bits as 12, which would leave the film nearly black.
        """
        depths = sorted({*USUAL_DEPTHS, self.declared_bits} & {*_DEPTHS})
        return next(2**bits - 1 for bits in depths if self.entries.max() < 2**bits)

    def look_up(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """The entry of each number, (N,) -> (N,); what lies before the first or behind the last takes theirs."""
        whole = np.rint(np.clip(numbers, -_FAR, _FAR)).astype(np.int64)
        first = max((self.first, self.first - 2**16), key=lambda first: self._num_met(first, whole))
        return self.entries[np.clip(whole - first, 0, len(self.entries) - 1)].astype(np.float64)

    def _num_met(self, first: int, whole: NDArray[np.int64]) -> int:
        """How many of the numbers have an entry of their own.

        Whether the first number has a sign, its value representation does not tell: it is one for all three values of
        the descriptor, and follows the stored pixels although the table may follow a rescaling.
        """
        return int(((whole >= first) & (whole < first + len(self.entries))).sum())


def lookup_table(item: Dataset) -> LookupTable | None:
    """The table in an item of a modality or VOI LUT sequence; None where it has fewer entries than it says, or none.

    Entries of 8 bits come two to a word, as the standard wants them, or one to a word.
    """
    descriptor = words(item, "LUTDescriptor")
    if len(descriptor) != 3:
        return None
    num_entries, first, bits = (int(value) for value in descriptor)
    num_entries = num_entries or _MOST_ENTRIES
    entries = words(item, "LUTData")
    if len(entries) < num_entries and bits not in _DEPTHS[1:]:
        entries = entries.astype("<u2").view(np.uint8).astype(np.uint16)
    if len(entries) < num_entries:
        return None
    return LookupTable(first, entries[:num_entries], bits)
