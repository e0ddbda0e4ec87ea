"""The pulmonary vessels of one film: a tree that branches from each hilum to the pleura.

Grown afresh for every film from its id, in the patient's coordinates, then bent to the lungs' size. Congestion widens
the upper branches and thins the lower ones; a loaded right heart widens the central ones and prunes the rest; both as
visibility times severity. Goes to ``curves.splat``; knows nothing of the picture.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pacx.simulation.film.curves import Curve

_NUM_TRUNKS = 9
_NUM_LEVELS = 6
_LENGTH_RATIO = 0.80
_RADIUS_RATIO = 0.75
_HILUM_X, _HILUM_Y = 3.6, -1.6

_Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LungFrame:
    """What the tree needs of one film's anatomy, cm; and the signs that change its calibre."""

    top: float
    dome_right: float
    dome_left: float
    width: float
    congestion: float
    right_load: float
    hyperinflation: float


def pulmonary_tree(frame: LungFrame, random: np.random.Generator, *, points_per_cm: float) -> list[list[Curve]]:
    """Both trees, grouped by calibre from the trunks to the twigs (three groups, one blur each).

    Args:
        frame: The film's lungs.
        random: Private to this film and purpose.
        points_per_cm: How densely to lay points; about 1.3 per pixel.
    """
    count = 2 * _NUM_TRUNKS
    side = np.repeat([-1.0, 1.0], _NUM_TRUNKS)
    fan = np.tile(np.linspace(-1.38, 1.75, _NUM_TRUNKS), 2) + random.uniform(-0.16, 0.16, count)  # up to down
    x = side * (_HILUM_X + 0.25 * np.cos(fan) + 0.7 * random.uniform(-1.0, 1.0, count))
    y = _HILUM_Y + np.where(side > 0, -0.9, 0.2) + 1.3 * np.sin(fan) + 0.8 * random.uniform(-1.0, 1.0, count)
    reach = _reach(fan, side, frame)
    upper = np.clip(-np.sin(fan) + 0.2, -1.0, 1.0)
    calibre = (0.9 - 0.22 * upper) * random.uniform(0.8, 1.15, count)
    calibre = calibre * (1.0 + frame.congestion * (0.28 + 0.42 * upper)).clip(0.4)
    calibre = calibre * (1.0 - 0.18 * min(frame.hyperinflation, 1.5))
    groups: list[list[Curve]] = [[], [], []]
    total = sum(_LENGTH_RATIO**level for level in range(_NUM_LEVELS))
    for level in range(_NUM_LEVELS):
        length = reach / total * _LENGTH_RATIO**level * random.uniform(0.75, 1.25, len(x))
        loaded = 1.0 + frame.right_load * (0.50 if level == 0 else 0.35 if level == 1 else -0.16)
        radius = 0.44 * _RADIUS_RATIO**level * calibre * loaded
        bend = random.uniform(-0.35, 0.35, len(x))
        foreshortening = random.uniform(0.72, 1.0, len(x))
        num_points = max(3, int(np.ceil(1.4 * points_per_cm * reach.max() / total * _LENGTH_RATIO**level)))
        t = (np.arange(num_points) + 0.5) / num_points
        angle = fan[:, None] + bend[:, None] * (t - 0.3)  # (branches, points)
        step = (length * foreshortening / num_points)[:, None]
        px = x[:, None] + side[:, None] * np.cumsum(np.cos(angle), axis=1) * step
        py = y[:, None] + np.cumsum(np.sin(angle), axis=1) * step
        taper = radius[:, None] * (1.0 + (_RADIUS_RATIO**0.8 - 1.0) * t)
        volume = np.pi * taper**2 * (length / num_points)[:, None]
        groups[0 if level == 0 else 1 if level < 3 else 2].append(
            Curve(x=px.ravel(), y=py.ravel(), volume=volume.ravel())
        )
        spread = random.uniform(0.22, 0.62, len(x))
        fan = np.concatenate([angle[:, -1] - spread, angle[:, -1] + 0.8 * spread])
        x, y, side = np.tile(px[:, -1], 2), np.tile(py[:, -1], 2), np.tile(side, 2)
        calibre, reach = np.tile(calibre, 2) * random.uniform(0.75, 1.15, 2 * len(calibre)), np.tile(reach, 2)
    return groups


def _reach(fan: _Array, side: _Array, frame: LungFrame) -> _Array:
    """Distance from the hilum to the pleura in direction ``fan``, cm: half an ellipse above, half an ellipse below."""
    dome = np.where(side > 0, frame.dome_left, frame.dome_right)
    vertical = np.where(np.sin(fan) < 0.0, _HILUM_Y - frame.top - 1.0, dome - _HILUM_Y + 1.0)
    horizontal = frame.width * 2.0 - _HILUM_X - 0.6
    return 1.0 / np.hypot(np.cos(fan) / horizontal, np.sin(fan) / vertical)
