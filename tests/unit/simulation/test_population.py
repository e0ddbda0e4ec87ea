"""Patients: who they are does not depend on who asks, and their diseases hang together."""

from dataclasses import fields, replace

import numpy as np
import pytest

from pacx.core.errors import UsageError
from pacx.simulation.patients.labels import ANATOMICAL, PHYSIOLOGY_DENSE, downstream_labels
from pacx.simulation.patients.physiology import ATRIAL_FIBRILLATION, LEFT_BUNDLE_BLOCK, PACED, Nuisance, Physiology
from pacx.simulation.patients.population import CLEARLY_DISEASED, draw_nuisance, draw_physiology
from pacx.simulation.patients.sites import COMMUNITY_HOSPITAL, UNIVERSITY_HOSPITAL, Scanner, Site

IDS = [f"someone-{number}" for number in range(6000)]


@pytest.fixture(scope="module")
def patients() -> Physiology:
    return draw_physiology(IDS, seed=3, site=UNIVERSITY_HOSPITAL)


def _columns(values: Physiology | Nuisance) -> dict[str, np.ndarray]:
    return {field.name: getattr(values, field.name) for field in fields(values)}


def test_a_patient_is_the_same_in_any_cohort_and_order(patients):
    some = [4711, 12, 5999, 0, 12]
    again = draw_physiology([IDS[row] for row in some], seed=3, site=UNIVERSITY_HOSPITAL)
    for name, values in _columns(again).items():
        assert values.tobytes() == getattr(patients, name)[some].tobytes(), name


def test_another_seed_is_another_world(patients):
    other = draw_physiology(IDS[:500], seed=4, site=UNIVERSITY_HOSPITAL)
    assert abs(np.corrcoef(other.age_years, patients.age_years[:500])[0, 1]) < 0.2


RANGES = {
    "age_years": (18, 95),
    "height_m": (1.45, 2.0),
    "body_mass_index": (16, 50),
    "wall_thickness_mm": (6, 20),
    "pneumonia_side": (-1, 1),
    "kidney_function": (5, 120),
    "potassium_mmol_l": (2.4, 7.5),
    "rhythm": (0, 2),
    "conduction": (0, 2),
    "heart_rate_bpm": (35, 180),
}


def test_every_quantity_stays_in_its_documented_range(patients):
    for name, values in _columns(patients).items():
        low, high = RANGES.get(name, (0, 1))
        assert values.shape == (len(IDS),), name
        assert values.dtype == np.float64, name
        assert np.isfinite(values).all(), name
        assert low <= values.min() <= values.max() <= high, name


@pytest.mark.parametrize(
    "name",
    [
        "ventricle_dilation",
        "right_heart_load",
        "aortic_widening",
        "congestion",
        "effusion_right",
        "effusion_left",
        "hyperinflation",
        "pneumonia",
        "infection",
        "liver_failure",
        "iron_deficiency",
        "ischemia",
    ],
)
def test_a_hospital_has_many_mildly_and_some_clearly_diseased(patients, name):
    severity = getattr(patients, name)
    assert 0.1 < (severity > CLEARLY_DISEASED).mean() < 0.35
    assert ((severity > 0) & (severity <= CLEARLY_DISEASED)).mean() > 0.15
    assert (severity == 0).mean() > 0.2


@pytest.mark.parametrize(
    ("cause", "effect", "sign"),
    [
        ("age_years", "aortic_widening", 1),
        ("age_years", "kidney_function", -1),
        ("wall_thickness_mm", "kidney_function", -1),  # hypertension behind both
        ("wall_thickness_mm", "aortic_widening", 1),
        ("ventricle_dilation", "congestion", 1),
        ("ischemia", "ventricle_dilation", 1),
        ("congestion", "effusion_right", 1),
        ("congestion", "effusion_left", 1),
        ("effusion_right", "effusion_left", 1),
        ("hyperinflation", "right_heart_load", 1),
        ("hyperinflation", "body_mass_index", -1),
        ("pneumonia", "infection", 1),
        ("infection", "heart_rate_bpm", 1),
        ("kidney_function", "potassium_mmol_l", -1),
        ("kidney_function", "iron_deficiency", -1),
        ("congestion", "acuity", 1),
        ("infection", "acuity", 1),
        ("age_years", "has_pacemaker", 1),
        ("is_female", "height_m", -1),
    ],
)
def test_causes_point_the_way_a_physician_expects(patients, cause, effect, sign):
    correlation = np.corrcoef(getattr(patients, cause), getattr(patients, effect))[0, 1]
    assert sign * correlation > 0.08


def test_rhythm_and_conduction_follow_age_dilation_and_pacemaker(patients):
    fibrillates, paced = patients.rhythm == ATRIAL_FIBRILLATION, patients.rhythm == PACED
    blocked = patients.conduction == LEFT_BUNDLE_BLOCK
    assert patients.age_years[fibrillates].mean() > patients.age_years[~fibrillates].mean() + 5
    assert patients.ventricle_dilation[fibrillates].mean() > patients.ventricle_dilation[~fibrillates].mean() + 0.05
    assert patients.ventricle_dilation[blocked].mean() > patients.ventricle_dilation[~blocked].mean() + 0.1
    assert (patients.has_pacemaker[paced] == 1).all()
    assert paced.mean() > 0.04


def test_pneumonia_fills_the_pleura_of_its_own_side(patients):
    ill = patients.pneumonia > 0.5
    right = ill & (patients.pneumonia_side < 0)
    left = ill & (patients.pneumonia_side > 0)
    assert patients.effusion_right[right].mean() > patients.effusion_right[left].mean() + 0.1
    assert patients.effusion_left[left].mean() > patients.effusion_left[right].mean() + 0.1


def test_sites_differ_in_the_direction_they_say(patients):
    there = draw_physiology(IDS, seed=3, site=COMMUNITY_HOSPITAL)
    assert there.age_years.mean() > patients.age_years.mean() + 3
    assert there.hyperinflation.mean() > patients.hyperinflation.mean() + 0.03
    assert there.ventricle_dilation.mean() < patients.ventricle_dilation.mean() - 0.02
    assert there.infection.mean() > patients.infection.mean()
    films = [
        draw_nuisance(IDS, who, seed=3, site=site)
        for who, site in ((patients, UNIVERSITY_HOSPITAL), (there, COMMUNITY_HOSPITAL))
    ]
    assert films[1].is_ap.mean() < films[0].is_ap.mean() - 0.1


def test_a_site_that_has_no_views_to_choose_from_is_refused():
    with pytest.raises(UsageError, match="ap_share"):
        Site(name="odd", scanner=Scanner(), ap_share=1.0)


def test_nuisances_know_acuity_and_nothing_else_of_the_patient(patients):
    films = draw_nuisance(IDS, patients, seed=3, site=UNIVERSITY_HOSPITAL)
    strangers = replace(patients.take(np.arange(len(IDS))[::-1]), acuity=patients.acuity)
    for name, values in _columns(draw_nuisance(IDS, strangers, seed=3, site=UNIVERSITY_HOSPITAL)).items():
        np.testing.assert_array_equal(values, getattr(films, name), err_msg=name)
    assert np.corrcoef(films.wires, patients.acuity)[0, 1] > 0.5
    assert np.corrcoef(films.is_ap, patients.acuity)[0, 1] > 0.3
    assert np.corrcoef(films.wires, patients.congestion)[0, 1] > 0.2  # the confounder: through acuity only
    assert films.rotation_deg[films.is_ap == 1].std() > films.rotation_deg[films.is_ap == 0].std()


NUISANCE_RANGES = {
    "exposure": (-1, 1),
    "rotation_deg": (-12, 12),
    "tilt_deg": (-4, 4),
    "shift_x": (-0.06, 0.06),
    "shift_y": (-0.06, 0.06),
    "scale": (0.9, 1.1),
}


def test_nuisances_stay_in_their_documented_range(patients):
    for name, values in _columns(draw_nuisance(IDS, patients, seed=3, site=UNIVERSITY_HOSPITAL)).items():
        low, high = NUISANCE_RANGES.get(name, (0, 1))
        assert low <= values.min() < values.max() <= high, name


def test_films_without_a_patient_each_are_refused(patients):
    with pytest.raises(UsageError, match="one row of physiology per film"):
        draw_nuisance(IDS[:-1], patients, seed=3, site=UNIVERSITY_HOSPITAL)


@pytest.mark.parametrize("site", [UNIVERSITY_HOSPITAL, COMMUNITY_HOSPITAL], ids=lambda site: site.name)
def test_every_label_has_a_usable_prevalence(site):
    labels = downstream_labels(draw_physiology(IDS, seed=3, site=site))
    assert tuple(labels.columns) == PHYSIOLOGY_DENSE + ANATOMICAL
    assert labels.isin([0, 1]).all(axis=None)
    assert labels.mean().between(0.05, 0.4).all(), labels.mean()


def test_labels_follow_their_thresholds(patients):
    healthy = replace(
        patients.take(np.array([0, 0])),
        ventricle_dilation=np.zeros(2),
        wall_thickness_mm=np.array([15.0, 15.1]),
        kidney_function=np.array([45.0, 44.9]),
        congestion=np.array([0.5, 0.0]),
        effusion_left=np.array([0.0, 0.4]),
        effusion_right=np.zeros(2),
        rhythm=np.array([PACED, ATRIAL_FIBRILLATION]).astype(float),
        has_pacemaker=np.array([1.0, 0.0]),
    )
    labels = downstream_labels(healthy)
    assert labels["severe_lvh_or_dilated_lv"].tolist() == [0, 1]
    assert labels["kidney_failure"].tolist() == [0, 1]
    assert labels["heart_failure"].tolist() == [1, 0]
    assert labels["pleural_effusion"].tolist() == [0, 1]
    assert labels["atrial_fibrillation"].tolist() == [0, 1]
    assert labels["pacemaker"].tolist() == [1, 0]
