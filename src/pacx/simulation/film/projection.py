"""Attenuation integrals: what each ray loses in every tissue it crosses, and the exact masks that follow.

``thorax`` calls ``project`` on strips of pixels. The sum is tissue coefficient times chord, over body, lung, air, bone,
vessels and metal; disease fills a *fraction of the airspace* with water, so it can never add more than the lung holds.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from pacx.simulation.film.anatomy import Anatomy
from pacx.simulation.film.organs import (
    Lungs,
    aerated_chord,
    airway_chord,
    body_chord,
    fluid_fraction,
    heart,
    lungs,
    stomach_chord,
)
from pacx.simulation.film.ray_lengths import half_chord
from pacx.simulation.film.skeleton import clavicles, ribs, shoulders, spine

# Linear attenuation per cm at the mean energy of a chest film (about 70 keV after filtration).
MU_SOFT = 0.19
MU_CORTEX = 0.50  # in excess of soft tissue
MU_METAL = 4.0  # in excess of soft tissue
_OPACITY_THRESHOLD = 0.12


@dataclass(frozen=True, kw_only=True)
class Thin:
    """Curves and textures of B films on their pixels, (B, H, W) each."""

    vessels: Tensor  # cm of vessel along each ray
    blurred_vessels: Tensor  # the same with indistinct walls
    devices: Tensor  # cm of metal
    fine: Tensor  # random texture of about unit variance, millimetres in grain
    patchy: Tensor  # the same, centimetres in grain

    def strip(self, part: slice) -> "Thin":
        """A band of rows."""
        return Thin(**{f.name: getattr(self, f.name)[:, part] for f in fields(Thin)})


@dataclass(frozen=True, kw_only=True)
class Projection:
    """Attenuation integrals and masks of a strip, (B, H, W) each."""

    attenuation: Tensor
    lung: Tensor
    heart: Tensor
    opacity: Tensor


def project(a: Anatomy, x: Tensor, y: Tensor, thin: Thin) -> Projection:
    """Sum the tissues along every ray.

    Args:
        a: Anatomy, (B, 1, 1) each.
        x: Positions in the patient's frame (B, H, W), cm.
        y: As x.
        thin: Curves and textures on the same pixels.
    """
    space = lungs(a, x, y)
    chest = heart(a, x, y)
    lung_cm = aerated_chord(space, chest)
    fluid, consolidation = _fillings(a, x, y, space, thin)
    filled = 1.0 - (1.0 - fluid) * (1.0 - consolidation)
    mu_water = MU_SOFT - a.lung_mu
    opacity = lung_cm * filled * mu_water

    body_cm = body_chord(a, x, y, space.half_depth)
    air_cm = _within(_AIRWAY, airway_chord, a, x, y) + _within(_STOMACH, stomach_chord, a, x, y)
    flesh = MU_SOFT * (body_cm - lung_cm - air_cm).clamp_min(0.0) * (1.0 + 0.010 * thin.patchy)
    lung = a.lung_mu * lung_cm * (1.0 + 0.08 * thin.fine) + _interstitium(a, y, space, thin) * lung_cm
    gate = lung_cm / (2.0 * space.half_depth + 1.0) * (1.0 - fluid)
    veil = (0.55 * a.haze).clamp_max(0.9)
    vessel_cm = _hila(a, y, space) + thin.vessels + veil * (thin.blurred_vessels - thin.vessels)
    vessels = 2.1 * mu_water * vessel_cm * gate * (1.0 - 0.6 * consolidation)
    bone = _bones(a, x, y, space) * (a.bone * MU_CORTEX) + _calcium(a, x, y)
    metal = MU_METAL * thin.devices
    if bool((a.pacemaker > 0.0).any()):
        metal = metal + _generator(a, x, y)
    above = space.level > 0.0
    mediastinal = chest.mediastinum_half_depth > 0.0
    lung_mask = above & space.above_dome & ~mediastinal
    return Projection(
        attenuation=flesh + lung + opacity + vessels + bone + metal,
        lung=lung_mask,
        heart=chest.level > 0.0,
        opacity=(opacity > _OPACITY_THRESHOLD) & lung_mask,
    )


@dataclass(frozen=True, kw_only=True)
class _Box:
    """Where an organ can lie in any patient, cm; nothing is computed outside."""

    left: float = -math.inf
    right: float = math.inf
    top: float = -math.inf
    bottom: float = math.inf


_AIRWAY = _Box(left=-8.0, right=8.0, bottom=0.0)
_STOMACH = _Box(left=-1.0, right=16.0, top=5.0)
_SPINE = _Box(left=-8.5, right=8.5)
_CLAVICLES = _Box(top=-20.0, bottom=-9.0)
_SHOULDERS = _Box(top=-17.0)


def _within(box: _Box, length: Callable[[Anatomy, Tensor, Tensor], Tensor], a: Anatomy, x: Tensor, y: Tensor) -> Tensor:
    """``length(a, x, y)`` on the pixels that may lie in the box, 0 elsewhere: most organs need few of them."""
    y_ends = y[:, :, :: max(1, y.shape[2] - 1)]  # positions are linear along rows and columns: the ends bound them
    x_ends = x[:, :: max(1, x.shape[1] - 1)]
    rows = ((y_ends > box.top).any(2) & (y_ends < box.bottom).any(2)).any(0).nonzero()
    columns = ((x_ends > box.left).any(1) & (x_ends < box.right).any(1)).any(0).nonzero()
    total = torch.zeros_like(x)
    if len(rows) and len(columns):
        down = slice(int(rows[0]), int(rows[-1]) + 1)
        across = slice(int(columns[0]), int(columns[-1]) + 1)
        total[:, down, across] = length(a, x[:, down, across], y[:, down, across])
    return total


def _fillings(a: Anatomy, x: Tensor, y: Tensor, space: Lungs, thin: Thin) -> tuple[Tensor, Tensor]:
    """Fractions of the airspace taken by pleural fluid and by consolidation; nothing is computed for the healthy."""
    fluid = consolidation = torch.zeros_like(x)
    if bool(((a.fluid_amount_r > 0.0) | (a.fluid_amount_l > 0.0)).any()):
        fluid = fluid_fraction(a, y, space)
    if bool((a.pneumonia > 0.0).any()):
        consolidation = _pneumonia(a, x, y, thin)
    if bool((a.oedema > 0.0).any()):
        consolidation = 1.0 - (1.0 - consolidation) * (1.0 - _oedema(a, y, space, thin))
    return fluid, consolidation


def _hila(a: Anatomy, y: Tensor, space: Lungs) -> Tensor:
    """Crowded arteries, veins and nodes at both lung roots, cm; the left root sits higher."""
    dx, dy = (space.fold_x - 4.3) / 1.25, (y + 0.3 + 1.3 * space.side) / 2.3
    return 0.55 * a.trunk_radius * torch.exp(-(dx * dx + dy * dy))


def _pneumonia(a: Anatomy, x: Tensor, y: Tensor, thin: Thin) -> Tensor:
    """Filled fraction of the airspace in one focus: patchy, with an uneven border, densest at its center."""
    side = ((x * a.pneumonia_x) > 0.0).to(x.dtype)
    dx, dy = (x - a.pneumonia_x) / (1.15 * a.pneumonia_radius), (y - a.pneumonia_y) / a.pneumonia_radius
    core = torch.exp(-(dx * dx + dy * dy) * 1.1)
    amount = a.pneumonia * core * (1.25 + 0.22 * thin.patchy.clamp(-1.6, 1.6) + 0.14 * thin.fine) * side
    return amount.clamp(0.0, 0.92)


def _oedema(a: Anatomy, y: Tensor, space: Lungs, thin: Thin) -> Tensor:
    """Filled fraction in alveolar oedema: the bat's wings about both hila, sparing the periphery."""
    dx, dy = (space.fold_x - 5.6) / 4.4, (y - 1.0) / 6.2
    wing = torch.exp(-(dx * dx + dy * dy))
    return (0.55 * a.oedema * wing * (1.0 + 0.30 * thin.patchy + 0.12 * thin.fine)).clamp(0.0, 0.85)


def _interstitium(a: Anatomy, y: Tensor, space: Lungs, thin: Thin) -> Tensor:
    """Extra attenuation per cm of congested lung: perihilar and basal veil, and septa thickened at the bases."""
    dx, dy = (space.fold_x - 5.0) / 6.5, (y - 2.5) / 9.0
    veil = torch.exp(-(dx * dx + dy * dy))
    base = ((y + 1.0) * 0.12).clamp(0.0, 1.0)
    return 0.040 * a.haze * veil + 0.008 * a.kerley * base * thin.fine.abs()


def _bones(a: Anatomy, x: Tensor, y: Tensor, space: Lungs) -> Tensor:
    t = ((a.lung_base - y).clamp_min(0.0) / a.lung_height).clamp_max(1.0)
    across = (1.0 - t * t * (0.35 + 0.65 * t)).clamp_min(0.07).sqrt()
    width = a.lung_width_r + space.side * (a.lung_width_l - a.lung_width_r)
    cage = a.lung_center - 0.09 * (a.lung_base - y).clamp(0.0, 22.0) + width * across + 0.55
    girdle = _within(_CLAVICLES, clavicles, a, x, y) + _within(_SHOULDERS, shoulders, a, x, y)
    return ribs(a, x, y, cage) + girdle + _within(_SPINE, spine, a, x, y)


def _calcium(a: Anatomy, x: Tensor, y: Tensor) -> Tensor:
    """A thin bright arc in the wall of an aged aortic knob."""
    hx = (x - a.heart_x) / a.heart_size - 1.4 - 0.35 * a.knob_radius
    hy = (y - a.knob_y) / 1.12
    radius = (hx * hx + hy * hy + 1e-6).sqrt()
    arc = (1.0 - ((radius - 0.93 * a.knob_radius) / 0.13).square()).clamp_min(0.0)
    return 0.30 * a.knob_calcium * arc * ((hx - 0.3 * hy) * 0.6).clamp(0.0, 1.0)


def _generator(a: Anatomy, x: Tensor, y: Tensor) -> Tensor:
    """The pacemaker's can below the left clavicle: battery, circuit and a header of resin."""
    u, v = (x - 10.6 - 0.25 * (y + 7.4)) / 2.15, (y + 7.2) / 1.85
    u, v = u * u, v * v
    can = half_chord(1.0 - u * u - v * v, 1.0)
    header = half_chord(1.0 - u * u * 1.2 - ((y + 9.6) / 0.95).square(), 0.5)
    battery = (((y + 7.0) * 6.0).clamp(0.0, 1.0) * 0.6 + 1.5) * can
    return a.pacemaker * (battery + 0.7 * header)
