"""Hardware on and in the chest: pacemaker leads, ECG wires with electrodes, tubes, and the technician's side marker.

Leads follow the veins in the patient's coordinates; wires lie on the skin. ``thorax`` multiplies the lengths by a
metal's attenuation. The generator's can is a solid and lives in ``thorax``; this file lays curves only.
"""

import numpy as np

from pacx.simulation.film.curves import Curve, spline, tube_along


def pacemaker_leads(heart_size: float, heart_y: float, random: np.random.Generator) -> list[Curve]:
    """Two leads from the generator below the left clavicle through the great veins to right atrium and ventricle."""
    drift = random.uniform(-0.7, 0.7, 6)
    vein = [(10.6, -9.9), (9.4, -11.3 + 0.2 * drift[0]), (6.0, -11.9), (2.0, -10.9 + 0.3 * drift[1])]
    vein += [(-1.4, -9.6), (-2.6, -6.8), (-2.9, -2.5)]
    atrium = [*vein, (-2.9, 2.0 + heart_y), (-3.6, 3.2 + heart_y), (-4.1 + 0.4 * drift[2], 1.2 + heart_y)]
    ventricle = [*vein, (-2.6, 2.6 + heart_y), (-0.4, 6.2 + heart_y), (2.8, 7.6 + heart_y)]
    ventricle += [(5.9 * heart_size + 0.8 * drift[3], 7.4 + heart_y + 0.5 * drift[4])]
    curves = []
    for waypoints in (atrium, ventricle):
        x, y = spline(waypoints)
        curves.append(tube_along(x, y, 0.085))
        curves.append(_disc(x[-1], y[-1], 0.15, 0.25))
    return curves


def _disc(x: float, y: float, radius: float, thickness: float) -> Curve:
    """A flat disc as a sunflower of points."""
    n = 60
    k = np.arange(n) + 0.5
    r, turn = radius * np.sqrt(k / n), k * 2.399963
    return Curve(
        x=x + r * np.cos(turn),
        y=y + r * np.sin(turn),
        volume=np.full(n, np.pi * radius**2 * thickness / n),
    )


def wires(amount: float, random: np.random.Generator) -> list[Curve]:
    """ECG leads with their electrodes; from 0.5 also a central line, from 0.75 a gastric tube.

    Args:
        amount: 0 to 1; how much of the hardware is there. The k-th wire fades in as its turn comes.
        random: Private to this film and purpose; drawn in full whatever the amount, so wires never move.
    """
    jitter = random.uniform(-1.0, 1.0, (5, 8))
    homes = [(-11.5, -8.5), (11.0, -8.0), (11.5, 7.5), (-11.0, 8.0), (3.0, 1.0)]
    curves: list[Curve] = []
    for index, ((ex, ey), j) in enumerate(zip(homes, jitter, strict=True)):
        present = float(np.clip(amount * 6.0 - index, 0.0, 1.0))
        if present == 0.0:
            continue
        ex, ey = ex + 1.5 * j[0], ey + 1.5 * j[1]
        way = [
            (ex, ey),
            (ex * 0.75 + 2.0 * j[2], ey + 2.5 + 2.0 * j[3]),
            (ex * 0.5 + 3.0 * j[4], ey + 6.0 + 2.0 * j[5]),
        ]
        way += [(3.0 * j[6] + 1.0, 15.0), (2.0 + 3.0 * j[7], 22.0)]
        pieces = [tube_along(*spline(way), 0.085), _disc(ex, ey, 0.6, 0.06), _disc(ex, ey, 0.24, 0.35)]
        curves += [Curve(x=c.x, y=c.y, volume=c.volume * present) for c in pieces]
    line = spline([(-6.0, -20.5), (-5.0, -15.0), (-3.2, -10.5), (-2.7, -6.0), (-2.6, -2.0)])
    tube = spline([(0.9, -20.5), (0.3, -12.0), (0.2, -4.0), (0.8, 4.0), (1.8, 9.5), (4.5, 12.2), (7.5, 12.6)])
    for (x, y), radius, first in ((line, 0.09, 0.5), (tube, 0.11, 0.75)):
        present = float(np.clip((amount - first) * 8.0, 0.0, 1.0))
        if present > 0.0:
            curve = tube_along(x, y, radius)
            curves.append(Curve(x=curve.x, y=curve.y, volume=curve.volume * present * 0.7))
    return curves


def side_marker(random: np.random.Generator) -> list[Curve]:
    """A leaden L beside the patient's left shoulder, on about three films in four."""
    place = random.uniform(-1.0, 1.0, 4)
    if place[3] > 0.5:
        return []
    x, y, turn = 17.4 + 0.7 * place[0], -17.0 + 0.8 * place[1], 0.15 * place[2]
    stroke_x = np.concatenate([np.zeros(60), np.linspace(0.0, 0.8, 40)])
    stroke_y = np.concatenate([np.linspace(-1.3, 0.0, 60), np.zeros(40)])
    px = x + np.cos(turn) * stroke_x - np.sin(turn) * stroke_y
    py = y + np.sin(turn) * stroke_x + np.cos(turn) * stroke_y
    return [tube_along(px, py, 0.3)]
