"""What can be done to a film before an encoder sees it: parts hidden, detail taken away. Small objects with names.

Each takes grey films (B, S, S) and their rows in the pack and gives float films in [0, 1]; normalisation
comes after. What is hidden is filled with one grey for all films, so that the fill tells nothing
of the film. The outline of a hidden organ stays visible as the edge of the hole; only its inside is gone.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from pacx.core.errors import DataError, UsageError
from pacx.data.packs.pack import Pack


class NamedAlteration(Protocol):
    """An alteration that result rows can name."""

    @property
    def name(self) -> str:
        """In words, for a table."""

    def __call__(self, films: Tensor, rows: NDArray[np.int64], /) -> Tensor:
        """Films (B, S, S), uint8 or in [0, 1], of these rows of the pack, to float films in [0, 1]."""


def unit(films: Tensor) -> Tensor:
    """Films as float in [0, 1], rounded as ``data.augment.to_input`` rounds them."""
    return films.to(torch.float32) / 255 if films.dtype == torch.uint8 else films


def blurred(films: Tensor, share: float) -> Tensor:
    """Films (B, S, S) under a Gaussian with this standard deviation, as a share of the side; mirrored at the edge."""
    side = films.shape[-1]
    sigma = share * side
    radius = min(max(int(3 * sigma + 0.5), 1), side - 1)  # a mirror image is no longer than the film
    return gaussian_blur(films[:, None], [2 * radius + 1] * 2, [sigma] * 2)[:, 0]


@dataclass(frozen=True, kw_only=True)
class BorderOnly:
    """Hide everything but a frame: what a probe still finds there are markers, collimation and the scanner's habits.

    Args:
        grey: of the fill, in [0, 1].
        share: width of the frame over the side of the film, in (0, 0.5).
    """

    grey: float
    share: float = 0.1

    @property
    def name(self) -> str:
        """What result rows call the films altered so."""
        return "border only"

    def __call__(self, films: Tensor, _rows: NDArray[np.int64], /) -> Tensor:
        """Alter a batch of films, as ``NamedAlteration`` says."""
        return torch.where(_inside(films, self.share), self.grey, unit(films))


@dataclass(frozen=True, kw_only=True)
class CentreOnly:
    """Hide the frame: markers, wires that enter the film, collimation. Arguments as ``BorderOnly``."""

    grey: float
    share: float = 0.1

    @property
    def name(self) -> str:
        """What result rows call the films altered so."""
        return "centre only"

    def __call__(self, films: Tensor, _rows: NDArray[np.int64], /) -> Tensor:
        """Alter a batch of films, as ``NamedAlteration`` says."""
        return torch.where(_inside(films, self.share), unit(films), self.grey)


def _inside(films: Tensor, share: float) -> Tensor:
    """True (S, S) but in a frame of this share."""
    if not 0 < share < 0.5:
        raise UsageError(f"a border of {share} of the side; give a share in (0, 0.5)")
    side = films.shape[-1]
    width = max(round(share * side), 1)
    places = torch.arange(side, device=films.device)
    is_inside = (places >= width) & (places < side - width)
    return is_inside[:, None] & is_inside[None, :]


class MaskHidden:
    """Hide an organ or a device by its mask; films without it stay as they are, and so do pixels nobody has judged.

    Args:
        pack: whose masks.
        mask: its name, one of the pack's.
        grey: of the fill, in [0, 1].

    Raises:
        DataError: the pack has no such mask.
    """

    def __init__(self, pack: Pack, mask: str, grey: float) -> None:
        if pack.masks is None or mask not in pack.mask_names:
            known = ", ".join(pack.mask_names) or "none"
            raise DataError(f"pack {pack.path} has no mask '{mask}' (its masks: {known}); pack films with that mask")
        self._masks, self._column = pack.masks, pack.mask_names.index(mask)
        self._mask, self._grey = mask, grey

    @property
    def name(self) -> str:
        """What result rows call the films altered so."""
        return f"{self._mask} hidden"

    def __call__(self, films: Tensor, rows: NDArray[np.int64], /) -> Tensor:
        """Alter a batch of films, as ``NamedAlteration`` says."""
        is_hidden = torch.from_numpy(self._masks[rows, self._column] == 1).to(films.device)
        return torch.where(is_hidden, self._grey, unit(films))


@dataclass(frozen=True, kw_only=True)
class Blurred:
    """Gaussian blur: detail goes, large shapes stay.

    Args:
        share: standard deviation over the side of the film.
    """

    share: float = 0.03

    @property
    def name(self) -> str:
        """What result rows call the films altered so."""
        return f"blurred, sigma {100 * self.share:g} % of the side"

    def __call__(self, films: Tensor, _rows: NDArray[np.int64], /) -> Tensor:
        """Alter a batch of films, as ``NamedAlteration`` says."""
        return blurred(unit(films), self.share)


@dataclass(frozen=True, kw_only=True)
class LowPassed:
    """Keep only waves that are longer than a share of the film: a few large smudges, no anatomy to speak of.

    Args:
        cycles: highest spatial frequency kept, in periods per side.
    """

    cycles: float = 4.0

    @property
    def name(self) -> str:
        """What result rows call the films altered so."""
        return f"low-pass, {self.cycles:g} periods per side"

    def __call__(self, films: Tensor, _rows: NDArray[np.int64], /) -> Tensor:
        """Alter a batch of films, as ``NamedAlteration`` says."""
        side = films.shape[-1]
        down = torch.fft.fftfreq(side, 1 / side, device=films.device)
        across = torch.fft.rfftfreq(side, 1 / side, device=films.device)
        is_kept = down[:, None] ** 2 + across[None, :] ** 2 <= self.cycles**2
        kept = torch.fft.irfft2(torch.fft.rfft2(unit(films)) * is_kept, s=(side, side))
        return kept.clamp(0, 1)


def usual_alterations(pack: Pack) -> tuple[NamedAlteration, ...]:
    """Border only, centre only, each mask of the pack hidden, blur and low-pass; filled with the pack's mean grey."""
    grey = pack.manifest.pixel_mean
    hidden = [MaskHidden(pack, mask, grey) for mask in pack.mask_names]
    return (BorderOnly(grey=grey), CentreOnly(grey=grey), *hidden, Blurred(), LowPassed())
