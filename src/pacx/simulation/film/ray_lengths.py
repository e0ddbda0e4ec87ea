"""Lengths of parallel rays inside simple bodies, in closed form.

A film is a sum of attenuation times length along rays, so every organ is a body whose chord is known exactly: nothing
is marched or sampled. Rays run along z (towards the film); x is the film's right (the patient's left), y is down, all
in cm. ``organs`` and ``skeleton`` compose these; this file knows no anatomy and no attenuation.

Everything is elementwise, so a pixel's value depends on neither its neighbours nor the batch.
"""

import torch
from torch import Tensor


def ellipse_level(x: Tensor, y: Tensor, center: tuple[Tensor, Tensor], semi_axes: tuple[Tensor, Tensor]) -> Tensor:
    """Level function of an ellipse: 1 at the center, 0 on the outline, negative outside.

    Args:
        x: Positions, any shape, cm.
        y: As x.
        center: Broadcastable to x, cm.
        semi_axes: Along x and y, positive, cm.
    """
    u = (x - center[0]) / semi_axes[0]
    v = (y - center[1]) / semi_axes[1]
    return 1.0 - u * u - v * v


def rotated_ellipse_level(
    x: Tensor, y: Tensor, center: tuple[Tensor, Tensor], semi_axes: tuple[Tensor, Tensor], axis: tuple[Tensor, Tensor]
) -> Tensor:
    """As ``ellipse_level``; the first semi-axis points along the unit vector ``axis`` = (cos, sin)."""
    dx, dy = x - center[0], y - center[1]
    u = (dx * axis[0] + dy * axis[1]) / semi_axes[0]
    v = (dy * axis[0] - dx * axis[1]) / semi_axes[1]
    return 1.0 - u * u - v * v


def half_chord(level: Tensor, semi_axis: Tensor | float) -> Tensor:
    """Half the length of a ray inside an ellipsoid with that level function and that semi-axis along the ray, cm."""
    return level.clamp_min(0.0).sqrt() * semi_axis


def overlap(low_1: Tensor, high_1: Tensor, low_2: Tensor, high_2: Tensor) -> Tensor:
    """Length common to two intervals of one ray; an interval whose high is not above its low is empty."""
    return (torch.minimum(high_1, high_2) - torch.maximum(low_1, low_2)).clamp_min(0.0)


def smooth_maximum(a: Tensor, b: Tensor, width: float) -> Tensor:
    """A maximum without a kink; joins bodies as tissue does when a and b are their *squared* half chords.

    Equals ``maximum(a, b)`` where they differ by more than ``width``, and lies width / 4 above it where they are equal.
    """
    bump = (width - (a - b).abs()).clamp_min(0.0)
    return torch.maximum(a, b) + bump * bump * (0.25 / width)


def tube_chord(squared_distance: Tensor, radius: Tensor | float, stretch: Tensor | float = 1.0) -> Tensor:
    """Length of a ray inside a tube, cm.

    Args:
        squared_distance: From the ray to the tube's axis, square cm, any shape.
        radius: cm.
        stretch: 1 / sine of the angle between axis and ray, at least 1.
    """
    return (radius * radius - squared_distance).clamp_min(0.0).sqrt() * (2.0 * stretch)


def segment_squared_distance(
    x: Tensor, y: Tensor, start: tuple[Tensor, Tensor], end: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Squared distance to a segment (square cm) and the position along it (0 at start, 1 at end)."""
    ex, ey = end[0] - start[0], end[1] - start[1]
    dx, dy = x - start[0], y - start[1]
    along = ((dx * ex + dy * ey) / (ex * ex + ey * ey)).clamp(0.0, 1.0)
    dx, dy = dx - along * ex, dy - along * ey
    return dx * dx + dy * dy, along
