"""The simulated laboratory: arithmetic, causes, orders and rounding."""

from dataclasses import replace

import numpy as np
import pytest

from pacx.core.errors import UsageError
from pacx.core.vocabulary import LAB_ITEM_IDS, LAB_TESTS
from pacx.simulation.patients.physiology import ATRIAL_FIBRILLATION, Physiology
from pacx.simulation.patients.population import draw_physiology
from pacx.simulation.patients.sites import UNIVERSITY_HOSPITAL
from pacx.simulation.signals.labs import expected_haemoglobin_g_dl, simulate_labs

IDS = [f"blood-{number}" for number in range(6000)]
COLUMN = {item: index for index, item in enumerate(LAB_ITEM_IDS)}
(BASE_EXCESS, TOTAL_CO2, LACTATE, PCO2, PH, ALBUMIN, GAP, AST, BICARBONATE, BILIRUBIN, CHLORIDE, CK, CREATININE) = (
    50802, 50804, 50813, 50818, 50820, 50862, 50868, 50878, 50882, 50885, 50902, 50910, 50912,
)  # fmt: skip
(POTASSIUM, SODIUM, UREA, HEMATOCRIT, HEMOGLOBIN, INR, MCH, MCHC, MCV, PLATELETS, PT, RED_CELLS, WHITE_CELLS) = (
    50971, 50983, 51006, 51221, 51222, 51237, 51248, 51249, 51250, 51265, 51274, 51279, 51301,
)  # fmt: skip
DIFFERENTIAL = (51256, 51244, 51254, 51200, 51146, 52135)
COUNTS = {51256: 52075, 51244: 51133, 51254: 52074, 51200: 52073, 51146: 52069}


@pytest.fixture(scope="module")
def patients() -> Physiology:
    return draw_physiology(IDS, seed=9, site=UNIVERSITY_HOSPITAL)


@pytest.fixture(scope="module")
def labs(patients) -> np.ndarray:
    return simulate_labs(patients, IDS, seed=9)


def _observed(labs: np.ndarray, *items: int) -> list[np.ndarray]:
    """The values of those patients who have all the tests."""
    values = labs[:, [COLUMN[item] for item in items]]
    values = values[~np.isnan(values).any(axis=1)]
    assert len(values) > 500
    return list(values.T)


def test_shape_and_share_of_observed(labs):
    is_observed = ~np.isnan(labs)
    assert labs.shape == (len(IDS), 50)
    assert labs.dtype == np.float64
    assert is_observed.any(axis=1).all()
    assert 0.69 < is_observed.mean() < 0.74


def test_a_patients_labs_are_his_own_in_any_batch(patients, labs):
    rows = np.array([5000, 7, 7, 312])
    some = simulate_labs(patients.take(rows), [IDS[row] for row in rows], seed=9)
    assert some.tobytes() == labs[rows].tobytes()
    assert not np.array_equal(simulate_labs(patients, IDS, seed=10), labs, equal_nan=True)


def test_the_anion_gap_closes_exactly(labs):
    sodium, chloride, bicarbonate, gap = _observed(labs, SODIUM, CHLORIDE, BICARBONATE, GAP)
    np.testing.assert_array_equal(gap, sodium - chloride - bicarbonate)


def test_the_blood_gas_obeys_henderson_and_hasselbalch(labs):
    acidity, carbon_dioxide, bicarbonate, total, excess = _observed(labs, PH, PCO2, BICARBONATE, TOTAL_CO2, BASE_EXCESS)
    np.testing.assert_allclose(acidity, 6.1 + np.log10(bicarbonate / (0.0307 * carbon_dioxide)), atol=0.0051)
    np.testing.assert_allclose(total, bicarbonate + 0.0307 * carbon_dioxide, atol=0.51)
    assert np.all(np.sign(excess[np.abs(excess) > 4]) == np.sign((bicarbonate - 24.4)[np.abs(excess) > 4]))


def test_red_cell_indices_follow_from_each_other(labs):
    haemoglobin, haematocrit, cells, volume, mass, content = _observed(
        labs, HEMOGLOBIN, HEMATOCRIT, RED_CELLS, MCV, MCH, MCHC
    )
    np.testing.assert_allclose(volume, 10 * haematocrit / cells, rtol=0.012)
    np.testing.assert_allclose(mass, 10 * haemoglobin / cells, rtol=0.012)
    np.testing.assert_allclose(content, 100 * haemoglobin / haematocrit, rtol=0.006)


def test_the_differential_adds_up_and_gives_the_counts(labs):
    shares = _observed(labs, *DIFFERENTIAL)
    np.testing.assert_allclose(np.sum(shares, axis=0), 100.0, atol=1e-9)
    for percent, count in COUNTS.items():
        white, share, absolute = _observed(labs, WHITE_CELLS, percent, count)
        np.testing.assert_allclose(absolute, white * share / 100, atol=0.00501)


def test_prothrombin_time_and_ratio_agree(labs):
    ratio, seconds = _observed(labs, INR, PT)
    np.testing.assert_allclose(seconds / ratio, 11.3, rtol=0.01)


PLAUSIBLE = {  # range of the possible, and of the median over admitted patients
    BASE_EXCESS: (-35, 30, -2, 3), TOTAL_CO2: (5, 60, 22, 29), LACTATE: (0.2, 25, 1.2, 2.5), PCO2: (10, 120, 35, 45),
    PH: (6.7, 7.8, 7.35, 7.43), 50821: (20, 600, 75, 140), 50861: (1, 9000, 18, 40), ALBUMIN: (0.8, 6, 3.0, 4.0),
    50863: (10, 1500, 65, 120), GAP: (2, 45, 9, 15), AST: (3, 9000, 20, 50), BICARBONATE: (5, 50, 22, 27),
    BILIRUBIN: (0, 60, 0.4, 1.0), 50893: (5, 13, 8.3, 9.4), CHLORIDE: (70, 135, 99, 106), CK: (3, 90000, 60, 160),
    CREATININE: (0.1, 25, 0.7, 1.3), 50931: (25, 1000, 110, 145), 50934: (0, 300, 2, 15), 50947: (0, 60, 0, 4),
    50960: (0.5, 6, 1.8, 2.2), 50970: (0.5, 14, 3.0, 4.0), POTASSIUM: (2, 9, 4.0, 4.5), SODIUM: (110, 165, 136, 141),
    UREA: (2, 220, 13, 23), 51133: (0, 30, 0.9, 2.0), 51146: (0, 6, 0.2, 0.6), 51200: (0, 50, 0.5, 2.0),
    HEMATOCRIT: (10, 62, 31, 40), HEMOGLOBIN: (3.5, 20, 10.3, 13.2), INR: (0.7, 15, 1.0, 1.4), 51244: (0, 95, 9, 22),
    MCH: (15, 45, 28.5, 31), MCHC: (25, 39, 32, 34), MCV: (55, 130, 86, 93), 51254: (0, 45, 4, 9),
    51256: (3, 100, 66, 83), PLATELETS: (3, 1300, 190, 260), PT: (8, 160, 11.5, 15.5), 51275: (15, 160, 27, 36),
    51277: (10.5, 33, 13.3, 15.6), RED_CELLS: (1, 8, 3.5, 4.6), WHITE_CELLS: (0.1, 120, 7, 11), 51678: (0, 300, 3, 15),
    52069: (0, 3, 0.01, 0.08), 52073: (0, 15, 0.04, 0.25), 52074: (0, 15, 0.4, 0.9), 52075: (0, 110, 4.5, 9),
    52135: (0, 30, 0.3, 1.0), 52172: (28, 110, 41, 50),
}  # fmt: skip


@pytest.mark.parametrize("test", LAB_TESTS, ids=lambda test: test.name)
def test_values_are_those_of_admitted_adults(labs, test):
    low, high, median_low, median_high = PLAUSIBLE[test.item_id]
    values = labs[:, COLUMN[test.item_id]]
    values = values[~np.isnan(values)]
    assert low <= values.min() <= values.max() <= high
    assert median_low <= np.median(values) <= median_high
    assert len(np.unique(values)) < 0.6 * len(values)  # reported rounded, as laboratories do


@pytest.mark.parametrize(
    ("cause", "item", "sign"),
    [
        ("kidney_function", CREATININE, -1),
        ("kidney_function", UREA, -1),
        ("kidney_function", 50970, -1),
        ("kidney_function", HEMOGLOBIN, 1),
        ("potassium_mmol_l", POTASSIUM, 1),
        ("infection", WHITE_CELLS, 1),
        ("infection", LACTATE, 1),
        ("infection", ALBUMIN, -1),
        ("infection", 51244, -1),
        ("marrow_failure", PLATELETS, -1),
        ("marrow_failure", WHITE_CELLS, -1),
        ("marrow_failure", HEMOGLOBIN, -1),
        ("iron_deficiency", MCV, -1),
        ("iron_deficiency", 51277, 1),
        ("liver_failure", BILIRUBIN, 1),
        ("liver_failure", INR, 1),
        ("liver_failure", ALBUMIN, -1),
        ("liver_failure", AST, 1),
        ("ischemia", CK, 1),
        ("hyperinflation", PCO2, 1),
        ("hyperinflation", BICARBONATE, 1),
        ("congestion", SODIUM, -1),
        ("pneumonia", 50821, -1),
    ],
)
def test_diseases_move_their_tests(patients, cause, item, sign):
    """Twins who differ in one quantity only: acuity, and so every order, is the same."""
    low, high = {"kidney_function": (15.0, 90.0), "potassium_mmol_l": (3.0, 6.5)}.get(cause, (0.2, 0.9))
    twins = [
        simulate_labs(replace(patients, **{cause: np.full(len(IDS), value)}), IDS, seed=9)[:, COLUMN[item]]
        for value in (low, high)
    ]
    change = twins[1] - twins[0]
    change = change[~np.isnan(change)]
    assert len(change) > 500
    assert sign * change.mean() > 0.25 * np.nanstd(twins[0])


def test_warfarin_goes_to_those_who_fibrillate(patients, labs):
    ratio = labs[:, COLUMN[INR]]
    fibrillates = patients.rhythm == ATRIAL_FIBRILLATION
    is_high = ratio > 1.9
    assert np.nanmean(is_high[fibrillates]) > 0.25
    assert np.nanmean(is_high[~fibrillates]) < 0.1


def test_orders_depend_on_acuity(patients, labs):
    is_observed = ~np.isnan(labs)
    ill, well = patients.acuity > 0.75, patients.acuity < 0.25
    for item, least in ((PH, 0.4), (LACTATE, 0.4), (CK, 0.2), (51256, 0.02)):
        column = COLUMN[item]
        assert is_observed[ill, column].mean() > is_observed[well, column].mean() + least, item
    assert is_observed[:, [COLUMN[SODIUM], COLUMN[HEMATOCRIT]]].mean() > 0.95
    gas = is_observed[:, [COLUMN[item] for item in (BASE_EXCESS, PCO2, PH)]]
    assert (gas.all(axis=1) | ~gas.any(axis=1)).mean() > 0.95  # ordered together


def test_the_expected_haemoglobin_is_the_mean_of_the_measured(patients, labs):
    measured = labs[:, COLUMN[HEMOGLOBIN]]
    expected = expected_haemoglobin_g_dl(patients)
    assert abs(np.nanmean(measured - expected)) < 0.05
    assert np.corrcoef(measured[~np.isnan(measured)], expected[~np.isnan(measured)])[0, 1] > 0.85


def test_ids_that_do_not_match_are_refused(patients):
    with pytest.raises(UsageError, match="one id per patient"):
        simulate_labs(patients, IDS[:-1], seed=9)
