"""Closed-form chords against rays that are really marched, and curves against their own volume."""

from dataclasses import fields, replace

import numpy as np
import torch
from torch import Tensor

from pacx.simulation.film.anatomy import Anatomy
from pacx.simulation.film.curves import gaussian_blur, splat, spline, tube_along
from pacx.simulation.film.exposure import intensity
from pacx.simulation.film.organs import Heart, Lungs, aerated_chord
from pacx.simulation.film.projection import MU_SOFT, Thin, project
from pacx.simulation.film.ray_lengths import (
    ellipse_level,
    half_chord,
    overlap,
    rotated_ellipse_level,
    segment_squared_distance,
    smooth_maximum,
    tube_chord,
)

STEP = 0.002


def scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def grid(extent: float, count: int) -> tuple[Tensor, Tensor]:
    ticks = torch.linspace(-extent, extent, count, dtype=torch.float64) + 0.0137
    return torch.meshgrid(ticks, ticks, indexing="xy")


def marched(inside: Tensor) -> Tensor:
    """Length of each ray (last axis: samples along z) inside a body."""
    return inside.to(torch.float64).sum(-1) * STEP


def test_ellipsoid_chord_equals_a_marched_ray() -> None:
    x, y = grid(4.0, 17)
    z = torch.arange(-5.0, 5.0, STEP, dtype=torch.float64)
    level = ellipse_level(x, y, (scalar(0.4), scalar(-0.3)), (scalar(3.0), scalar(2.2)))
    solid = ((x - 0.4) / 3.0)[..., None] ** 2 + ((y + 0.3) / 2.2)[..., None] ** 2 + (z / 1.7) ** 2 < 1.0
    chord = 2.0 * half_chord(level, 1.7)
    assert torch.allclose(chord, marched(solid), atol=3 * STEP)
    assert chord.max() > 3.0


def test_rotated_ellipsoid_chord_equals_a_marched_ray() -> None:
    x, y = grid(4.0, 17)
    z = torch.arange(-3.0, 3.0, STEP, dtype=torch.float64)
    turn = 0.6
    cosine, sine = np.cos(turn), np.sin(turn)
    level = rotated_ellipse_level(
        x, y, (scalar(0.2), scalar(0.1)), (scalar(3.0), scalar(1.2)), (scalar(cosine), scalar(sine))
    )
    spin = torch.tensor([[cosine, sine], [-sine, cosine]], dtype=torch.float64)
    u, v = torch.einsum("ij,jhw->ihw", spin, torch.stack([x - 0.2, y - 0.1]))
    solid = ((u / 3.0) ** 2 + (v / 1.2) ** 2)[..., None] + (z / 1.5) ** 2 < 1.0
    assert torch.allclose(2.0 * half_chord(level, 1.5), marched(solid), atol=3 * STEP)


def test_oblique_tube_chord_equals_a_marched_ray() -> None:
    # Axis through the origin along (0, cos, sin): half in the film's plane, half towards it.
    lean, radius = 0.7, 0.8
    x = torch.linspace(-1.0, 1.0, 41, dtype=torch.float64)
    z = torch.arange(-4.0, 4.0, STEP, dtype=torch.float64)
    across = z * np.cos(lean)  # distance from the axis within the plane x = const, at y = 0
    solid = x[:, None] ** 2 + across**2 < radius**2
    chord = tube_chord(x * x, radius, 1.0 / np.cos(lean))
    assert torch.allclose(chord, marched(solid), atol=3 * STEP)


def test_overlap_and_segment_distance_agree_with_brute_force() -> None:
    numbers = np.random.default_rng(3).uniform(-2.0, 2.0, (200, 4))
    z = np.arange(-3.0, 3.0, STEP)
    a, b, c, d = (numbers[:, i : i + 1] for i in range(4))
    counted = ((z > a) & (z < b) & (z > c) & (z < d)).sum(1) * STEP
    exact = overlap(*(torch.from_numpy(numbers[:, i]) for i in range(4))).numpy()
    assert np.abs(exact - counted).max() < 3 * STEP
    t = np.linspace(0.0, 1.0, 4001)
    nearest = ((0.3 - (-1.0 + 2.5 * t)) ** 2 + (0.9 - (0.2 - 1.1 * t)) ** 2).min()
    found, _ = segment_squared_distance(
        scalar(0.3), scalar(0.9), (scalar(-1.0), scalar(0.2)), (scalar(1.5), scalar(-0.9))
    )
    assert abs(float(found) - nearest) < 1e-5


def test_smooth_maximum_is_exact_away_from_the_tie() -> None:
    a, b = torch.tensor([0.0, 5.0, 1.0]), torch.tensor([3.0, 1.0, 1.0])
    assert torch.equal(smooth_maximum(a, b, 2.0), torch.tensor([3.0, 5.0, 1.5]))


def test_aerated_chord_equals_marching_through_the_union() -> None:
    random = torch.Generator().manual_seed(1)
    h, heart, middle, dome = (torch.rand(300, generator=random, dtype=torch.float64) * 9.0 for _ in range(4))
    zero = torch.zeros_like(h)
    lungs = Lungs(level=h, half_depth=h, above_dome=h > 0.0, dome_half_depth=dome, lateral=zero, side=zero, fold_x=zero)
    chest = Heart(level=h, half_depth=heart, mediastinum_half_depth=middle, aorta_half_depth=zero)
    z = torch.arange(-12.0, 12.0, 0.004, dtype=torch.float64)
    solid = (z.abs() < h[:, None]) & ((z - 3.0).abs() >= heart[:, None])
    solid &= ((z + 0.5).abs() >= middle[:, None]) & ((z - 1.0).abs() >= dome[:, None])
    counted = solid.to(torch.float64).sum(1) * 0.004
    assert torch.allclose(aerated_chord(lungs, chest), counted, atol=0.03)


def test_intensity_multiplies_where_attenuation_adds() -> None:
    a, b = torch.rand(50, dtype=torch.float64), torch.rand(50, dtype=torch.float64)
    assert torch.allclose(intensity(a + b), intensity(a) * intensity(b))
    assert float(intensity(scalar(0.0))) == 1.0


def plain_anatomy(**changes: float) -> Anatomy:
    """No bone, no vessels' trunk and no disease, so that only flesh and lung attenuate; sizes of an adult."""
    numbers = dict.fromkeys((f.name for f in fields(Anatomy)), 0.0)
    numbers |= {"cos_tilt": 1.0, "magnification": 1.0, "torso_width": 16.0, "torso_depth": 10.0, "neck_width": 6.0}
    numbers |= {"arm_x": 40.0, "wall": 2.0, "lung_width_r": 7.0, "lung_width_l": 7.0, "lung_center": 7.0}
    numbers |= {"lung_base": 8.0, "lung_height": 23.0, "lung_depth": 8.0, "lung_mu": 0.06, "dome_r": 9.0, "dome_l": 9.0}
    numbers |= {"dome_height": 8.0, "heart_size": 1.0, "lv_long": 6.0, "lv_short": 4.0, "lv_cos": 1.0, "rv_width": 5.0}
    numbers |= {"ra_width": 3.0, "ra_height": 4.0, "trunk_radius": 2.0, "left_atrium": 1.0, "knob_radius": 2.0}
    numbers |= {"aorta_radius": 1.2, "ascending_radius": 2.0, "mediastinum": 2.3, "rib_slope": 0.5, "rib_radius": 0.5}
    numbers |= {"fluid_softness": 1.0, "pneumonia_radius": 3.0, "pneumonia_x": -7.0, "shoulder_top": -18.0}
    return Anatomy(**{name: torch.full((1, 1, 1), value) for name, value in (numbers | changes).items()})


def total(anatomy: Anatomy, extra_metal: float = 0.0) -> Tensor:
    ticks = torch.linspace(-19.0, 19.0, 60)
    x, y = torch.meshgrid(ticks, ticks, indexing="xy")
    nothing = torch.zeros(1, 60, 60)
    thin = Thin(vessels=nothing, blurred_vessels=nothing, devices=nothing + extra_metal, fine=nothing, patchy=nothing)
    return project(anatomy, x[None], y[None], thin).attenuation


def test_total_attenuation_is_the_sum_of_coefficient_times_length() -> None:
    # With lung as dense as water, vessels and disease cannot be told from it: only the body's outline remains.
    solid = plain_anatomy(lung_mu=MU_SOFT)
    aerated = plain_anatomy()
    missing = (total(solid) - total(aerated)) / (MU_SOFT - 0.06)  # cm of lung, up to the hila's vessels
    assert missing.max() < 2.0 * 8.0 + 1e-3
    litres = float(missing.sum()) * (38.0 / 59.0) ** 2 / 1000.0
    assert 3.0 < litres < 7.0  # an adult's total lung capacity
    assert torch.allclose(total(aerated, 0.1) - total(aerated), torch.full((1, 60, 60), 0.4), atol=1e-5)


def test_drowned_lung_attenuates_like_water_and_no_more() -> None:
    drowned = plain_anatomy(fluid_r=-60.0, fluid_l=-60.0, fluid_amount_r=1.0, fluid_amount_l=1.0)
    water = total(replace(plain_anatomy(), lung_mu=torch.full((1, 1, 1), MU_SOFT)))
    assert torch.allclose(total(drowned), water, atol=2e-4)


def test_splat_keeps_the_volume_and_blur_keeps_the_sum() -> None:
    x, y = spline([(-6.0, -5.0), (0.0, 2.0), (5.0, 4.0)])
    tube = tube_along(x, y, 0.2)
    length = np.hypot(np.diff(x), np.diff(y)).sum()
    image = splat([tube], 128, 128 / 40.0)
    volume = float(image.sum()) * (40.0 / 128) ** 2
    assert abs(volume - np.pi * 0.2**2 * length) < 1e-3 * volume
    blurred = gaussian_blur(torch.from_numpy(image)[None], 1.7)
    assert abs(float(blurred.sum()) / float(image.sum()) - 1.0) < 1e-5
    assert (x[0], y[0]) == (-6.0, -5.0)
