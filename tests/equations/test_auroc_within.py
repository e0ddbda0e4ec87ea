"""AUROC within strata against counting every pair of every draw; the stratum itself is worth nothing there."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacx.core.errors import ModelError
from pacx.evaluation.statistics.bootstrap import PatientDraws, patient_bootstrap
from pacx.evaluation.statistics.metrics import auroc, auroc_within


def counted(scores, labels, strata, weights):
    """Every pair of a positive and a negative of one stratum, one by one."""
    won = met = 0.0
    for i in np.flatnonzero(labels == 1):
        for j in np.flatnonzero(labels == 0):
            if strata[i] == strata[j]:
                met += weights[i] * weights[j]
                won += weights[i] * weights[j] * ((scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j]))
    return won / met if met else np.nan


@st.composite
def case(draw):
    num = draw(st.integers(1, 30))

    def numbers(values):
        return np.array(draw(st.lists(values, min_size=num, max_size=num)))

    labels = numbers(st.sampled_from([0.0, 1.0, 1.0, np.nan]))
    return numbers(st.integers(0, 8)) / 7, labels, numbers(st.integers(-2, 3)), numbers(st.integers(0, 3))


@settings(max_examples=200)
@given(case())
def test_it_counts_the_pairs_of_each_stratum(drawn):
    scores, labels, strata, weights = drawn
    draws = PatientDraws(patient=np.arange(len(scores)), counts=np.stack([np.ones(len(scores)), weights], axis=1))
    found = auroc_within(scores[:, None], labels[:, None], strata, draws)[:, 0]
    expected = [counted(scores, labels, strata, each) for each in (np.ones(len(scores)), weights)]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.fixture
def drawn():
    random = np.random.default_rng(0)
    num = 150
    scores = random.integers(0, 40, (num, 3)) / 40
    labels = (random.random((num, 3)) < [0.1, 0.5, 0.9]).astype(float)
    labels[random.random(labels.shape) < 0.1] = np.nan
    draws = patient_bootstrap(random.integers(0, 60, num), num_draws=20, seed=1)
    return scores, labels, random.integers(0, 10, num), draws


def test_every_draw_and_label_equals_counting_in_the_copied_data_set(drawn):
    scores, labels, strata, draws = drawn
    found = auroc_within(scores, labels, strata, draws)
    for r in range(draws.num_draws):
        weights = draws.counts[draws.patient, r].astype(float)
        for k in range(3):
            assert found[r, k] == pytest.approx(counted(scores[:, k], labels[:, k], strata, weights), abs=1e-12)


def test_with_one_stratum_it_is_the_auroc(drawn):
    scores, labels, strata, draws = drawn
    np.testing.assert_array_equal(
        auroc_within(scores, labels, np.zeros(len(strata)), draws), auroc(scores, labels, draws)
    )


def test_a_score_that_only_knows_the_stratum_is_worth_nothing():
    random = np.random.default_rng(2)
    strata = random.integers(0, 10, 2000)
    labels = (random.random(2000) < strata / 10).astype(float)[:, None]
    draws = patient_bootstrap(np.arange(2000), num_draws=5, seed=0)
    assert auroc(strata[:, None], labels, draws)[0, 0] > 0.75
    assert (auroc_within(strata[:, None], labels, strata, draws) == 0.5).all()


def test_a_stratum_without_both_classes_is_left_out_and_none_with_both_is_nan():
    draws = patient_bootstrap(np.arange(4), num_draws=1, seed=0)
    scores, labels = np.array([[0.1], [0.9], [0.2], [0.3]]), np.array([[0.0], [1.0], [1.0], [1.0]])
    assert auroc_within(scores, labels, [0, 0, 1, 1], draws)[0, 0] == 1.0
    assert np.isnan(auroc_within(scores, labels, [0, 1, 1, 1], draws)[0, 0])


def test_it_refuses_what_cannot_be_ranked_and_strata_of_others():
    draws = patient_bootstrap(np.arange(2), num_draws=1, seed=0)
    labels = np.array([[0.0], [1.0]])
    with pytest.raises(ModelError, match="1 of 2 scores are NaN"):
        auroc_within([[np.nan], [1.0]], labels, [0, 0], draws)
    with pytest.raises(ValueError, match="one per sample"):
        auroc_within([[0.0], [1.0]], labels, [0, 0, 0], draws)
