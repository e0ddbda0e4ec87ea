"""Uint8 films to float input: augmentation as a pure function of (seed, epoch, sample), then the input contract.

Every number an augmentation needs is drawn per sample by stateless randomness, and every operation treats a sample
without regard to its neighbours: a film alone and the same film in a batch come out with the same pixels, so that any
step can be replayed. Batched torch on whatever device the images are on.

Crop, flip and affine are one bilinear resampling, as if done one after the other but blurred only once. A crop is only
ever enlarged, so antialiasing has nothing to do. What an affine map brings in from outside the film is black.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from pacx.core.errors import DataError
from pacx.core.preprocessing import Preprocessing
from pacx.core.randomness import uniform
from pacx.data.augment_config import Augmentation

_CROP_ATTEMPTS = 10
_SUM_SCALE = 2**16


def augment(
    images: torch.Tensor, keys: NDArray[np.uint64], config: Augmentation, *, seed: int, epoch: int
) -> torch.Tensor:
    """Augment a batch of films.

    Args:
        images: uint8 (B, S, S) on any device.
        keys: uint64 (B,), the samples' keys.
        config: what may happen.
        seed: of the run.
        epoch: which draw.

    Returns:
        float32 (B, S, S) in [0, 1] on the same device.
    """
    draws = _Draws(keys, seed, epoch)
    result = images.to(torch.float32) / 255
    if config.crop_scale is not None or config.flip_probability > 0 or config.affine_probability > 0:
        result = _moved(result, config, draws)
    if config.jitter_probability > 0:
        result = _jittered(result, config, draws)
    if config.blur_probability > 0:
        result = _blurred(result, config, draws)
    if config.erasing_probability > 0:
        result = _erased(result, config, draws)
    return result


def to_input(images: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    """Bring films to the encoder's door; ``Preprocessing.normalize`` in torch.

    Args:
        images: (B, S, S), uint8 or float in [0, 1].
        preprocessing: the contract; its image size is S.

    Returns:
        float32 (B, C, S, S), normalized.

    Raises:
        DataError: the films have another size than the contract says.
    """
    size_px = preprocessing.image_size_px
    if images.shape[1:] != (size_px, size_px):
        raise DataError(f"films of {tuple(images.shape[1:])} pixels reached an encoder made for {size_px} x {size_px}")
    unit = images.to(torch.float32) / 255 if images.dtype == torch.uint8 else images
    mean = torch.tensor(preprocessing.mean, device=images.device)[None, :, None, None]
    std = torch.tensor(preprocessing.std, device=images.device)[None, :, None, None]
    return (unit[:, None] - mean) / std  # (B, 1, S, S) -> (B, C, S, S)


class _Draws:
    """Uniform numbers for one batch; each purpose has its own stream, so that switching one off moves no other."""

    def __init__(self, keys: NDArray[np.uint64], seed: int, epoch: int) -> None:
        self._keys, self._seed, self._epoch = keys, seed, epoch

    def unit(self, purpose: str, count: int) -> NDArray[np.float64]:
        """(B, count) in [0, 1)."""
        return uniform(self._seed, f"augment-{purpose}", self._epoch, self._keys, count)

    def happens(self, purpose: str, probability: float) -> NDArray[np.bool_]:
        """(B,) true with the given probability."""
        return self.unit(f"{purpose}-happens", 1)[:, 0] < probability


def _between(unit: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    return low + (high - low) * unit


def _log_between(unit: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    return np.exp(_between(unit, math.log(low), math.log(high)))


def _per_sample(values: NDArray[np.float64], like: torch.Tensor) -> torch.Tensor:
    """(B,) to float32 (B, 1, 1) beside the images."""
    return torch.from_numpy(values.astype(np.float32)).to(like.device)[:, None, None]


def _moved(images: torch.Tensor, config: Augmentation, draws: _Draws) -> torch.Tensor:
    """Crop, flip and affine: follow each output pixel back to where in the film it comes from."""
    size_px = images.shape[-1]
    place = torch.arange(size_px, device=images.device, dtype=torch.float32)
    y, x = place[None, :, None], place[None, None, :]  # (1, S, 1), (1, 1, S)
    is_inside = None
    if config.affine_probability > 0:
        x, y = _before_affine(x, y, images, config, draws)  # (B, S, S) each
        is_inside = ((x - place[-1] / 2).abs() <= size_px / 2) & ((y - place[-1] / 2).abs() <= size_px / 2)
    if config.flip_probability > 0:
        is_flipped = draws.happens("flip", config.flip_probability).astype(np.float64)
        x = x + _per_sample(is_flipped, images) * (place[-1] - 2 * x)
    if config.crop_scale is not None:
        left, top, width, height = (
            _per_sample(edge, images) for edge in _crops(size_px, config.crop_scale, config, draws)
        )
        # As torchvision resizes a crop: pixels outside it never show, not even at its rim.
        x = left + torch.minimum(((x + 0.5) * (width / size_px) - 0.5).clamp(min=0), width - 1)
        y = top + torch.minimum(((y + 0.5) * (height / size_px) - 0.5).clamp(min=0), height - 1)
    x, y = torch.broadcast_tensors(x, y)
    grid = (torch.stack([x, y], dim=-1) + 0.5) * (2 / size_px) - 1  # (B, S, S, 2), sample positions in [-1, 1]
    grid = grid.expand(len(images), -1, -1, -1)
    moved = F.grid_sample(images[:, None], grid, "bilinear", "border", align_corners=False)[:, 0]  # (B, S, S)
    return moved if is_inside is None else moved * is_inside


def _before_affine(
    x: torch.Tensor, y: torch.Tensor, like: torch.Tensor, config: Augmentation, draws: _Draws
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where output positions lay before rotation, zoom and shift about the middle of the film."""
    size_px = like.shape[-1]
    happens = draws.happens("affine", config.affine_probability)
    unit = draws.unit("affine", 4)
    shift_px = config.shift_fraction * size_px
    angle = np.deg2rad(_between(unit[:, 0], -config.rotation_deg, config.rotation_deg)) * happens
    zoom = np.where(happens, _between(unit[:, 1], *config.zoom), 1.0)
    shift_x = np.rint(_between(unit[:, 2], -shift_px, shift_px)) * happens
    shift_y = np.rint(_between(unit[:, 3], -shift_px, shift_px)) * happens
    cos, sin = _per_sample(np.cos(angle) / zoom, like), _per_sample(np.sin(angle) / zoom, like)
    middle = (size_px - 1) / 2
    from_x = x - middle - _per_sample(shift_x, like)  # (B, 1, S)
    from_y = y - middle - _per_sample(shift_y, like)  # (B, S, 1)
    return cos * from_x + sin * from_y + middle, cos * from_y - sin * from_x + middle


def _crops(
    size_px: int, scale: tuple[float, float], config: Augmentation, draws: _Draws
) -> tuple[NDArray[np.float64], ...]:
    """Left, top, width, height of each crop in whole pixels: the first of ten draws that fits, else the whole film."""
    unit = draws.unit("crop", 2 * _CROP_ATTEMPTS + 2)
    area = size_px**2 * _between(unit[:, :_CROP_ATTEMPTS], *scale)  # (B, attempts)
    ratio = _log_between(unit[:, _CROP_ATTEMPTS:-2], *config.crop_ratio)
    widths, heights = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
    fits = (widths > 0) & (widths <= size_px) & (heights > 0) & (heights <= size_px)
    first = fits.argmax(axis=1)[:, None]
    width = np.where(fits.any(axis=1), np.take_along_axis(widths, first, axis=1)[:, 0], size_px)
    height = np.where(fits.any(axis=1), np.take_along_axis(heights, first, axis=1)[:, 0], size_px)
    left = np.floor(unit[:, -2] * (size_px - width + 1))
    top = np.floor(unit[:, -1] * (size_px - height + 1))
    return left, top, width, height


def _jittered(images: torch.Tensor, config: Augmentation, draws: _Draws) -> torch.Tensor:
    """Brightness, then contrast about the film's mean grey, each clipped to [0, 1]; on the chosen films."""
    chosen = np.flatnonzero(draws.happens("jitter", config.jitter_probability))
    if chosen.size == 0:
        return images
    unit = draws.unit("jitter", 2)[chosen]
    brightness = _between(unit[:, 0], 1 - config.brightness, 1 + config.brightness)
    contrast = _between(unit[:, 1], 1 - config.contrast, 1 + config.contrast)
    rows = torch.from_numpy(chosen).to(images.device)
    brighter = (images[rows] * _per_sample(brightness, images)).clamp(0, 1)
    # Summed as integers: a float sum would depend on how many films are summed at once.
    total = (brighter * _SUM_SCALE).round().to(torch.int64).sum(dim=(1, 2), keepdim=True)  # (b, 1, 1)
    mean = (total.to(torch.float64) / (_SUM_SCALE * images.shape[1] * images.shape[2])).to(torch.float32)
    changed = (mean + (brighter - mean) * _per_sample(contrast, images)).clamp(0, 1)
    return images.index_copy(0, rows, changed)


def _blurred(images: torch.Tensor, config: Augmentation, draws: _Draws) -> torch.Tensor:
    """Convolve the chosen films with a Gaussian out to three standard deviations, reflecting at the border."""
    chosen = np.flatnonzero(draws.happens("blur", config.blur_probability))
    if chosen.size == 0:
        return images
    sigma = _between(draws.unit("blur", 1)[chosen, 0], *config.blur_sigma_px)
    radius = math.ceil(3 * config.blur_sigma_px[1])
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma[:, None]) ** 2)  # (b, taps)
    weights /= weights.sum(axis=1, keepdims=True)
    rows = torch.from_numpy(chosen).to(images.device)
    blurred = images[rows]
    for axis in (1, 2):
        side = blurred.shape[axis]
        pad = (0, 0, radius, radius) if axis == 1 else (radius, radius, 0, 0)
        padded = F.pad(blurred[:, None], pad, mode="reflect")[:, 0]
        blurred = torch.zeros_like(blurred)
        for tap in range(2 * radius + 1):
            blurred += _per_sample(weights[:, tap], images) * padded.narrow(axis, tap, side)
    return images.index_copy(0, rows, blurred)


def _erased(images: torch.Tensor, config: Augmentation, draws: _Draws) -> torch.Tensor:
    """Paint one rectangle over each of the chosen films."""
    size_px = images.shape[-1]
    happens = draws.happens("erasing", config.erasing_probability)
    unit = draws.unit("erasing", 4)
    area = size_px**2 * _between(unit[:, 0], *config.erasing_area)
    ratio = _log_between(unit[:, 1], *config.erasing_ratio)
    height, width = np.rint(np.sqrt(area * ratio)) * happens, np.rint(np.sqrt(area / ratio)) * happens
    top = _per_sample(np.floor(unit[:, 2] * (size_px - height + 1)), images)
    left = _per_sample(np.floor(unit[:, 3] * (size_px - width + 1)), images)
    place = torch.arange(size_px, device=images.device)
    y, x = place[None, :, None], place[None, None, :]
    in_rows = (y >= top) & (y < top + _per_sample(height, images))  # (B, S, 1)
    in_columns = (x >= left) & (x < left + _per_sample(width, images))  # (B, 1, S)
    return torch.where(in_rows & in_columns, config.erasing_value, images)
