"""Thin things on a film, drawn as points of known volume: lung vessels, pacemaker leads, ECG wires, side markers.

A curve is a row of points, each carrying the volume of its piece of tube. Points are shared out among the four pixels
around them, which keeps the volume exactly, and a Gaussian as wide as the tube spreads it; the result is the mean
length of each pixel's ray inside the tubes. ``vessels`` grows the pulmonary tree, ``devices`` lays the hardware;
``thorax`` calls ``splat`` for both. Refuses to know what a curve is made of.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Points = NDArray[np.float64]

_POINT_SPACING_CM = 0.05  # below a pixel of a 512 px film


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Points of one film: positions in cm (n,) and the volume each carries in cubic cm (n,)."""

    x: Points
    y: Points
    volume: Points


def tube_along(x: Points, y: Points, radius_cm: float) -> Curve:
    """A polyline (n,) as evenly spaced points of a tube of one radius, each with the volume around it."""
    travelled = np.insert(np.cumsum(np.hypot(np.diff(x), np.diff(y))), 0, 0.0)
    even = np.linspace(0.0, travelled[-1], max(2, int(travelled[-1] / _POINT_SPACING_CM)))
    x, y = np.interp(even, travelled, x), np.interp(even, travelled, y)
    length = np.hypot(np.diff(x), np.diff(y))
    share = 0.5 * (np.append(length, 0.0) + np.insert(length, 0, 0.0))
    return Curve(x=x, y=y, volume=share * (np.pi * radius_cm**2))


def spline(waypoints: list[tuple[float, float]], points_per_piece: int = 24) -> tuple[Points, Points]:
    """A smooth path through every waypoint (Catmull-Rom), from the first to the last."""
    knots = np.array([waypoints[0], *waypoints, waypoints[-1]], dtype=np.float64)[:, :, None]  # (k + 2, 2, 1)
    t = np.linspace(0.0, 1.0, points_per_piece, endpoint=False)
    before, start, end, after = knots[:-3], knots[1:-2], knots[2:-1], knots[3:]  # (k - 1, 2, 1)
    linear = end - before
    square = 2.0 * before - 5.0 * start + 4.0 * end - after
    cube = 3.0 * (start - end) + after - before
    path = start + 0.5 * t * (linear + t * (square + t * cube))  # (k - 1, 2, n)
    return path[:, 0].ravel(), path[:, 1].ravel()


def splat(curves: list[Curve], size_px: int, pixels_per_cm: float) -> NDArray[np.float32]:
    """Mean ray length in the tubes, per pixel, (size_px, size_px) in cm.

    Args:
        curves: Already in film coordinates (cm from the film's center).
        size_px: Width and height.
        pixels_per_cm: size_px / film width.
    """
    if not curves:
        return np.zeros((size_px, size_px), dtype=np.float32)
    x = np.concatenate([c.x for c in curves]) * pixels_per_cm + (0.5 * size_px - 0.5)
    y = np.concatenate([c.y for c in curves]) * pixels_per_cm + (0.5 * size_px - 0.5)
    length = np.concatenate([c.volume for c in curves]) * pixels_per_cm**2  # volume / pixel area
    keep = (x >= 0.0) & (x < size_px - 1.001) & (y >= 0.0) & (y < size_px - 1.001)
    x, y, length = x[keep], y[keep], length[keep]
    column, row = x.astype(np.int64), y.astype(np.int64)
    fx, fy = x - column, y - row
    place = row * size_px + column
    places = np.concatenate([place, place + 1, place + size_px, place + size_px + 1])
    right, below = length * fx, length * fy
    corner = right * fy
    shares = np.concatenate([length - right - below + corner, right - corner, below - corner, corner])
    flat = np.bincount(places, weights=shares, minlength=size_px * size_px)
    return flat.reshape(size_px, size_px).astype(np.float32)


def gaussian_blur(images: Tensor, sigma_px: float) -> Tensor:
    """Separable Gaussian over the last two axes, edges repeated; sums of shifted copies, so no reduction order varies.

    Args:
        images: (B, H, W).
        sigma_px: Below 0.2 the images come back as they are.
    """
    if sigma_px < 0.2:
        return images
    radius = max(1, int(np.ceil(2.5 * sigma_px)))
    taps = np.exp(-0.5 * (np.arange(radius + 1) / sigma_px) ** 2)
    taps /= taps[0] + 2.0 * taps[1:].sum()
    for axis in (-1, -2):
        extent = images.shape[axis]
        first, last = images.narrow(axis, 0, 1), images.narrow(axis, extent - 1, 1)
        shape = list(images.shape)
        shape[axis] = radius
        padded = torch.cat([first.expand(shape), images, last.expand(shape)], dim=axis)
        blurred = padded.narrow(axis, radius, extent) * float(taps[0])
        for step in range(1, radius + 1):
            pair = padded.narrow(axis, radius - step, extent) + padded.narrow(axis, radius + step, extent)
            blurred = blurred + pair * float(taps[step])
        images = blurred
    return images
