"""Panels of measurements, the paper's panel of laboratory tests, and how values are hidden while one learns.

A panel is a fixed list of quantities of which every patient has some: fifty blood tests, a handful of vital signs. The
file imports no torch, so that help is instant.
"""

import math
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from pacx.core.vocabulary import LAB_TESTS

DROP_FRACTION = 0.15


class Quantity(NamedTuple):
    """One column of a panel: key in tables, name in print, unit of the raw value, and what that can be in a person."""

    key: str
    name: str
    unit: str
    lowest: float = -math.inf
    highest: float = math.inf


@dataclass(frozen=True)
class Panel:
    """An ordered list of quantities that are measured together.

    Args:
        name: as a modality is named ("labs"); it appears in error messages and folder names.
        quantities: the columns of every array of this panel, in order; keys are unique.
    """

    name: str
    quantities: tuple[Quantity, ...]

    def __len__(self) -> int:
        return len(self.quantities)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys in order."""
        return tuple(quantity.key for quantity in self.quantities)


class Corruption(Enum):
    """What happens to a value hidden from the encoder in training.

    VALUE_AND_MASK: value and observed bit both become 0, as if it had not been measured (released code).
    VALUE_ONLY: the value becomes 0 and still counts as observed, like a true percentile of 0 (paper's wording).
    """

    VALUE_AND_MASK = "value-and-mask"
    VALUE_ONLY = "value-only"


LAB_PANEL = Panel("labs", tuple(Quantity(str(test.item_id), *test[1:]) for test in LAB_TESTS))
"""The fifty tests in tensor order; their keys are MIMIC item ids."""
