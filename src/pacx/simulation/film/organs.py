"""Soft tissue, lungs, diaphragm, heart and great vessels: how much of each ray lies in which of them.

Reads ``Anatomy`` and pixel positions, composes closed-form chords, and hands ``thorax`` lengths in cm. Both lungs are
computed at once: |x| folds the patient about the midline and ``_sided`` picks each side's size. It refuses to know
attenuation, bones and pictures.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pacx.simulation.film.anatomy import Anatomy
from pacx.simulation.film.ray_lengths import (
    ellipse_level,
    half_chord,
    overlap,
    rotated_ellipse_level,
    segment_squared_distance,
    smooth_maximum,
    tube_chord,
)

HEART_Z, MEDIASTINUM_Z, AORTA_Z, DOME_Z = 3.0, -0.5, -5.5, 1.0


@dataclass(frozen=True, kw_only=True)
class Lungs:
    """Both lungs along every ray."""

    level: Tensor  # above 0 inside the lungs' outline, diaphragm ignored
    half_depth: Tensor  # cm, of the pleural space
    above_dome: Tensor  # bool: the ray passes over its side's dome
    dome_half_depth: Tensor  # cm
    lateral: Tensor  # -1 at the medial edge, 0 at the lung's axis, +1 at the ribs
    side: Tensor  # 1 the patient's left, 0 the right
    fold_x: Tensor  # |x| from the midline, cm


@dataclass(frozen=True, kw_only=True)
class Heart:
    """Heart and mediastinum along every ray."""

    level: Tensor  # above 0 inside the cardiac outline (chambers and pulmonary trunk)
    half_depth: Tensor  # cm, chambers and great vessels about HEART_Z
    mediastinum_half_depth: Tensor  # cm, about MEDIASTINUM_Z
    aorta_half_depth: Tensor  # cm, descending aorta about AORTA_Z


def _sided(right: Tensor, left: Tensor, side: Tensor) -> Tensor:
    return right + side * (left - right)


def lungs(a: Anatomy, x: Tensor, y: Tensor) -> Lungs:
    """Pleural spaces: superellipsoids leaning to the midline, flat medially and round at the ribs."""
    side = (x > 0.0).to(x.dtype)
    fold_x = x.abs()
    width = _sided(a.lung_width_r, a.lung_width_l, side)
    above_base = (a.lung_base - y).clamp_min(0.0)
    lateral = (fold_x - a.lung_center + 0.09 * above_base) / width
    outer = lateral.clamp_min(0.0)
    inner = lateral.clamp_max(0.0)
    inner = inner * inner
    t = above_base / a.lung_height
    inner = inner * (inner + 1.5 * t * t * t * (1.0 - inner))  # flat beside the heart, round at the apex
    level = 1.0 - outer * outer - inner - t * t * (0.35 + 0.65 * t)
    dome_y = _sided(a.dome_r, a.dome_l, side)
    across = (fold_x - 6.4) / 9.2
    down = (dome_y + a.dome_height - y).clamp_min(0.0) / a.dome_height
    dome_level = 1.0 - across * across - down * down
    return Lungs(
        level=level,
        half_depth=half_chord(level, a.lung_depth),
        above_dome=dome_level <= 0.0,
        dome_half_depth=half_chord(dome_level, a.lung_depth * 1.14),
        lateral=lateral,
        side=side,
        fold_x=fold_x,
    )


def heart(a: Anatomy, x: Tensor, y: Tensor) -> Heart:
    """Chambers and great vessels as ellipsoids joined without kinks.

    The outline from the right: right atrium, ascending aorta and superior vena cava; from the left: aortic knob,
    pulmonary trunk, left atrial appendage, left ventricle.
    """
    size = a.heart_size
    hx = (x - a.heart_x - HEART_Z * a.rotation) / size
    hy = (y - a.heart_y - 1.0) / size + 1.0
    one = torch.ones_like(size)
    ventricle = rotated_ellipse_level(hx, hy, (a.lv_x, a.lv_y), (a.lv_long, a.lv_short), (a.lv_cos, a.lv_sin))
    right_ventricle = ellipse_level(hx, hy, (0.8 * one, 4.9 * one), (a.rv_width, 4.4 * one))
    atrium = ellipse_level(hx, hy, (-1.2 * one, 2.8 * one), (a.ra_width, a.ra_height))
    left_atrium = ellipse_level(hx, hy, (1.0 * one, -0.6 * one), (3.7 * a.left_atrium, 3.9 * one))
    trunk = ellipse_level(hx, hy, (2.0 * one, -3.0 * one), (1.1 * a.trunk_radius, 1.35 * a.trunk_radius))
    joined = smooth_maximum(36.0 * ventricle, 31.0 * right_ventricle, 7.0)  # squared half chords, below 0 outside
    joined = smooth_maximum(joined, 20.0 * atrium, 5.0)
    joined = smooth_maximum(joined, 17.0 * left_atrium, 6.0)
    joined = smooth_maximum(joined, 6.0 * trunk, 3.0)
    knob = ellipse_level(hx, y, (1.4 + 0.35 * a.knob_radius, a.knob_y), (a.knob_radius, 1.12 * a.knob_radius))
    ascending = ellipse_level(hx, y, (-0.7 * one, -3.6 * one), (a.ascending_radius, 5.2 * one))
    shadow = smooth_maximum(torch.maximum(joined, 9.0 * knob), 7.0 * ascending, 3.0)
    return Heart(
        level=joined,
        half_depth=half_chord(shadow, size),
        mediastinum_half_depth=_mediastinum(a, x, y),
        aorta_half_depth=_descending_aorta(a, x, y),
    )


def _mediastinum(a: Anatomy, x: Tensor, y: Tensor) -> Tensor:
    """Slab of vessels, oesophagus and fat about the midline, opening towards the neck; half depth in cm."""
    upper = (-8.0 - y).clamp_min(0.0)
    width = a.mediastinum * (1.0 - 0.03 * (y + 5.0).clamp(0.0, 9.0)) + 0.022 * upper * upper
    u = (x + 0.25) / width
    u = u * u
    return half_chord(1.0 - u * (0.8 + 0.2 * u), 5.3)


def _descending_aorta(a: Anatomy, x: Tensor, y: Tensor) -> Tensor:
    """Tube from the knob to the diaphragm, bowed to the left as the aorta unfolds; half depth in cm."""
    v = (y - 3.0) / 10.5
    axis = a.aorta_x + a.aorta_bow * (1.0 - v * v) + AORTA_Z * a.rotation
    reach = (1.0 - v * v * v * v).clamp_min(0.0)
    dx = x - axis
    return 0.5 * tube_chord(dx * dx, a.aorta_radius) * reach


def aerated_chord(space: Lungs, chest: Heart) -> Tensor:
    """Length of each ray in lung: the pleural space less the union of heart, mediastinum and diaphragm, cm.

    Three intervals of one ray are united exactly (inclusion and exclusion); the slim aorta is taken off afterwards.
    """
    h = space.half_depth
    low = [
        torch.maximum(HEART_Z - chest.half_depth, -h),
        torch.maximum(MEDIASTINUM_Z - chest.mediastinum_half_depth, -h),
        torch.maximum(DOME_Z - space.dome_half_depth, -h),
    ]
    high = [
        torch.minimum(HEART_Z + chest.half_depth, h),
        torch.minimum(MEDIASTINUM_Z + chest.mediastinum_half_depth, h),
        torch.minimum(DOME_Z + space.dome_half_depth, h),
    ]
    filled = sum((high[i] - low[i]).clamp_min(0.0) for i in range(3))
    for i, j in ((0, 1), (0, 2), (1, 2)):
        filled = filled - overlap(low[i], high[i], low[j], high[j])
    filled = filled + overlap(torch.maximum(low[0], low[1]), torch.minimum(high[0], high[1]), low[2], high[2])
    aorta = overlap(AORTA_Z - chest.aorta_half_depth, AORTA_Z + chest.aorta_half_depth, -h, h)
    return (2.0 * h - filled - aorta).clamp_min(0.0)


def body_chord(a: Anatomy, x: Tensor, y: Tensor, lung_half_depth: Tensor) -> Tensor:
    """Length of each ray inside the skin, cm: torso, shoulders, neck and arms joined, and breasts in front."""
    ax = x.abs()
    u = ax / (a.torso_width + 0.03 * (y - 4.0).clamp(-12.0, 10.0))
    t = (-2.0 - y).clamp_min(0.0) / 16.5
    torso = (1.0 - u * u * u * u * u - t * t) * a.torso_depth.square()  # squared half chords, below 0 outside
    from_neck = (ax - 4.0).clamp_min(0.0)
    top = a.shoulder_top + 0.028 * from_neck * from_neck
    v = (y - top - 8.0) / 8.0
    shoulder = 40.0 * (1.0 - v * v)
    w = ax / a.neck_width
    neck = 31.0 * (1.0 - w * w)
    trunk = half_chord(smooth_maximum(smooth_maximum(torso, shoulder, 25.0), neck, 18.0), 1.0)
    lean = ax - a.arm_x - 0.16 * (y + 8.0)
    arm = 0.5 * tube_chord(lean * lean, 4.7) * ((y + 14.0) * 0.25).clamp(0.0, 1.0)
    trunk = torch.maximum(torch.maximum(trunk, arm), lung_half_depth + a.wall * (lung_half_depth > 0.0))
    if bool((a.breast > 0.0).any()):
        return 2.0 * trunk + _breasts(a, x, y)
    return 2.0 * trunk


def _breasts(a: Anatomy, x: Tensor, y: Tensor) -> Tensor:
    """Two half ellipsoids on the chest wall, with the heavier lower edge that gives the film its crescent; cm."""
    dx = ((x - 7.0 * a.rotation).abs() - a.breast_x) / (5.6 + 0.5 * a.breast)
    dy = y - a.breast_y
    dy = dy.clamp_min(0.0) / (4.2 + 0.35 * a.breast) + dy.clamp_max(0.0) / (9.5 + 0.3 * a.breast)
    level = 1.0 - dx * dx - dy * dy
    return half_chord(level, 1.0) * a.breast * (0.75 + 0.25 * dy.clamp(-1.0, 1.0))


def airway_chord(a: Anatomy, x: Tensor, y: Tensor) -> Tensor:
    """Air in trachea and main bronchi along each ray, cm."""
    middle = x - 0.15 * (y + 20.0).clamp(0.0, 14.0) * 0.1 + 0.4 * a.knob_radius - 0.9 + 1.5 * a.rotation
    above_carina = ((-5.2 - y) * 1.2).clamp(0.0, 1.0)
    trachea = tube_chord(middle * middle, 1.05) * above_carina
    one = torch.ones_like(a.rotation)
    right, t_r = segment_squared_distance(x, y, (-0.2 * one, -5.4 * one), (-3.1 * one, -2.0 * one))
    left, t_l = segment_squared_distance(x, y, (0.4 * one, -5.3 * one), (4.2 * one, -2.2 * one))
    bronchi = tube_chord(right, 0.62) * (1.0 - 0.6 * t_r) + tube_chord(left, 0.55) * (1.0 - 0.6 * t_l)
    return trachea + 0.8 * bronchi


def stomach_chord(a: Anatomy, x: Tensor, y: Tensor) -> Tensor:
    """Gas under the left dome along each ray, cm."""
    size = a.stomach_size + 1e-3
    level = ellipse_level(x, y, (a.stomach_x, a.dome_l + 1.1 + 0.62 * size), (1.55 * size, 0.62 * size))
    return half_chord(level, 1.5 * size)


def fluid_fraction(a: Anatomy, y: Tensor, space: Lungs) -> Tensor:
    """Fraction of the pleural space that is fluid: a level with a meniscus, sharp standing and soft lying."""
    surface = _sided(a.fluid_r, a.fluid_l, space.side)
    amount = _sided(a.fluid_amount_r, a.fluid_amount_l, space.side)
    edge = space.lateral * space.lateral
    edge = edge * edge
    climb = (4.6 * space.lateral.clamp_min(0.0) + 1.4) * edge.clamp_max(1.3)
    return torch.sigmoid((y - surface + climb) / a.fluid_softness) * (amount * 10.0).clamp(0.0, 1.0)
