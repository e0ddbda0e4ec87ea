"""How bright a stored value is, by each source that a DICOM header has for it, the one that counts most first.

`stored values -> modality LUT or rescaling -> VOI LUTs, then windows, then full scale -> share of white`

A source that is none is left out: a table with fewer entries than it says, a window whose centre or width is no number,
whose width is not above 0 (not 1 or more, where it is linear). Whoever asks takes the first that leaves a film to see.

Source: DICOM PS3.3 C.11.1 (modality LUT), C.11.2 (VOI LUT and windows; a table goes before a window).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pacx.data.images.header_values import decimals, items, text
from pacx.data.images.lookup_tables import lookup_table
from pacx.data.images.unreadable import UnreadableImage

Shares = NDArray[np.float64]


def shares_of_white(
    dataset: Dataset, values: NDArray[np.int64], full_scale_of_film: Callable[[], tuple[int, int]]
) -> Iterator[Shares]:
    """The brightness of each stored value by each source, float64 (N,), black 0 and white 1, not clipped.

    Args:
        dataset: the header.
        values: every value that can be stored, (N,).
        full_scale_of_film: finds black and white of the film as stored values; called where the header has no say.

    Raises:
        UnreadableImage: the modality's table is none, without which no number of the header means anything.
    """
    for shares in _by_source(dataset, values, full_scale_of_film):
        if np.isfinite(shares).all():  # absurd numbers overflow
            yield shares


def _by_source(
    dataset: Dataset, values: NDArray[np.int64], full_scale_of_film: Callable[[], tuple[int, int]]
) -> Iterator[Shares]:
    rescaled, lowest, highest = _in_modality_units(dataset, values)
    for item in items(dataset, "VOILUTSequence"):
        table = lookup_table(item)
        if table is not None:
            yield table.look_up(rescaled) / table.white
    for window in _windows(dataset):
        yield window.shares(rescaled, lowest, highest)
    black, white = full_scale_of_film()
    in_use = rescaled[(values >= black) & (values <= white)]
    yield (rescaled - in_use.min()) / (in_use.max() - in_use.min())


def _in_modality_units(dataset: Dataset, values: NDArray[np.int64]) -> tuple[NDArray[np.float64], float, float]:
    """The values as the modality means them, (N,), and what its least and its greatest value come out as."""
    modality_items = items(dataset, "ModalityLUTSequence")
    if modality_items:
        table = lookup_table(modality_items[0])
        if table is None:
            raise UnreadableImage("its modality look-up table has fewer entries than it says")
        return table.look_up(values.astype(np.float64)), 0.0, float(table.white)
    slope, intercept = decimals(dataset, "RescaleSlope")[0], decimals(dataset, "RescaleIntercept")[0]
    if not np.isfinite(slope) or slope == 0:
        slope = 1.0
    if not np.isfinite(intercept):
        intercept = 0.0
    return (
        values.astype(np.float64) * slope + intercept,
        float(values.min() * slope + intercept),
        float(values.max() * slope + intercept),
    )


@dataclass(frozen=True)
class _Window:
    """A window in the modality's units; a function that the standard does not know counts as LINEAR."""

    centre: float
    width: float
    function: str

    def is_one(self) -> bool:
        least_width = np.nextafter(0, 1) if self.function in ("LINEAR_EXACT", "SIGMOID") else 1
        return bool(np.isfinite([self.centre, self.width]).all() and self.width >= least_width)

    def shares(self, rescaled: NDArray[np.float64], lowest: float, highest: float) -> Shares:
        """Formulas of C.11.2.1.2.1 and C.11.2.1.3, from and to the units of the modality and only then to shares.

        The detour is pydicom's, and kept so that what falls on a half is rounded as it always was.
        """
        span = highest - lowest
        if self.function == "SIGMOID":
            shown = span / (1 + np.exp(-4 * (rescaled - self.centre) / self.width)) + lowest
            return (shown - lowest) / (span + lowest - lowest)
        is_exact = self.function == "LINEAR_EXACT"
        centre, width = (self.centre, self.width) if is_exact else (self.centre - 0.5, self.width - 1)
        shown = ((rescaled - centre) / width + 0.5) * span + lowest
        shown[rescaled <= centre - width / 2] = lowest
        shown[rescaled > centre + width / 2] = highest
        return (shown - lowest) / span


def _windows(dataset: Dataset) -> list[_Window]:
    """Each pair of a centre and a width that is a window; as many pairs as the shorter list has."""
    pairs = zip(decimals(dataset, "WindowCenter"), decimals(dataset, "WindowWidth"), strict=False)
    function = text(dataset, "VOILUTFunction")
    return [window for pair in pairs if (window := _Window(*pair, function)).is_one()]
