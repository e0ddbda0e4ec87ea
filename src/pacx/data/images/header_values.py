"""Values of a DICOM header as numbers, whatever their writer called them; none of them ever enters a message.

The bytes of an element are read as the standard means them. Its value representation is not asked: implicit files have
none, files that were converted say "unknown", and writers have several for the first value of a table (signed or
unsigned) and for its entries (US, SS, OW or OB).

So a dataset has to come as pydicom parsed it: whatever was asked of it by name is pydicom's then, and its bytes gone.
"""

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from pacx.data.images.unreadable import DAMAGED, UnreadableImage

_BLANK = " \0"


def raw_bytes(dataset: Dataset, keyword: str) -> bytes:
    """The value as it stands in the file; empty where the element is absent."""
    element = _raw(dataset, keyword)
    return (element.value or b"") if element else b""


def words(dataset: Dataset, keyword: str) -> NDArray[np.uint16]:
    """The value in words of 16 bits, (N,); none where the element is absent or empty."""
    element = _raw(dataset, keyword)
    if element is None or not element.value:
        return np.empty(0, np.uint16)
    is_little = element.is_little_endian or element.VR == "OB"  # bytes have no order
    value = element.value + b"\0" * (len(element.value) % 2)
    return np.frombuffer(value, "<u2" if is_little else ">u2").astype(np.uint16)


def whole_number(dataset: Dataset, keyword: str) -> int | None:
    """A number of 16 bits without a sign; None where the element is absent or empty."""
    value = words(dataset, keyword)
    return int(value[0]) if len(value) else None


def text(dataset: Dataset, keyword: str) -> str:
    """A code in capitals, without blanks around it; empty where the element is absent."""
    return raw_bytes(dataset, keyword).decode("latin-1").strip(_BLANK).upper()


def decimals(dataset: Dataset, keyword: str) -> list[float]:
    """Numbers written as text; NaN for what is none, as a decimal comma or a blank."""
    return [_decimal(each) for each in text(dataset, keyword).split("\\")]


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; none where it is absent.

    Raises:
        UnreadableImage: its bytes are no sequence.
    """
    try:
        return list(dataset.get(keyword) or ())
    except Exception:  # pydicom reads a sequence when it is asked for it, and raises nearly anything
        raise UnreadableImage(DAMAGED) from None


def _raw(dataset: Dataset, keyword: str) -> RawDataElement | None:
    element = dataset.get_item(keyword, keep_deferred=True)  # as it stands, even if its representation is none
    return element if isinstance(element, RawDataElement) else None


def _decimal(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return float("nan")
