"""Hardware on and in the chest: pacemaker leads, ECG wires with electrodes, tubes, and the technician's side marker.

Leads follow the veins in the patient's coordinates; wires lie on the skin. ``thorax`` multiplies the lengths by a
metal's attenuation. The generator's can is a solid and lives in ``thorax``; this file lays curves only.
"""

import numpy as np

from pacx.simulation.curves import Curve, bezier, tube_along


def pacemaker_leads(heart_size: float, heart_y: float, random: np.random.Generator) -> list[Curve]:
    """Two leads from the generator below the left clavicle through the great veins to right atrium and ventricle."""
    drift = random.uniform(-0.7, 0.7, 6)
    start = (8.6, -9.2 + 0.2 * drift[0])
    vein = [(12.5, -5.5), (9.0, -12.8), (3.0, -12.6 + 0.3 * drift[1]), (-2.6, -11.0), (-3.0, -4.0)]
    atrium = [*vein, (-2.2, 6.5 + heart_y), (-5.0, 3.0 + heart_y), (-3.6 + 0.5 * drift[2], 0.6 + heart_y)]
    ventricle = [*vein, (-3.4, 4.0 + heart_y), (-0.5, 8.8 + heart_y)]
    ventricle += [(6.4 * heart_size + drift[3], 7.2 + heart_y + 0.5 * drift[4])]
    curves = []
    for corners in (atrium, ventricle):
        x, y = bezier([start, *corners], 500)
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
        way = [(ex, ey), (ex * 0.6 + 3.0 * j[2], ey + 4.0 * j[3]), (ex * 0.4 + 5.0 * j[4], ey + 5.0 + 4.0 * j[5])]
        way += [(4.0 * j[6] + 2.0, 13.0), (3.0 + 3.0 * j[7], 22.0)]
        lead = tube_along(*bezier(way, 420), 0.06)
        pieces = [lead, _disc(ex, ey, 0.55, 0.045), _disc(ex, ey, 0.2, 0.3)]
        curves += [Curve(x=c.x, y=c.y, volume=c.volume * present) for c in pieces]
    line = bezier([(-6.5, -20.0), (-4.6, -13.0), (-2.9, -10.5), (-2.7, -4.0), (-2.5, -1.0)], 320)
    tube = bezier([(0.8, -20.5), (-0.4, -9.0), (0.4, -2.0), (1.0, 6.0), (1.6, 10.0), (6.0, 12.8)], 420)
    for (x, y), radius, first in ((line, 0.075, 0.5), (tube, 0.10, 0.75)):
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
    stroke_x = np.concatenate([np.zeros(60), np.linspace(0.0, 0.75, 40)])
    stroke_y = np.concatenate([np.linspace(-1.2, 0.0, 60), np.zeros(40)])
    px = x + np.cos(turn) * stroke_x - np.sin(turn) * stroke_y
    py = y + np.sin(turn) * stroke_x + np.cos(turn) * stroke_y
    return [tube_along(px, py, 0.13)]
