"""From attenuation to the picture: intensity, scatter, quantum noise, the manufacturer's look and the collimator.

``thorax`` hands over attenuation integrals (Beer and Lambert's exponent) and receives brightness as radiologists see
it: dense is bright. Everything is per film; every low-pass filter is a local mean on a fixed grid.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pacx.simulation.film.curves import gaussian_blur
from pacx.simulation.patients.sites import Scanner

_REFERENCE_ATTENUATION = 2.62  # shown as mid-grey
_LATITUDE = 3.2  # slope of the display curve over log attenuation
_SCATTER_FRACTION = 0.22
_UNATTENUATED_CAP = 0.22  # air around the patient scatters nothing
_LOW_PASS_CELLS = 26
_FOG = 0.02  # brightness of bare detector


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """How B films were taken, (B, 1, 1) each."""

    exposure: Tensor  # -1 to 1; over-exposed films are dark
    noise: Tensor  # 0 to 1
    thickness: Tensor  # (BMI - 24) / 20 as visible: automatic exposure follows it in part


def intensity(attenuation: Tensor) -> Tensor:
    """What reaches the detector, as a fraction of the unattenuated beam (Beer-Lambert)."""
    return torch.exp(-attenuation)


def _low_pass(images: Tensor) -> Tensor:
    cells = F.adaptive_avg_pool2d(images[:, None], _LOW_PASS_CELLS)
    smooth = F.interpolate(cells, size=images.shape[-2:], mode="bilinear", align_corners=False)
    return smooth[:, 0]


def develop(attenuation: Tensor, quanta: Tensor, how: Exposure, scanner: Scanner) -> Tensor:
    """Brightness in [0, 1] of B films.

    Args:
        attenuation: Integrals along the rays (B, S, S), at least 0.
        quanta: Standard normal numbers (B, S, S), one per pixel.
        how: Exposure of each film.
        scanner: The machine.
    """
    size_px = attenuation.shape[-1]
    primary = gaussian_blur(intensity(attenuation), scanner.blur_px * size_px / 512.0)
    scattered = _low_pass(primary.clamp_max(_UNATTENUATED_CAP))
    signal = primary * (1.0 - _SCATTER_FRACTION) + scattered * _SCATTER_FRACTION
    # Photons per pixel fall with its area, so relative noise grows with the number of pixels across.
    grain = (0.0022 + 0.0075 * how.noise) * (scanner.noise_gain * size_px / 512.0)
    seen = -torch.log((signal + quanta * grain * signal.sqrt()).clamp(1e-4, 1.0))
    enhanced = seen + scanner.edge_enhancement * (seen - _low_pass(seen))
    reference = _REFERENCE_ATTENUATION * (1.0 + 0.16 * how.thickness) * (1.0 + 0.22 * how.exposure)
    curve = torch.log(enhanced.clamp_min(1e-3) / reference)
    bright = _FOG + (1.0 - _FOG) * torch.sigmoid(curve * (_LATITUDE * scanner.contrast))
    return bright if scanner.gamma == 1.0 else bright**scanner.gamma


def collimate(bright: Tensor, x: Tensor, y: Tensor, edges: Tensor) -> Tensor:
    """Black borders: nothing lies outside the collimator's blades.

    Args:
        bright: (B, S, S).
        x: Film positions (1, 1, S), cm from the center.
        y: Film positions (1, S, 1).
        edges: Positions of left, right, upper and lower blade, (4, B, 1, 1), cm.
    """
    across = ((x - edges[0]) * 7.0).clamp(0.0, 1.0) * ((edges[1] - x) * 7.0).clamp(0.0, 1.0)
    down = ((y - edges[2]) * 7.0).clamp(0.0, 1.0) * ((edges[3] - y) * 7.0).clamp(0.0, 1.0)
    return bright * across * down
