"""Bones along every ray: ribs, clavicles, scapulae, arms and spine.

Ribs are tubes lying on the thoracic cage, an elliptic shell; every ray pierces the shell twice, so all 24 ribs cost two
evaluations of one periodic pattern, and the tube's chord at each crossing is closed form. Returns cm of *cortical
equivalent*: cortex counts whole, marrow in part. ``thorax`` multiplies by mineral density and attenuation.
"""

import torch
from torch import Tensor

from pacx.simulation.film.anatomy import Anatomy
from pacx.simulation.film.ray_lengths import ellipse_level, half_chord, segment_squared_distance, tube_chord

_MARROW = 0.30  # attenuation of spongy bone, in cortex
_SPINE_Z = -8.0
_RIB_SPACING_CM = 2.42


def _long_bone(
    squared_distance: Tensor, radius: Tensor | float, cortex: float, stretch: Tensor | float = 1.0
) -> Tensor:
    """Cortical equivalent of a hollow bone: a shell of compact bone around marrow."""
    outer = tube_chord(squared_distance, radius, stretch)
    inner = tube_chord(squared_distance, radius - cortex, stretch)
    return outer - (1.0 - _MARROW) * inner


def ribs(a: Anatomy, x: Tensor, y: Tensor, lung_level_width: Tensor) -> Tensor:
    """Posterior and anterior arcs of all ribs.

    Args:
        a: Anatomy (B, 1, 1).
        x: Pixel positions (B, H, W), cm.
        y: As x.
        lung_level_width: Half width of the rib cage at each pixel's height, cm.
    """
    depth = a.lung_depth + 0.4
    total = torch.zeros_like(x)
    for face in (-1.0, 1.0):  # back, front
        near = (x / lung_level_width).clamp(-1.0, 1.0)
        turned = x - face * depth * a.rotation * (1.0 - near * near).sqrt()
        u = turned / lung_level_width
        sine = u.clamp(-1.0, 1.0)
        cosine = (1.0 - sine * sine).clamp_min(1e-4).sqrt()
        down = a.rib_slope * depth * (1.0 + face * cosine)
        if face < 0.0:  # the neck of a rib rises before it falls
            bend = sine.abs() * (1.0 - sine.abs())
            down = down - 2.2 * bend
        phase = (y - a.rib_phase + 15.9 - down) / _RIB_SPACING_CM
        index = phase.round()
        wobble = torch.sin(index * 1.9 + a.rib_wobble + face) * 0.09
        offset = (phase - index - wobble) * _RIB_SPACING_CM
        along = (lung_level_width * cosine).square()
        inplane = along + (a.rib_slope * depth * sine).square()
        stretch = (1.0 + (depth * sine).square() / inplane).sqrt().clamp_max(1.7)
        beyond = (u - sine) * lung_level_width
        squared = offset.square() * (along / inplane) + beyond.square() * 5.0
        fold = turned.abs()
        if face < 0.0:
            reach = 15.5 - 4.0 * (index - 10.0).clamp_min(0.0)  # the last two ribs float free and are short
            exists = ((reach - fold) * 0.8).clamp(0.0, 1.0) * ((index >= 0.5) & (index <= 12.5)).to(x.dtype)
            exists = exists * (1.0 - 0.5 * (index > 10.5).to(x.dtype))
            total = total + 0.9 * exists * _long_bone(squared, a.rib_radius, 0.11, stretch)
        else:  # the front ends in cartilage, which the film does not show
            start = 4.4 + 0.75 * (index - 1.0).clamp_min(0.0)
            exists = ((fold - start) * 0.6).clamp(0.0, 1.0) * ((index >= 0.5) & (index <= 9.5)).to(x.dtype)
            total = total + 0.6 * exists * _long_bone(squared, a.rib_radius * 1.15, 0.10, stretch)
    return total


def clavicles(a: Anatomy, x: Tensor, y: Tensor) -> Tensor:
    """Two S-shaped bones from the sternum to the shoulders; medial ends move with rotation as they lie in front."""
    fold = (x - 8.0 * a.rotation * (1.0 - (x.abs() / 18.0)).clamp_min(0.0)).abs()
    t = (fold - 1.9) / 14.6
    s = t.clamp(0.0, 1.0)
    rise = 19.0 * a.clavicle_slope
    axis = a.clavicle_y - rise * s * (1.9 - s)
    slope = rise * (2.0 * s - 1.9) / 14.6
    beyond = (t - s) * 14.6
    offset = (y - axis).square() / (1.0 + slope.square())
    radius = 0.62 + 0.30 * (1.0 - 2.2 * s).clamp_min(0.0).square() + 0.12 * s - 0.35 * s * s * s
    return _long_bone(offset + beyond.square(), radius, 0.15)


def shoulders(a: Anatomy, x: Tensor, y: Tensor) -> Tensor:
    """Scapulae and proximal humeri; ``scapula_x`` carries the blades out of the lungs (PA) or not (AP)."""
    one = torch.ones_like(a.rotation)
    fold, out = x.abs(), a.scapula_x
    inner, outer = (8.6 + out, -10.5 * one), (11.0 + 0.9 * out, 2.2 * one)
    glenoid = (16.3 + 0.2 * out, -9.6 * one)
    lateral, up = segment_squared_distance(fold, y, outer, glenoid)
    medial, _ = segment_squared_distance(fold, y, inner, outer)
    spine, t = segment_squared_distance(fold, y, (9.2 + out, -8.6 * one), (18.3 * one, -13.4 * one))
    plate = _triangle(fold, y, inner, outer, glenoid)
    head = ellipse_level(fold, y, (18.9 * one, -9.9 * one), (2.35 * one, 2.45 * one))
    shaft, _ = segment_squared_distance(fold, y, (19.4 * one, -9.0 * one), (a.arm_x + 5.4, 26.0 * one))
    blade = _long_bone(lateral, 0.24 + 0.36 * up, 0.12) * 0.5 + _long_bone(medial, 0.2, 0.08) * 0.6 + 0.2 * plate
    process = _long_bone(spine, 0.30 + 0.45 * t, 0.11) * 0.5
    coracoid = half_chord(ellipse_level(fold, y, (14.6 + 0.2 * out, -11.4 * one), (1.2 * one, 0.7 * one)), 0.5)
    humerus = half_chord(head, 1.05) + _long_bone(shaft, 1.25, 0.4) * ((y + 10.0) * 0.3).clamp(0.0, 1.0)
    return blade + process + 0.6 * coracoid + 0.8 * humerus


def _triangle(x: Tensor, y: Tensor, *corners: tuple[Tensor, Tensor]) -> Tensor:
    """1 inside a triangle, falling to 0 over 3 mm at its edges."""
    inside = torch.full_like(x, 1e3)
    for (px, py), (qx, qy) in zip(corners, corners[1:] + corners[:1], strict=True):
        ex, ey = qx - px, qy - py
        length = (ex * ex + ey * ey).sqrt()
        inside = torch.minimum(inside, ((y - py) * ex - (x - px) * ey) / -length)
    return (inside * 3.3 + 0.5).clamp(0.0, 1.0)


def spine(a: Anatomy, x: Tensor, y: Tensor) -> Tensor:
    """Vertebral bodies with end plates, pedicles and spinous processes, growing downwards."""
    axis = a.spine_bend * (1.0 - (y / 14.0).square()) + _SPINE_Z * a.rotation
    u = (x - axis).abs()
    height = 2.25 + 0.022 * (y + 12.0)
    phase = (y + 20.0 + a.spine_phase) / height
    t = phase - phase.round()  # -0.5 at the upper disc, 0 in mid-vertebra
    width = 1.55 + 0.018 * (y + 15.0) + 1.1 * t * t
    across = (u / width).square()
    body = (1.0 - across * across).clamp_min(0.0).sqrt()
    disc = ((t.abs() - 0.36) * 11.0).clamp(0.0, 1.0)
    plate = (1.0 - (t.abs() - 0.36).abs() * 16.0).clamp_min(0.0)
    pedicle = 1.0 - ((u - 0.68 * width) / 0.38).square() - ((t + 0.12) / 0.17).square()
    ring = pedicle.clamp_min(0.0).sqrt() - 0.55 * (pedicle - 0.35).clamp_min(0.0).sqrt()
    process = 1.0 - (u / 0.34).square() - ((t - 0.22) / 0.26).square()
    transverse = 1.0 - ((t + 0.16) / 0.15).square()
    transverse = transverse.clamp_min(0.0) * ((width + 1.7 - u) * 0.8).clamp(0.0, 1.0) * (u > 0.6 * width).to(x.dtype)
    bone = body * (0.60 * (1.0 - 0.6 * disc) + 0.20 * plate)
    return bone + 0.42 * ring + 0.34 * process.clamp_min(0.0).sqrt() + 0.28 * transverse
