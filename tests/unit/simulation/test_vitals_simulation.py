"""Simulated vital signs: ranges, causes, statelessness, and the file the modality reads."""

from dataclasses import replace

import numpy as np
import pytest

from pacx.core.errors import UsageError
from pacx.modalities.panel.wide_tables import read_wide_csv
from pacx.modalities.vitals import VITALS_PANEL
from pacx.simulation.patients.physiology import Physiology
from pacx.simulation.patients.population import draw_physiology
from pacx.simulation.patients.sites import UNIVERSITY_HOSPITAL
from pacx.simulation.signals.vitals import VitalSigns, simulate_vitals, write_vitals

IDS = [f"v{i}" for i in range(2000)]
RANGES = ((30, 220), (60, 230), (30, 130), (60, 100), (34, 42), (6, 50))


@pytest.fixture(scope="module")
def patients() -> Physiology:
    return draw_physiology(IDS, seed=3, site=UNIVERSITY_HOSPITAL)


@pytest.fixture(scope="module")
def signs(patients) -> VitalSigns:
    return simulate_vitals(patients, IDS, seed=3)


def test_values_are_those_of_a_ward(signs):
    for values, (low, high), center in zip(signs, RANGES, (80, 125, 75, 95, 37, 18), strict=True):
        known = values[~np.isnan(values)]
        assert ((known >= low) & (known <= high)).all()
        assert abs(np.median(known) - center) < 0.1 * center
        assert 0.75 < len(known) / len(values) < 0.99
    both = ~np.isnan(signs.systolic_pressure) & ~np.isnan(signs.diastolic_pressure)
    assert (signs.systolic_pressure[both] > signs.diastolic_pressure[both] + 10).all()
    assert not np.isnan(np.stack(signs)).all(axis=0).any(), "nobody has nothing"


@pytest.mark.parametrize(
    ("cause", "severe", "sign", "direction"),
    [
        ("infection", 0.9, "temperature", 1), ("infection", 0.9, "systolic_pressure", -1),
        ("pneumonia", 0.9, "oxygen_saturation", -1), ("pneumonia", 0.9, "respiratory_rate", 1),
        ("wall_thickness_mm", 17.0, "systolic_pressure", 1), ("heart_rate_bpm", 150.0, "heart_rate", 1),
    ],
)  # fmt: skip
def test_a_disease_moves_its_sign_and_nothing_else_of_the_patient(patients, signs, cause, severe, sign, direction):
    sick = simulate_vitals(replace(patients, **{cause: np.full(len(IDS), severe)}), IDS, seed=3)
    change = direction * (getattr(sick, sign) - getattr(signs, sign))
    assert np.nanmean(change) > 0
    assert np.array_equal(np.isnan(sick.temperature), np.isnan(signs.temperature)), (
        "who is measured is not its business"
    )


def test_a_patient_is_alike_in_any_company(patients, signs):
    few = simulate_vitals(patients.take(np.array([7, 3])), [IDS[7], IDS[3]], seed=3)
    for whole, part in zip(signs, few, strict=True):
        np.testing.assert_array_equal(part, whole[[7, 3]])
    other = simulate_vitals(patients, IDS, seed=4)
    assert not np.array_equal(other.heart_rate, signs.heart_rate, equal_nan=True)
    with pytest.raises(UsageError, match="one id per patient"):
        simulate_vitals(patients, IDS[:3], seed=3)


def test_the_modality_reads_what_the_hospital_writes(signs, tmp_path):
    write_vitals(tmp_path / "vitals.csv", IDS, signs)
    table = read_wide_csv(tmp_path / "vitals.csv", VITALS_PANEL)
    assert table.sample_ids == tuple(IDS)
    assert VITALS_PANEL.keys == VitalSigns._fields
    np.testing.assert_allclose(table.values, np.stack(signs, axis=1), rtol=1e-6)
