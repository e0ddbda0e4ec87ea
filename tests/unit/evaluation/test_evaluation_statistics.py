"""Bootstrap: whole patients, honest coverage, paired differences, macro averages that name what they miss."""

import numpy as np
import pytest

from pacx.core.errors import DataError, UsageError
from pacx.evaluation.statistics.bootstrap import (
    RowMaker,
    interval,
    macro_average,
    mean_over_seeds,
    patient_bootstrap,
    with_differences,
)
from pacx.evaluation.statistics.metrics import auroc


def test_draws_are_of_whole_patients_and_begin_with_the_test_set():
    draws = patient_bootstrap(["b", "a", "b", "c"], num_draws=50, seed=1)
    assert (draws.counts[:, 0] == 1).all()
    assert (draws.counts.sum(axis=0) == 3).all()
    np.testing.assert_array_equal(draws.patient, [1, 0, 1, 2])
    again = patient_bootstrap(["b", "a", "b", "c"], num_draws=50, seed=1)
    np.testing.assert_array_equal(draws.counts, again.counts)
    assert (draws.counts != patient_bootstrap(["b", "a", "b", "c"], num_draws=50, seed=2).counts).any()
    with pytest.raises(DataError, match="test split is empty"):
        patient_bootstrap([], seed=0)


def coverage_of_the_mean(ids_of, num_trials=700):
    """How often the interval holds the true mean 0 when patients differ and films of a patient hardly do."""
    random = np.random.default_rng(5)
    patients = np.repeat(np.arange(150), 1 + np.arange(150) % 4)  # one to four films each
    hits = 0
    for trial in range(num_trials):
        values = random.normal(size=150)[patients] + 0.3 * random.normal(size=len(patients))
        draws = patient_bootstrap(ids_of(patients), num_draws=400, seed=trial)
        found = interval(draws.weighted_mean(values[:, None])[:, 0])
        hits += found.low <= 0 <= found.high
    return hits / num_trials


def test_interval_covers_the_truth_as_often_as_it_says():
    assert coverage_of_the_mean(lambda patients: patients) == pytest.approx(0.95, abs=0.02)
    # the trap: films drawn one by one claim a certainty that is not there
    assert coverage_of_the_mean(lambda patients: np.arange(len(patients)), num_trials=100) < 0.85


def coverage_of_the_area(films_per_patient, num_trials=700):
    """How often the interval holds the area of normal scores one standard deviation apart, Phi(1 / sqrt 2)."""
    random = np.random.default_rng(6)
    truth = 0.7602499389
    patients = np.repeat(np.arange(160), films_per_patient)
    hits = 0
    for trial in range(num_trials):
        of_patient, of_film = random.normal(size=160)[patients], random.normal(size=len(patients))
        share = 0.7 if films_per_patient > 1 else 0.0  # of the variance that a patient's films have in common
        labels = (np.arange(160) % 3 == 0).astype(float)[patients]
        scores = np.sqrt(share) * of_patient + np.sqrt(1 - share) * of_film + labels
        draws = patient_bootstrap(patients, num_draws=400, seed=trial)
        found = interval(auroc(scores[:, None], labels[:, None], draws)[:, 0])
        hits += found.low <= truth <= found.high
    return hits / num_trials


@pytest.mark.parametrize("films_per_patient", [1, 3])
def test_auroc_interval_covers_the_known_area(films_per_patient):
    assert coverage_of_the_area(films_per_patient) == pytest.approx(0.95, abs=0.02)


def test_paired_difference_is_narrower_than_either_interval():
    random = np.random.default_rng(7)
    labels = (random.random(400) < 0.3).astype(float)
    shared_part = random.normal(size=400) + labels
    scores = [shared_part + 0.1 * random.normal(size=400), shared_part + 0.1 * random.normal(size=400)]
    draws = patient_bootstrap(np.arange(400), num_draws=500, seed=0)
    first, second = (auroc(s[:, None], labels[:, None], draws)[:, 0] for s in scores)
    maker = RowMaker(protocol="p", dataset="d", seed=0, provenance="x")
    *_, column = with_differences({"a": first, "b": second}, "auroc", "b")
    row = maker.row(column, column.draws, label="l", n=400)
    assert (row.name, row.metric) == ("a - b", "auroc_difference")
    assert row.value == pytest.approx(first[0] - second[0])
    alone = interval(first)
    assert row.ci_high - row.ci_low < (alone.high - alone.low) / 3


def test_unknown_baseline_is_refused():
    with pytest.raises(UsageError, match="baseline 'mae' is not among"):
        with_differences({"pacx": np.zeros(2)}, "auroc", "mae")


def test_seeds_widen_the_interval_and_keep_the_value():
    random = np.random.default_rng(8)
    over_patients = random.normal(size=(1, 2001, 1)) * 0.01
    over_patients[:, 0] = 0
    per_seed = over_patients + np.array([-0.1, -0.05, 0.0, 0.05, 0.1])[:, None, None]
    pooled = mean_over_seeds(per_seed, seed=1)
    assert pooled[0, 0] == pytest.approx(0)
    wide, narrow = interval(pooled[:, 0]), interval(over_patients[0, :, 0])
    # seeds: sample sd .0791 over sqrt(5) = .0354, times Student's 2.776 = .0982; patients 1.96 x .01 = .0196
    assert wide.high - wide.low == pytest.approx(2 * np.hypot(0.0982, 0.0196), abs=0.015)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    np.testing.assert_allclose(mean_over_seeds(over_patients, seed=1), over_patients[0])


@pytest.mark.parametrize("num_seeds", [3, 5])
@pytest.mark.parametrize("share_of_patients", [0.0, 0.5])
def test_an_interval_over_few_seeds_holds_as_often_as_it_says(num_seeds: int, share_of_patients: float):
    random = np.random.default_rng(num_seeds)
    patient_sd = np.sqrt(share_of_patients / num_seeds)
    held = []
    for repetition in range(400):
        of_patients = random.normal() * patient_sd + random.normal(size=(1, 401, 1)) * patient_sd
        found = interval(mean_over_seeds(random.normal(size=(num_seeds, 1, 1)) + of_patients, seed=repetition)[:, 0])
        held.append(found.low <= 0 <= found.high)
    assert 0.91 <= np.mean(held) <= 1.0, "a plain bootstrap holds 0.75 and 0.83 of the time"


def test_macro_average_names_what_it_leaves_out():
    labels = np.array([[1, 0, np.nan], [0, 0, 1], [1, 0, 1]], float)
    draws = np.array([[0.5, 0.9, 0.9], [0.7, np.nan, np.nan], [np.nan, np.nan, np.nan]])
    macro = macro_average(draws, labels, ["effusion", "hernia", "mass"])
    np.testing.assert_allclose(macro.draws, [0.5, 0.7, np.nan])
    assert macro.undefined == ("hernia", "mass")
    assert "hernia, mass" in macro.remark
    assert macro_average(draws[:, :1], labels[:, :1], ["effusion"]).remark == ""


def test_interval_of_nothing_is_nothing():
    assert np.isnan(interval(np.array([np.nan, 1.0, 2.0]))).sum() == 2 + 1
    found = interval(np.array([0.5, np.nan, np.nan]))
    assert found.value == 0.5
    assert np.isnan(found.low)
