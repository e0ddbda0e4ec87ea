"""From a patient's physiology to the sizes and places of what the rays meet.

``thorax`` calls ``build_anatomy`` once per film; ``skeleton``, ``organs`` and ``vessels`` read the result. Each
mechanism enters only as *visibility times severity* and moves a healthy adult's anatomy by an amount that vanishes with
it, so a mechanism of visibility 0 and an absent one are the same numbers. Positions are cm from the center of a film
40 cm wide: x to the film's right (the patient's left), y down, z towards the sternum. Refuses nothing: severities above
1 (visibility 2) are taken as they come.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pacx.core.randomness import sample_keys, uniform
from pacx.simulation.patients.physiology import Nuisance, Physiology, Visibility

FILM_WIDTH_CM = 40.0
_NUM_VARIATIONS = 24

_Row = NDArray[np.float64]  # (N,)


@dataclass(frozen=True, kw_only=True)
class Signs:
    """What the film may show of a patient: visibility times severity, one array (N,) per mechanism; 0 is healthy."""

    dilation: _Row
    hypertrophy: _Row  # 0 up to 12 mm of septum, 1 at 20 mm
    right_load: _Row
    aorta: _Row
    congestion: _Row
    effusion_right: _Row
    effusion_left: _Row
    hyperinflation: _Row
    pneumonia: _Row
    pacemaker: _Row
    fat: _Row  # (BMI - 24) / 20
    tallness: _Row  # height / 1.70 m - 1
    female: _Row
    ageing: _Row  # 0 up to 40 years, 1 at 90


def visible_signs(physiology: Physiology, visibility: Visibility) -> Signs:
    """Severities of N patients as the film shows them: the only place where physiology and visibility meet."""
    p, v = physiology, visibility
    return Signs(
        dilation=v.heart * p.ventricle_dilation,
        hypertrophy=v.heart * np.clip((p.wall_thickness_mm - 12.0) / 8.0, 0.0, 1.0),
        right_load=v.heart * p.right_heart_load,
        aorta=v.aorta * p.aortic_widening,
        congestion=v.congestion * p.congestion,
        effusion_right=v.effusion * p.effusion_right,
        effusion_left=v.effusion * p.effusion_left,
        hyperinflation=v.hyperinflation * p.hyperinflation,
        pneumonia=v.pneumonia * p.pneumonia,
        pacemaker=v.pacemaker * p.has_pacemaker,
        fat=v.body * (p.body_mass_index - 24.0) / 20.0,
        tallness=v.body * (p.height_m / 1.70 - 1.0),
        female=v.body * p.is_female,
        ageing=v.age * np.clip((p.age_years - 40.0) / 50.0, 0.0, 1.1),
    )


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """Sizes and places, one tensor (B, 1, 1) each; ``_r`` is the patient's right lung, ``_l`` the left."""

    # pose of the patient on the film
    cos_tilt: Tensor
    sin_tilt: Tensor
    shift_x: Tensor
    shift_y: Tensor
    magnification: Tensor
    rotation: Tensor  # radians; a structure at depth z moves by z * rotation
    # soft tissue
    torso_width: Tensor
    torso_depth: Tensor
    shoulder_top: Tensor
    neck_width: Tensor
    arm_x: Tensor
    wall: Tensor  # chest wall in front of and behind the lung
    breast: Tensor
    breast_x: Tensor
    breast_y: Tensor
    fat: Tensor
    # lungs and diaphragm
    lung_width_r: Tensor
    lung_width_l: Tensor
    lung_center: Tensor  # |x| of the lung's axis at its base
    lung_base: Tensor
    lung_height: Tensor
    lung_depth: Tensor
    lung_mu: Tensor
    dome_r: Tensor
    dome_l: Tensor
    dome_height: Tensor  # how far the sulcus lies below the dome
    stomach_x: Tensor
    stomach_size: Tensor
    # heart and vessels
    heart_x: Tensor
    heart_y: Tensor
    heart_size: Tensor
    lv_x: Tensor
    lv_y: Tensor
    lv_long: Tensor
    lv_short: Tensor
    lv_cos: Tensor
    lv_sin: Tensor
    rv_width: Tensor
    ra_width: Tensor
    ra_height: Tensor
    trunk_radius: Tensor
    left_atrium: Tensor
    knob_radius: Tensor
    knob_y: Tensor
    aorta_x: Tensor
    aorta_radius: Tensor
    aorta_bow: Tensor
    ascending_radius: Tensor
    knob_calcium: Tensor
    mediastinum: Tensor
    # skeleton
    bone: Tensor  # mineral density, 1 in a young adult
    rib_phase: Tensor
    rib_wobble: Tensor
    rib_slope: Tensor
    rib_radius: Tensor
    clavicle_y: Tensor
    clavicle_slope: Tensor
    scapula_x: Tensor
    spine_bend: Tensor
    spine_phase: Tensor
    # disease within the lung
    haze: Tensor
    oedema: Tensor
    kerley: Tensor
    fluid_r: Tensor  # y of the fluid level
    fluid_l: Tensor
    fluid_amount_r: Tensor
    fluid_amount_l: Tensor
    fluid_softness: Tensor
    pneumonia: Tensor
    pneumonia_x: Tensor
    pneumonia_y: Tensor
    pneumonia_radius: Tensor
    pacemaker: Tensor


@dataclass(frozen=True, kw_only=True)
class AnatomyTable:
    """Anatomy of N films: ``values`` (fields, N) float32; ``rows`` hands out what one chunk of films needs."""

    values: NDArray[np.float32]
    signs: Signs

    def rows(self, start: int, stop: int, device: torch.device) -> Anatomy:
        """Films start to stop as tensors (B, 1, 1)."""
        columns = torch.from_numpy(self.values[:, start:stop].copy()).to(device)[:, :, None, None]  # (fields, B, 1, 1)
        return Anatomy(**dict(zip((f.name for f in fields(Anatomy)), columns.unbind(0), strict=True)))


def build_anatomy(
    physiology: Physiology, nuisance: Nuisance, visibility: Visibility, *, film_ids: Sequence[str], seed: int
) -> AnatomyTable:
    """The anatomy of N films.

    Args:
        physiology: N patients; row i is who lies on film i.
        nuisance: N films' pose and breath.
        visibility: How much of each mechanism the film shows.
        film_ids: N names; they fix the harmless variation between healthy people.
        seed: Of the simulation.
    """
    signs = visible_signs(physiology, visibility)
    vary = 2.0 * uniform(seed, "film-anatomy", 0, sample_keys(film_ids), _NUM_VARIATIONS).T - 1.0  # (variations, N)
    columns: dict[str, _Row] = {}
    columns |= _pose(nuisance)
    columns |= _soft_tissue(signs, nuisance, vary)
    columns |= _lungs(signs, nuisance, vary)
    columns |= _heart(signs, nuisance, vary)
    columns |= _skeleton(signs, nuisance, vary)
    columns |= _disease(physiology, signs, nuisance, columns, vary)
    num_films = len(film_ids)
    table = np.empty((len(fields(Anatomy)), num_films), dtype=np.float32)
    for index, field in enumerate(fields(Anatomy)):
        table[index] = columns[field.name]
    return AnatomyTable(values=table, signs=signs)


def _pose(nuisance: Nuisance) -> dict[str, _Row]:
    tilt = np.deg2rad(nuisance.tilt_deg)
    return {
        "cos_tilt": np.cos(tilt),
        "sin_tilt": np.sin(tilt),
        "shift_x": nuisance.shift_x * FILM_WIDTH_CM,
        "shift_y": nuisance.shift_y * FILM_WIDTH_CM,
        "magnification": nuisance.scale,
        "rotation": np.deg2rad(nuisance.rotation_deg),
    }


def _soft_tissue(s: Signs, n: Nuisance, vary: _Row) -> dict[str, _Row]:
    fat = np.maximum(s.fat, -0.4)
    return {
        "torso_width": 16.4 - 0.9 * s.female + 3.2 * fat + 0.4 * vary[0],
        "torso_depth": 10.9 - 0.8 * s.female + 3.0 * fat,
        "shoulder_top": -18.6 + 0.8 * n.inspiration - 0.8 * n.is_ap - 0.7 * fat + 0.7 * vary[1] + 0.5 * s.female,
        "neck_width": 5.9 - 0.7 * s.female + 0.9 * fat,
        "arm_x": 26.0 - 4.3 * n.is_ap + 1.2 * fat + vary[2],
        "wall": 1.9 + 1.2 * fat,
        "breast": s.female * (3.5 + 2.2 * np.clip(fat, -0.3, 1.5) + 0.5 * vary[3]),
        "breast_x": 8.6 + 0.8 * fat + 0.4 * vary[3],
        "breast_y": 6.2 + 1.0 * fat + 0.8 * s.ageing - 1.5 * n.is_ap + 0.7 * vary[4],
        "fat": fat,
    }


def _lungs(s: Signs, n: Nuisance, vary: _Row) -> dict[str, _Row]:
    stature = 1.0 + 0.7 * s.tallness - 0.045 * s.female
    breath = n.inspiration - 0.3 * n.is_ap - 0.6
    fluid = 0.5 * (s.effusion_left + s.effusion_right)
    dome = 9.3 * stature + 3.0 * breath + 2.7 * s.hyperinflation - 1.0 * np.clip(s.fat, 0.0, 1.5) - 0.3 * fluid
    return {
        "lung_width_r": (7.1 + 0.15 * vary[5]) * stature + 0.35 * s.hyperinflation,
        "lung_width_l": (6.9 + 0.15 * vary[5]) * stature + 0.35 * s.hyperinflation,
        "lung_center": 6.9 * stature,
        "lung_base": 8.0 + 2.0 * s.hyperinflation,
        "lung_height": 22.8 * (1.0 + 0.45 * s.tallness) + 2.4 * s.hyperinflation + 0.5 * vary[6],
        "lung_depth": 8.6 * stature + 1.9 * s.hyperinflation,
        "lung_mu": 0.056 * (1.0 - 0.34 * np.minimum(s.hyperinflation, 1.4)) - 0.012 * breath + 0.004 * vary[7],
        "dome_r": dome + 0.3 * vary[8],
        "dome_l": dome + 0.8 + 0.3 * vary[9],
        "dome_height": 9.0 - 5.0 * np.minimum(s.hyperinflation, 1.2) + 0.8 * vary[8],
        "stomach_x": 6.0 + 1.2 * vary[10],
        "stomach_size": np.maximum(0.0, 1.6 + 1.6 * vary[11]) * (1.0 - 0.4 * n.is_ap),
    }


def _heart(s: Signs, n: Nuisance, vary: _Row) -> dict[str, _Row]:
    breath = n.inspiration - 0.3 * n.is_ap - 0.6
    size = (1.0 + 0.11 * n.is_ap - 0.11 * s.hyperinflation + 0.03 * s.fat - 0.05 * s.female + 0.5 * s.tallness) * (
        1.0 + 0.03 * vary[12]
    )
    angle = np.deg2rad(41.0 + 8.0 * breath + 9.0 * s.hyperinflation - 5.0 * s.fat - 6.0 * s.dilation + 4.0 * vary[13])
    turned = n.rotation_deg * 0.06
    return {
        "heart_x": turned - 0.4 * s.hyperinflation,
        "heart_y": 1.7 + 2.2 * breath + 2.3 * s.hyperinflation - 0.5 * s.fat,
        "heart_size": size,
        "lv_x": 3.0 + 1.9 * s.dilation + 0.25 * s.hypertrophy,
        "lv_y": 3.6 + 1.0 * s.dilation,
        "lv_long": 6.5 + 2.6 * s.dilation + 0.4 * s.hypertrophy,
        "lv_short": 4.6 + 2.1 * s.dilation + 0.9 * s.hypertrophy,
        "lv_cos": np.cos(angle),
        "lv_sin": np.sin(angle),
        "rv_width": 5.0 + 0.9 * s.right_load + 0.5 * s.dilation,
        "ra_width": 2.6 + 1.7 * s.right_load + 0.9 * s.dilation,
        "ra_height": 4.2 + 0.9 * s.right_load + 0.4 * s.dilation,
        "trunk_radius": 2.1 + 1.3 * s.right_load,
        "left_atrium": 1.0 + 0.14 * s.dilation + 0.1 * s.congestion,
        "knob_radius": 2.0 + 0.85 * s.aorta + 0.25 * s.ageing,
        "knob_y": -7.5 - 0.9 * s.aorta + 0.3 * vary[14],
        "aorta_x": 1.9 + 0.5 * s.aorta,
        "aorta_radius": 1.25 + 0.6 * s.aorta,
        "aorta_bow": 1.9 * s.aorta + 0.5 * s.ageing,
        "ascending_radius": 2.3 + 1.35 * s.aorta,
        "knob_calcium": 0.8 * s.ageing * (0.25 + s.aorta),
        "mediastinum": 2.3 + 0.4 * n.is_ap + 0.5 * np.clip(s.fat, 0.0, 1.5) + 0.2 * vary[15],
    }


def _skeleton(s: Signs, n: Nuisance, vary: _Row) -> dict[str, _Row]:
    return {
        "bone": (1.0 - 0.42 * s.ageing - 0.06 * s.female) * (1.0 + 0.08 * vary[16]),
        "rib_phase": 0.5 * vary[17],
        "rib_wobble": np.pi * vary[18],
        "rib_slope": 0.56 - 0.12 * s.hyperinflation + 0.06 * n.is_ap + 0.04 * vary[19],
        "rib_radius": 0.56 - 0.06 * s.female + 0.03 * vary[16],
        "clavicle_y": -11.2 - 1.1 * n.is_ap + 0.5 * vary[20],
        "clavicle_slope": 0.17 + 0.05 * vary[21] - 0.03 * n.is_ap,
        "scapula_x": 3.4 * (1.0 - n.is_ap) + 0.6 * vary[22],
        "spine_bend": 0.7 * vary[23] * (0.5 + s.ageing),
        "spine_phase": 0.5 * vary[21],
    }


def _disease(p: Physiology, s: Signs, n: Nuisance, sizes: dict[str, _Row], vary: _Row) -> dict[str, _Row]:
    top = sizes["lung_base"] - sizes["lung_height"]
    is_left = p.pneumonia_side > 0.0
    dome = np.where(is_left, sizes["dome_l"], sizes["dome_r"])
    center_y = dome - 1.5 + p.pneumonia_height * (top + 6.0 - dome + 1.5)
    width = np.where(is_left, sizes["lung_width_l"], sizes["lung_width_r"])
    center_x = np.where(is_left, 1.0, -1.0) * (sizes["lung_center"] + width * (0.10 + 0.25 * vary[7]))
    rise = 3.2 * (1.0 - n.is_ap) + 2.2 * n.is_ap

    def level(amount: _Row, dome_y: _Row) -> _Row:
        return dome_y + 0.62 * sizes["dome_height"] - rise * np.sqrt(np.maximum(amount, 0.0)) - 13.0 * amount

    return {
        "haze": s.congestion,
        "oedema": np.maximum(s.congestion - 0.45, 0.0) / 0.55,
        "kerley": s.congestion * np.clip(2.0 - s.congestion, 0.3, 2.0),
        "fluid_r": level(s.effusion_right, sizes["dome_r"]),
        "fluid_l": level(s.effusion_left, sizes["dome_l"]),
        "fluid_amount_r": s.effusion_right,
        "fluid_amount_l": s.effusion_left,
        "fluid_softness": 0.65 + 2.2 * n.is_ap,
        "pneumonia": s.pneumonia,
        "pneumonia_x": center_x,
        "pneumonia_y": center_y,
        "pneumonia_radius": 2.6 + 2.6 * s.pneumonia,
        "pacemaker": s.pacemaker,
    }
