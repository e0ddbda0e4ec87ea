"""Metrics against scikit-learn, with ties, weights, unknown labels and missing classes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from pacx.core.errors import ModelError
from pacx.evaluation.statistics import metrics
from pacx.evaluation.statistics.bootstrap import PatientDraws, patient_bootstrap


def each_sample_its_own_patient(weights):
    weights = np.asarray(weights, float)
    return PatientDraws(patient=np.arange(len(weights)), counts=weights[:, None])


def best_sensitivity(labels, scores, weights=None):
    false_alarms, hits, _ = oracle.roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
    return hits[false_alarms <= 0.1 + 1e-9].max()


def binned_error(labels, probabilities, weights):
    """Bin by bin and sample by sample."""
    total = 0.0
    for number in range(15):
        inside = [
            i for i, p in enumerate(probabilities) if number / 15 <= p < (number + 1) / 15 or (number == 14 and p == 1)
        ]
        if inside:
            weight = weights[inside]
            total += weight.sum() * abs(
                np.average(labels[inside], weights=weight) - np.average(probabilities[inside], weights=weight)
            )
    return total / weights.sum()


@st.composite
def weighted_case(draw):
    num = draw(st.integers(2, 40))
    scores = np.array(draw(st.lists(st.integers(0, draw(st.integers(0, 12))), min_size=num, max_size=num))) / 7
    labels = np.array(draw(st.lists(st.integers(0, 1), min_size=num, max_size=num)), float)
    weights = np.array(draw(st.lists(st.floats(0.25, 4), min_size=num, max_size=num)))
    return scores, labels, weights


@settings(max_examples=150)
@given(weighted_case())
def test_weighted_metrics_equal_scikit_learn(case):
    scores, labels, weights = case
    draws = each_sample_its_own_patient(weights)
    column, truth = scores[:, None], labels[:, None]
    area = metrics.auroc(column, truth, draws)[0, 0]
    precision = metrics.auprc(column, truth, draws)[0, 0]
    if 0 < labels.sum() < len(labels):
        assert area == pytest.approx(oracle.roc_auc_score(labels, scores, sample_weight=weights), abs=1e-9)
    else:
        assert np.isnan(area)
    if labels.sum():
        expected = oracle.average_precision_score(labels, scores, sample_weight=weights)
        assert precision == pytest.approx(expected, abs=1e-9)
        f1 = metrics.f1(column >= 0.5, truth, draws)[0, 0]
        expected = oracle.f1_score(labels, scores >= 0.5, sample_weight=weights, zero_division=0)
        assert f1 == pytest.approx(expected, abs=1e-9)
    else:
        assert np.isnan(precision)
    sensitivity = metrics.sensitivity_at_specificity(column, truth, draws)[0, 0]
    if 0 < labels.sum() < len(labels):
        assert sensitivity == pytest.approx(best_sensitivity(labels, scores, weights), abs=1e-9)
    else:
        assert np.isnan(sensitivity)
    probability = np.minimum(scores, 1)
    error = metrics.calibration_error(probability[:, None], truth, draws)[0, 0]
    assert error == pytest.approx(binned_error(labels, probability, weights), abs=1e-9)
    expected = oracle.brier_score_loss(labels, probability, sample_weight=weights, pos_label=1)
    assert metrics.brier(probability[:, None], truth, draws)[0, 0] == pytest.approx(expected, abs=1e-9)


def test_every_draw_and_label_equals_scikit_learn_on_the_copied_data_set():
    random = np.random.default_rng(0)
    num, num_labels = 120, 3
    scores = random.integers(0, 30, (num, num_labels)) / 30
    labels = (random.random((num, num_labels)) < [0.1, 0.5, 0.9]).astype(float)
    labels[random.random(labels.shape) < 0.15] = np.nan
    patient_ids = np.array([f"p{i}" for i in random.integers(0, 50, num)])
    draws = patient_bootstrap(patient_ids, num_draws=25, seed=3)
    area, precision = metrics.auroc(scores, labels, draws), metrics.auprc(scores, labels, draws)
    f1 = metrics.f1(scores >= 0.4, labels, draws)
    sensitivity = metrics.sensitivity_at_specificity(scores, labels, draws)
    error = metrics.calibration_error(scores, labels, draws)
    for r in range(draws.num_draws):
        copied = np.repeat(np.arange(num), draws.counts[draws.patient, r])
        for k in range(num_labels):
            rows = copied[~np.isnan(labels[copied, k])]
            y, s = labels[rows, k], scores[rows, k]
            assert area[r, k] == pytest.approx(oracle.roc_auc_score(y, s), abs=1e-9)
            assert precision[r, k] == pytest.approx(oracle.average_precision_score(y, s), abs=1e-9)
            assert f1[r, k] == pytest.approx(oracle.f1_score(y, s >= 0.4), abs=1e-9)
            assert sensitivity[r, k] == pytest.approx(best_sensitivity(y, s), abs=1e-9)
            assert error[r, k] == pytest.approx(binned_error(y, s, np.ones(len(y))), abs=1e-9)


def test_points_equal_draw_zero():
    random = np.random.default_rng(1)
    scores = random.integers(0, 9, (60, 4)).astype(float)
    labels = (random.random((60, 4)) < [0.3, 0.7, 0.0, 1.0]).astype(float)
    labels[::7] = np.nan
    draws = patient_bootstrap(np.arange(60), num_draws=1, seed=0)
    np.testing.assert_allclose(
        metrics.auroc_points(scores, labels), metrics.auroc(scores, labels, draws)[0], atol=1e-12
    )
    assert np.isnan(metrics.auroc_points(scores, labels)[2:]).all()
    two_heads = metrics.auroc_points(np.hstack([scores, -scores]), labels)
    np.testing.assert_allclose(two_heads[:4] + two_heads[4:], [1, 1, np.nan, np.nan], atol=1e-12)
    with pytest.raises(ModelError, match="1 of 240 scores"):
        metrics.auroc_points(np.where(np.arange(240).reshape(60, 4) == 9, np.inf, scores), labels)


def test_tuned_threshold_is_the_best_of_all_thresholds():
    random = np.random.default_rng(2)
    scores = random.integers(0, 15, (50, 5)) / 15
    labels = (random.random((50, 5)) < scores * 0.6).astype(float)
    labels[:, 4] = 0
    labels[::9, 0] = np.nan
    tuned = metrics.best_f1_thresholds(scores, labels)
    for k in range(4):
        known = ~np.isnan(labels[:, k])
        y, s = labels[known, k], scores[known, k]
        best = max(oracle.f1_score(y, s >= t, zero_division=0) for t in np.unique(s))
        assert oracle.f1_score(y, s >= tuned[k]) == pytest.approx(best, abs=1e-12)
    assert tuned[4] == 0.5
    halfway = metrics.best_f1_thresholds([[0.9], [0.5], [0.1]], [[1], [1], [0]])
    assert halfway == pytest.approx([0.3])


def test_scores_that_are_not_finite_are_refused():
    draws = patient_bootstrap(np.arange(3), num_draws=1, seed=0)
    with pytest.raises(ModelError, match="1 of 3 scores"):
        metrics.auroc([[0.1], [np.nan], [0.3]], [[0], [1], [1]], draws)


def test_sensitivity_by_hand():
    draws = patient_bootstrap(np.arange(30), num_draws=1, seed=0)
    # twenty negatives at 1 .. 20; at most two may be called positive, so the threshold lies above 18
    scores = np.concatenate([np.arange(1, 21), [18, 18, 18.5, 19, 20, 21, 5, 5, 5, 5]]).astype(float)
    labels = (np.arange(30) >= 20).astype(float)
    assert metrics.sensitivity_at_specificity(scores[:, None], labels[:, None], draws)[0, 0] == pytest.approx(0.4)
    # a third negative at the threshold takes every tied positive with it
    tied = np.where(scores == 18, 18.5, scores)
    assert metrics.sensitivity_at_specificity(tied[:, None], labels[:, None], draws)[0, 0] == pytest.approx(0.3)
    constant = np.zeros((30, 1))
    assert metrics.sensitivity_at_specificity(constant, labels[:, None], draws)[0, 0] == 0


def test_calibration_error_in_closed_form():
    draws = patient_bootstrap(np.arange(10), num_draws=1, seed=0)
    labels = np.array([1, 0, 0, 0, 0, 1, 1, 1, 0, np.nan], float)
    # bin 3 (0.2 .. 0.267): mean 0.22, one of five; bin 13 (0.867 .. 0.933): mean 0.9, three of four
    probabilities = np.array([0.2, 0.2, 0.2, 0.25, 0.25, 0.9, 0.9, 0.9, 0.9, 0.5])
    found = metrics.calibration_error(probabilities[:, None], labels[:, None], draws)[0, 0]
    assert found == pytest.approx((5 * 0.02 + 4 * 0.15) / 9)
    certain = labels[:9, None]
    nine = patient_bootstrap(np.arange(9), num_draws=1, seed=0)
    assert metrics.calibration_error(certain, certain, nine)[0, 0] == 0
    assert metrics.calibration_error(1 - certain, certain, nine)[0, 0] == 1
    with pytest.raises(ValueError, match="probabilities in"):
        metrics.calibration_error(certain * 2, certain, nine)
