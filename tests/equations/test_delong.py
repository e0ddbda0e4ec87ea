"""DeLong's test against a published example, by brute force, and where films of a patient are alike."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import norm

from pacx.evaluation.statistics.delong import compare_areas, holm

# Ovarian cancer with intestinal obstruction, the 43 patients of DeLong et al. 1988 without missing values, as printed
# in the SAS/STAT user's guide, PROC LOGISTIC, example "Comparing Receiver Operating Characteristic Curves": albumin,
# total protein, Krebs-Goplerud score, and 1 = benefits from surgery; the curves there are of the event 0.
PATIENTS = """
3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0  1.6 5.6 5 1  3.8 5.7 5 1
3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1  4.3 7.0 4 1  3.6 6.7 4 0  2.3 4.4 6 1  4.2 7.6 4 0
4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1  3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1  3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1
4.3 6.5 4 1  3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0  3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1  3.5 6.2 5 1
2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1  3.3 5.7 6 1  3.7 6.9 5 1  3.6 6.6 5 1
"""


def test_published_example():
    table = np.array(PATIENTS.split(), float).reshape(-1, 4)
    event, patient = 1 - table[:, 3], np.arange(len(table))
    albumin, protein, score = -table[None, :, 0], -table[None, :, 1], table[None, :, 2]
    assert (len(table), event.sum()) == (43, 12)
    # areas .7366 albumin, .6478 protein, .7258 score; contrasts to the score as printed: estimate, error, p
    found = compare_areas(albumin, score, event, patient)
    assert found == pytest.approx((0.0108, 0.0953, 0.9102), abs=5e-5)
    found = compare_areas(protein, score, event, patient)
    assert found == pytest.approx((-0.0780, 0.1046, 0.4561), abs=5e-5)


def kernel(scores, truth):
    """(m, n) of 1, 1/2 and 0: positive above, tied with, or below negative."""
    positive, negative = scores[truth == 1], scores[truth == 0]
    return (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)


def brute_force(first, second, truth, patient):
    """Obuchowski's estimator as it is written, with loops over patients, heads averaged as matrices."""
    difference = np.mean([kernel(s, truth) for s in first], axis=0) - np.mean(
        [kernel(s, truth) for s in second], axis=0
    )
    area, (m, n) = difference.mean(), difference.shape
    of_positive, of_negative = difference.mean(axis=1), difference.mean(axis=0)
    owner_of_positive, owner_of_negative = patient[truth == 1], patient[truth == 0]
    s10 = s01 = s11 = 0.0
    for p in set(patient):
        a = of_positive[owner_of_positive == p].sum() - (owner_of_positive == p).sum() * area
        b = of_negative[owner_of_negative == p].sum() - (owner_of_negative == p).sum() * area
        s10, s01, s11 = s10 + a * a, s01 + b * b, s11 + a * b
    i10, i01, i = len(set(owner_of_positive)), len(set(owner_of_negative)), len(set(patient))
    variance = i10 / ((i10 - 1) * m) * s10 / m + i01 / ((i01 - 1) * n) * s01 / n + 2 * i / (i - 1) * s11 / (m * n)
    return area, np.sqrt(variance)


@pytest.mark.parametrize("seed", range(20))
def test_equals_brute_force(seed):
    random = np.random.default_rng(seed)
    num, heads = int(random.integers(20, 90)), int(random.integers(1, 4))
    truth = (random.random(num) < 0.35).astype(float)
    first, second = random.integers(0, 12, (2, heads, num)) + 2 * truth
    unknown = random.random(num) < 0.1
    labels = np.where(unknown, np.nan, truth)
    for patient in (np.arange(num), random.integers(0, max(num // 3, 3), num)):
        found = compare_areas(first, second, labels, patient)
        area, error = brute_force(first[:, ~unknown], second[:, ~unknown], truth[~unknown], patient[~unknown])
        assert found == pytest.approx((area, error, 2 * norm.sf(abs(area) / error)), abs=1e-12)


def test_one_film_per_patient_is_delong_itself():
    random = np.random.default_rng(3)
    truth = (np.arange(60) % 3 == 0).astype(float)
    first, second = random.normal(size=(2, 60)) + truth
    difference = kernel(first, truth) - kernel(second, truth)
    variance = difference.mean(axis=1).var(ddof=1) / 20 + difference.mean(axis=0).var(ddof=1) / 40
    found = compare_areas(first[None], second[None], truth, np.arange(60))
    assert found[:2] == pytest.approx((difference.mean(), np.sqrt(variance)), abs=1e-12)


def rejections(patient_of, num_trials=300):
    """How often two encoders of equal skill, each of which sees a patient's films alike, are told apart at 5 %."""
    random = np.random.default_rng(11)
    patients = np.repeat(np.arange(80), 4)
    rejected = 0
    for _ in range(num_trials):
        truth = (np.arange(80) % 3 == 0).astype(float)[patients]
        scores = random.normal(size=(2, 1, 80))[..., patients] + 0.3 * random.normal(size=(2, 1, 320)) + truth
        rejected += compare_areas(*scores, truth, patient_of(patients)).p_value < 0.05
    return rejected / num_trials


def test_equal_encoders_are_told_apart_as_rarely_as_promised():
    assert 0.02 <= rejections(lambda patients: patients) <= 0.085
    # the trap: films taken one by one are sure of a difference that is not there
    assert rejections(lambda patients: np.arange(len(patients))) > 0.2


def test_nothing_to_compare():
    scores, truth = np.arange(8.0)[None], np.array([0, 0, 0, 0, 1, 1, 1, 1.0])
    same = compare_areas(scores, 2 * scores, truth, np.arange(8))
    assert (same.difference, same.p_value) == (0, 1)
    assert np.isnan(compare_areas(scores, scores, np.zeros(8), np.arange(8))).all()
    opposite = compare_areas(scores, -scores, truth, np.arange(8))
    assert opposite.difference == 1
    assert np.isnan(opposite.p_value)
    one_patient = compare_areas(scores, scores[:, ::-1], truth, np.array([0, 1, 2, 3, 4, 4, 4, 4]))
    assert np.isnan(one_patient.p_value)


def test_holm_is_the_closed_test_of_bonferroni():
    random = np.random.default_rng(0)
    for _ in range(30):
        values = random.random(5) ** 3
        # a hypothesis falls when every family that holds it falls: the largest Bonferroni p over those families
        families = [list(f) for size in range(1, 6) for f in combinations(range(5), size)]
        expected = [max(min(1, len(f) * values[f].min()) for f in families if k in f) for k in range(5)]
        assert holm(values) == pytest.approx(expected, abs=1e-15)
    assert holm([0.01, np.nan, 0.04]) == pytest.approx([0.02, np.nan, 0.04], nan_ok=True)
