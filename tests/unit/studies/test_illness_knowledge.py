"""What is known beyond acuity: planted knowledge is found, acuity alone is worth nothing, nobody asked has taught."""

import numpy as np
import pytest

from pacx.evaluation.statistics.bootstrap import patient_bootstrap
from studies.illness.knowledge import errors_beyond, r2_draws


@pytest.fixture
def patients():
    random = np.random.default_rng(0)
    num = 600
    acuity, hidden = random.random(num), random.standard_normal((num, 2))
    variables = np.stack([np.sin(6 * acuity) + hidden[:, 0], acuity**2 + hidden[:, 1]], axis=1)
    return random, acuity, hidden, variables, np.array([f"p{i}" for i in range(num)])


def r2(features, variables, acuity, ids):
    told, untold = errors_beyond(features, variables, acuity, ids, seed=0)
    return r2_draws(told, untold, patient_bootstrap(ids, num_draws=50, seed=0))


def test_knowledge_is_found_where_it_is_and_not_where_it_is_not(patients):
    random, acuity, hidden, variables, ids = patients
    noisy = hidden[:, :1] + random.standard_normal((len(ids), 1))
    draws = r2(np.concatenate([noisy, random.standard_normal((len(ids), 5))], axis=1), variables, acuity, ids)
    assert draws.shape == (51, 2)
    assert draws[0, 0] == pytest.approx(0.5, abs=0.08)
    assert abs(draws[0, 1]) < 0.03
    assert draws[1:, 0].std() > 0.005


def test_features_that_only_know_acuity_are_worth_nothing(patients):
    _, acuity, _, variables, ids = patients
    known = np.stack([acuity, acuity**2, np.sin(6 * acuity)], axis=1)
    assert np.abs(r2(known, variables, acuity, ids)[0]).max() < 0.03


def test_films_of_a_patient_are_never_on_both_sides(patients):
    _, acuity, hidden, *_ = patients
    ids = np.array([f"p{i // 2}" for i in range(len(acuity))])
    name = np.eye(len(ids) // 2)[np.arange(len(ids)) // 2]  # features that know nothing but whose film it is
    twins = np.repeat(hidden[::2], 2, axis=0)
    draws = r2(name, twins, acuity, ids)
    assert draws[0].max() < 0.03
