"""Draw patients whose diseases hang together as a physician would expect, and the circumstances of their films.

Every patient is a pure function of (seed, patient id, site): the same person comes out in any cohort, order or worker.
The chain of causes is the usual one: age, hypertension and smoking -> heart, aorta, kidneys, lungs -> congestion ->
effusions and right heart load -> rhythm; lungs -> pneumonia -> infection; kidneys -> potassium; all of them -> acuity.

A disease is a *liability* (a standard normal number: a weighted sum of its causes and of chance) and a severity that
starts at 0, passes ``CLEARLY_DISEASED`` at the liability that leaves the wanted prevalence above it, and ends at 1
(Falconer 1965, "The inheritance of liability to certain diseases"). Nuisances never see a disease: they depend on
acuity alone, which makes bedside films and wires the confounders they are in real hospitals.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import betaincinv, expit, logit, ndtr, ndtri

from pacx.core.errors import UsageError
from pacx.core.randomness import sample_keys, uniform
from pacx.simulation.patients.physiology import (
    ATRIAL_FIBRILLATION,
    LEFT_BUNDLE_BLOCK,
    NORMAL_CONDUCTION,
    PACED,
    RIGHT_BUNDLE_BLOCK,
    SINUS,
    Nuisance,
    Physiology,
    Values,
)
from pacx.simulation.patients.sites import Site

CLEARLY_DISEASED = 0.35
"""The severity at which a physician would write the disease down."""

_SEVERITY_PER_LIABILITY = 0.4


class _Latents(NamedTuple):
    """One independent standard normal number per patient and purpose; append only, or every patient changes."""

    age: Values
    sex: Values
    height: Values
    weight: Values
    hypertension: Values
    smoking: Values
    coronary: Values
    dilation: Values
    wall: Values
    kidney: Values
    hyperinflation: Values
    aorta: Values
    congestion: Values
    right_heart: Values
    pneumonia: Values
    pneumonia_side: Values
    pneumonia_height: Values
    other_infection: Values
    liver: Values
    marrow: Values
    iron: Values
    effusion_right: Values
    effusion_left: Values
    ischemia: Values
    fibrillation: Values
    pacemaker: Values
    pacing_now: Values
    left_bundle: Values
    right_bundle: Values
    potassium: Values
    heart_rate: Values
    acuity: Values


class _Film(NamedTuple):
    """The same for one film."""

    view: Values
    exposure: Values
    rotation: Values
    inspiration: Values
    tilt: Values
    shift_x: Values
    shift_y: Values
    scale: Values
    noise: Values
    collimation: Values
    wires: Values


def _normals(seed: int, stream: str, ids: Sequence[str], count: int) -> list[Values]:
    """Independent standard normal columns, each of shape (N,), fixed by seed, stream and id."""
    chance = uniform(seed, stream, 0, sample_keys(ids), count)  # (N, count)
    return list(ndtri(chance + 2.0**-54).T)


def _liability(own: Values, *causes: tuple[float, Values]) -> Values:
    """A standard normal number made of weighted causes and, for the rest of its variance, of chance."""
    explained = sum(weight**2 for weight, _ in causes)
    return sum((weight * cause for weight, cause in causes), start=np.sqrt(1.0 - explained) * own)


def _severity(liability: Values, prevalence: float) -> Values:
    """0 to 1; ``prevalence`` of a standard population lies above ``CLEARLY_DISEASED``, about twice as many above 0."""
    return np.clip(CLEARLY_DISEASED + _SEVERITY_PER_LIABILITY * (liability + ndtri(prevalence)), 0.0, 1.0)


def _present(liability: Values, prevalence: float) -> Values:
    """0 or 1, present in ``prevalence`` of a standard population."""
    return (liability > -ndtri(prevalence)).astype(np.float64)


class _Heart(NamedTuple):
    dilation: Values  # liabilities
    wall: Values
    coronary: Values
    congestion: Values
    kidney: Values
    fibrillation: Values
    left_bundle: Values
    pacemaker: Values


def _heart(latent: _Latents, hypertension: Values, site: Site) -> _Heart:
    """Liabilities of heart and kidney: pressure thickens, infarction dilates, both congest the lungs."""
    coronary = _liability(
        latent.coronary, (0.35, latent.age), (0.3, hypertension), (0.3, latent.smoking), (-0.2, latent.sex)
    )
    shift = site.heart_disease_shift
    dilation = _liability(latent.dilation, (0.5, coronary), (0.1, hypertension), (-0.1, latent.sex)) + shift
    wall = _liability(latent.wall, (0.65, hypertension), (0.1, latent.age), (-0.2, latent.sex)) + shift
    kidney = _liability(latent.kidney, (0.45, hypertension), (0.35, latent.age), (0.15, dilation - shift))
    fibrillation = _liability(latent.fibrillation, (0.45, latent.age), (0.35, dilation - shift))
    congestion = _liability(
        latent.congestion, (0.55, dilation - shift), (0.25, wall - shift), (0.25, kidney), (0.2, fibrillation)
    )
    return _Heart(
        dilation=dilation,
        wall=wall,
        coronary=coronary,
        congestion=congestion + shift,
        kidney=kidney,
        fibrillation=fibrillation,
        left_bundle=_liability(latent.left_bundle, (0.55, dilation - shift), (0.15, latent.age)),
        pacemaker=_liability(latent.pacemaker, (0.4, latent.age), (0.3, dilation - shift)),
    )


def _lungs(latent: _Latents, heart: _Heart, site: Site) -> dict[str, Values]:
    """Smoking inflates the lungs and loads the right heart; pneumonia settles in sick lungs and inflames the body."""
    shift = site.lung_disease_shift
    hyperinflation = _liability(
        latent.hyperinflation, (0.6, latent.smoking), (0.25, latent.age), (-0.15, latent.weight)
    )
    right_heart = _liability(
        latent.right_heart, (0.45, hyperinflation + shift), (0.4, heart.congestion), (0.15, latent.weight)
    )
    pneumonia = _liability(latent.pneumonia, (0.25, hyperinflation), (0.1, latent.age)) + site.infection_shift
    other_infection = _severity(latent.other_infection + site.infection_shift, 0.12)
    return {
        "hyperinflation": _severity(hyperinflation + shift, 0.18),
        "right_heart_load": _severity(right_heart, 0.17),
        "pneumonia": _severity(pneumonia, 0.2),
        "pneumonia_side": np.where(ndtr(latent.pneumonia_side) < 0.58, -1.0, 1.0),
        "pneumonia_height": betaincinv(1.2, 1.8, ndtr(latent.pneumonia_height)),
        "infection": np.clip(0.7 * _severity(pneumonia, 0.2) + other_infection, 0.0, 1.0),
    }


def _effusions(latent: _Latents, heart: _Heart, liver: Values, lungs: dict[str, Values]) -> dict[str, Values]:
    """Congestion fills both sides, the right a little more; liver failure the right; pneumonia its own."""
    shared = 0.6 * heart.congestion
    is_right = lungs["pneumonia_side"] < 0
    right = 0.75 * latent.effusion_right + 1.2 * liver + 1.2 * lungs["pneumonia"] * is_right
    left = 0.75 * latent.effusion_left + 1.2 * lungs["pneumonia"] * ~is_right
    return {"effusion_right": _severity(shared + right, 0.15), "effusion_left": _severity(shared + left, 0.14)}


def _kidney_and_blood(latent: _Latents, heart: _Heart) -> dict[str, Values]:
    """Kidneys age and suffer from pressure; without their hormone and with blood loss, iron runs short."""
    iron = _liability(latent.iron, (0.25, latent.sex), (0.2, heart.kidney))
    return {
        "kidney_function": np.clip(120.0 * expit(0.9 - 1.4 * heart.kidney), 5.0, 120.0),
        "marrow_failure": _severity(latent.marrow, 0.1),
        "iron_deficiency": _severity(iron, 0.15),
    }


def _electrics(latent: _Latents, heart: _Heart, right_heart_load: Values, strain: Values) -> dict[str, Values]:
    """Rhythm, conduction and rate.

    Whoever has a pacemaker is paced in seven recordings of ten; a stretched ventricle blocks its left bundle, a loaded
    right one its right; fever, congestion and anaemia (``strain``) drive a free heart, a pacemaker keeps its own pace.
    """
    has_pacemaker = _present(heart.pacemaker, 0.1)
    is_paced = (has_pacemaker == 1) & (ndtr(latent.pacing_now) < 0.7)
    is_fibrillating = ~is_paced & (_present(heart.fibrillation, 0.17) == 1)
    has_left_block = _present(heart.left_bundle, 0.08) == 1
    has_right_block = _present(_liability(latent.right_bundle, (0.35, latent.age)) + 0.8 * right_heart_load, 0.08) == 1
    chance = latent.heart_rate
    bpm = np.where(is_fibrillating, 88.0 + 17.0 * chance + 32.0 * strain, 72.0 + 10.0 * chance + 30.0 * strain)
    bpm = np.where(is_paced, 62.0 + 5.0 * np.abs(chance) + 10.0 * strain, bpm)
    rhythm = np.select([is_paced, is_fibrillating], [PACED, ATRIAL_FIBRILLATION], SINUS)
    blocks = np.select([has_left_block, has_right_block], [LEFT_BUNDLE_BLOCK, RIGHT_BUNDLE_BLOCK], NORMAL_CONDUCTION)
    return {
        "rhythm": rhythm.astype(np.float64),
        "conduction": blocks.astype(np.float64),
        "heart_rate_bpm": np.clip(bpm, 35.0, 180.0),
        "has_pacemaker": has_pacemaker,
    }


_ILLNESS_WEIGHTS = {
    "congestion": 0.6,
    "infection": 0.7,
    "pneumonia": 0.5,
    "ischemia": 0.5,
    "effusion_right": 0.2,
    "effusion_left": 0.2,
    "liver_failure": 0.4,
    "marrow_failure": 0.3,
    "right_heart_load": 0.3,
}


def _acuity(chance: Values, kidney_failure: Values, severities: dict[str, Values]) -> Values:
    """How ill the whole patient is: each disease leaves a share of health (noisy or), plus what nobody measured."""
    health = 1.0 - 0.4 * kidney_failure
    for name, weight in _ILLNESS_WEIGHTS.items():
        health = health * (1.0 - weight * severities[name])
    return np.clip(1.0 - health + 0.1 * chance, 0.0, 1.0)


def draw_physiology(patient_ids: Sequence[str], *, seed: int, site: Site) -> Physiology:
    """Draw the state of the body of each patient.

    Args:
        patient_ids: N ids; equal ids give equal patients.
        seed: fixes the world; the same seed and id give the same chances at every site, only the site's shifts differ.
        site: the population the patients come from.

    Returns:
        N patients in the order of their ids, every quantity within the range its field documents.
    """
    latent = _Latents(*_normals(seed, "physiology", patient_ids, len(_Latents._fields)))
    hypertension = _liability(latent.hypertension, (0.45, latent.age), (0.3, latent.weight))
    heart = _heart(latent, hypertension, site)
    lungs = _lungs(latent, heart, site)
    liver = _severity(latent.liver, 0.12)
    blood = _kidney_and_blood(latent, heart)
    severities = {
        "ventricle_dilation": _severity(heart.dilation, 0.2),
        "aortic_widening": _severity(_liability(latent.aorta, (0.6, latent.age), (0.45, hypertension)), 0.25),
        "congestion": _severity(heart.congestion, 0.22),
        "ischemia": _severity(_liability(latent.ischemia, (0.5, heart.coronary)), 0.13),
        "liver_failure": liver,
        **_effusions(latent, heart, liver, lungs),
        **lungs,
        **blood,
    }
    congestion = severities["congestion"]
    anaemia = np.maximum(severities["marrow_failure"], severities["iron_deficiency"])
    strain = severities["infection"] + 0.4 * congestion + 0.25 * anaemia
    kidney_failure = np.clip((60.0 - blood["kidney_function"]) / 55.0, 0.0, 1.0)
    # failing kidneys keep potassium, the loop diuretics of the congested waste it
    potassium = 4.15 + 0.4 * latent.potassium + 1.5 * kidney_failure - 0.45 * congestion
    is_female = (latent.sex > 0).astype(np.float64)
    age_years = np.clip(18.0 + 77.0 * betaincinv(3.0, 1.9, ndtr(latent.age)) + site.age_shift_years, 18.0, 95.0)
    height_m = 1.77 - 0.135 * is_female - 0.0008 * (age_years - 60.0) + 0.068 * latent.height
    body_mass_index = 27.0 * np.exp(0.2 * latent.weight) - 3.0 * lungs["hyperinflation"]
    wall_thickness_mm = 9.9 + 1.5 * heart.wall + 1.3 * np.maximum(heart.wall, 0.0) ** 1.5
    return Physiology(
        age_years=age_years,
        is_female=is_female,
        height_m=np.clip(height_m, 1.45, 2.0),
        body_mass_index=np.clip(body_mass_index, 16.0, 50.0),
        wall_thickness_mm=np.clip(wall_thickness_mm, 6.0, 20.0),
        potassium_mmol_l=np.clip(potassium, 2.4, 7.5),
        acuity=_acuity(latent.acuity, kidney_failure, severities),
        **severities,
        **_electrics(latent, heart, lungs["right_heart_load"], strain),
    )


def draw_nuisance(film_ids: Sequence[str], physiology: Physiology, *, seed: int, site: Site) -> Nuisance:
    """Draw the circumstances under which each film was taken.

    Args:
        film_ids: N ids, one per film.
        physiology: the patient of each film, row by row; only ``acuity`` is looked at: whoever is ill is filmed in
            bed, breathes shallowly and wears wires.
        seed: as for ``draw_physiology``.
        site: decides the share of bedside films.

    Raises:
        UsageError: the two do not have the same number of rows.
    """
    if len(film_ids) != len(physiology):
        raise UsageError(f"{len(film_ids)} films but {len(physiology)} patients; give one row of physiology per film")
    film = _Film(*_normals(seed, "nuisance", film_ids, len(_Film._fields)))
    acuity = physiology.acuity
    is_ap = (ndtr(film.view) < expit(logit(site.ap_share) + 5.0 * (acuity - 0.45))).astype(np.float64)
    return Nuisance(
        is_ap=is_ap,
        exposure=np.clip((0.3 + 0.15 * is_ap) * film.exposure, -1.0, 1.0),
        rotation_deg=np.clip((2.0 + 2.0 * is_ap) * film.rotation, -12.0, 12.0),
        inspiration=np.clip(0.75 - 0.3 * is_ap + 0.15 * film.inspiration, 0.0, 1.0),
        tilt_deg=np.clip((0.8 + 0.8 * is_ap) * film.tilt, -4.0, 4.0),
        shift_x=np.clip(0.018 * film.shift_x, -0.06, 0.06),
        shift_y=np.clip(0.018 * film.shift_y, -0.06, 0.06),
        scale=np.clip(1.0 + 0.03 * film.scale, 0.9, 1.1),
        noise=np.clip(0.25 + 0.15 * is_ap + 0.15 * film.noise, 0.0, 1.0),
        collimation=ndtr(film.collimation) ** 2,
        wires=np.clip(1.2 * (acuity - 0.25) + 0.2 * film.wires, 0.0, 1.0),
    )
