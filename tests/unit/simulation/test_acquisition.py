"""What taking a film tells of the patient, and that these knobs close that way and no other."""

from dataclasses import replace

import numpy as np

from pacx.simulation.film.thorax import render_films
from pacx.simulation.hospital import HospitalConfig
from pacx.simulation.patients.acquisition import Circumstances
from pacx.simulation.patients.physiology import Visibility
from pacx.simulation.patients.population import draw_nuisance, draw_physiology
from pacx.simulation.patients.sites import UNIVERSITY_HOSPITAL

IDS = [f"university-d{number:06d}" for number in range(400)]
PATIENTS = draw_physiology(IDS, seed=3, site=UNIVERSITY_HOSPITAL)
HOW = {"seed": 3, "site": UNIVERSITY_HOSPITAL}
UNSEEN = Visibility(**dict.fromkeys(Visibility.__dataclass_fields__, 0.0))


def test_as_in_life_they_are_the_population_s_own_to_the_bit() -> None:
    ours, theirs = Circumstances().nuisance(IDS, PATIENTS, **HOW), draw_nuisance(IDS, PATIENTS, **HOW)
    for name in theirs.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def test_in_life_acuity_is_on_the_film_and_taken_blindly_it_is_not() -> None:
    in_life, blind = (Circumstances(acuity=share).nuisance(IDS, PATIENTS, **HOW) for share in (1.0, 0.0))
    assert np.corrcoef(PATIENTS.acuity, in_life.wires)[0, 1] > 0.5
    for name in blind.__dataclass_fields__:
        assert abs(np.corrcoef(PATIENTS.acuity, getattr(blind, name))[0, 1]) < 0.15, name
    assert 0.3 < blind.is_ap.mean() < 0.6


def test_without_wires_nothing_else_changes() -> None:
    plain, bare = (Circumstances(wires=share).nuisance(IDS, PATIENTS, **HOW) for share in (1.0, 0.0))
    assert plain.wires.max() > 0.5
    assert bare.wires.max() == 0.0
    assert all(
        np.array_equal(getattr(plain, name), getattr(bare, name))
        for name in plain.__dataclass_fields__
        if name != "wires"
    )


def test_an_unseen_patient_filmed_blindly_could_be_anybody() -> None:
    """Visibility 0 alone leaves a trace by bedside films and wires; with it closed, two people give the same bytes."""
    ids = IDS[:12]
    some = PATIENTS.take(np.arange(12))
    others = replace(PATIENTS.take(np.arange(100, 112)))

    def films(people: object, circumstances: Circumstances) -> np.ndarray:
        nuisance = circumstances.nuisance(ids, people, **HOW)
        scanner = UNIVERSITY_HOSPITAL.scanner
        options = {"film_ids": ids, "seed": 3, "image_size_px": 32, "visibility": UNSEEN, "scanner": scanner}
        return render_films(people, nuisance, **options).images

    assert np.array_equal(films(some, Circumstances(acuity=0.0)), films(others, Circumstances(acuity=0.0)))
    assert not np.array_equal(films(some, Circumstances()), films(others, Circumstances()))


def test_a_hospital_from_before_the_knobs_keeps_its_fingerprint() -> None:
    """The digits are those of the commit before circumstances existed."""
    assert HospitalConfig(seed=1).fingerprint() == KNOWN
    assert HospitalConfig(seed=1, circumstances=Circumstances(wires=0.0)).fingerprint() != KNOWN


KNOWN = "bb740f75d3bdbdbc137a86ed3d9d642c8bd410eb0f91e7aea374d1d8904b5690"
