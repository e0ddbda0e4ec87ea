"""A classifier's probabilities are calibrated, and its intervals hold what other patients would have given."""

import numpy as np
import pytest

from pacx.core.randomness import sample_keys
from pacx.evaluation.probes.classification import ClassificationData
from pacx.evaluation.probes.classifier import fit_classifier, random_halves, temperature
from pacx.evaluation.probes.linear_heads import LabelledFeatures, LinearHeads, ProbeConfig
from pacx.models.heads.classifier import Classifier

CONFIG = ProbeConfig(epochs=15, learning_rates=(3e-2,), batch_size=64)


def _world(num: int, seed: int, *, slope: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, labels and the true chances of two labels."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((num, 4)).astype(np.float32)
    scores = slope * features[:, :2] + np.array([0.0, -1.0])
    chances = 1 / (1 + np.exp(-scores))
    return features, (rng.random((num, 2)) < chances).astype(np.float32), chances


def _data(labels: np.ndarray, *, num_training: int, is_multiclass: bool = False) -> ClassificationData:
    ids = [f"p{number // 2}" for number in range(len(labels))]  # two films each
    rows = np.arange(len(labels))
    return ClassificationData(
        dataset="made-up",
        label_names=tuple("ab"[: labels.shape[1]]) if labels.shape[1] < 3 else ("a", "b", "c"),
        labels=labels,
        patient_ids=np.array(ids, object),
        keys=sample_keys([f"f{number}" for number in rows]),
        training=rows[:num_training],
        validation=rows[num_training:-2],
        test=rows[-2:],
        is_multiclass=is_multiclass,
    )


def test_halves_are_of_patients_and_half_of_them() -> None:
    patients = np.array(["a", "a", "b", "c", "c", "c", "d"], object)
    halves = random_halves(patients, 200, seed=3)
    for name in "abcd":
        rows = halves[:, patients == name]
        assert (rows == rows[:, :1]).all(), "a patient is never divided"
    each = np.stack([halves[:, np.flatnonzero(patients == name)[0]] for name in "abcd"], axis=1)
    assert (each.sum(axis=1) == 2).all()
    assert len(np.unique(each, axis=0)) == 6, "every pair of patients turns up"
    assert np.array_equal(halves, random_halves(patients, 200, seed=3))
    assert not np.array_equal(halves, random_halves(patients, 200, seed=4))


def test_intervals_vary_as_the_probability_does_over_new_training_patients() -> None:
    """The oracle: fit to forty fresh sets of patients, and look how far the probability really moves."""
    films = np.random.default_rng(99).standard_normal((40, 4)).astype(np.float32)
    fresh, widths = [], []
    for seed in range(40):
        features, labels, _ = _world(460, seed)
        data = _data(labels, num_training=300)
        fitted = fit_classifier(data, features, config=CONFIG, num_halves=40 if seed < 5 else 2)
        predicted = fitted.predict(films)
        fresh.append(predicted[..., 1])
        if seed < 5:
            widths.append(predicted[..., 2] - predicted[..., 0])
    really = np.subtract(*np.quantile(fresh, (0.975, 0.025), axis=0))
    ratio = np.mean(widths) / really.mean()
    assert 0.7 < ratio < 1.2, ratio  # 0.85 measured: the validation patients stay the same for every half


def test_the_interval_holds_the_probability_and_is_ordered() -> None:
    features, labels, _ = _world(200, 0)
    fitted = fit_classifier(_data(labels, num_training=120), features, config=CONFIG, num_halves=10)
    predicted = fitted.predict(features)
    assert predicted.shape == (200, 2, 3)
    assert (np.diff(predicted, axis=2) >= 0).all()
    assert ((predicted >= 0) & (predicted <= 1)).all()
    assert np.array_equal(predicted[..., 1], fitted.probabilities(features)[0])
    assert "120 films of 60 patients of made-up" in fitted.fitted_on


def _cross_entropy(scores: np.ndarray, labels: np.ndarray) -> float:
    chance = 1 / (1 + np.exp(-scores))
    return float(-np.nanmean(labels * np.log(chance) + (1 - labels) * np.log(1 - chance)))


def test_temperature_undoes_overconfidence() -> None:
    features, labels, _ = _world(4000, 1)
    labels[::7, 0] = np.nan
    weight = np.zeros((4, 2))
    weight[:2] = 3 * np.eye(2)
    heads = LinearHeads.of_one_fit(weight, 3 * np.array([0.0, -1.0]), is_multiclass=False)
    validation = LabelledFeatures(features=features, labels=labels, keys=sample_keys([str(n) for n in range(4000)]))
    (found,) = temperature(heads, validation)
    assert found == pytest.approx(3.0, rel=0.1)
    scores = features @ weight + 3 * np.array([0.0, -1.0])
    grid = np.linspace(2, 4, 401)
    best = grid[np.argmin([_cross_entropy(scores / each, labels) for each in grid])]
    assert found == pytest.approx(best, abs=0.01)


def test_classes_that_exclude_each_other_sum_to_one() -> None:
    rng = np.random.default_rng(2)
    features = rng.standard_normal((240, 3)).astype(np.float32)
    labels = np.eye(3, dtype=np.float32)[(features + rng.gumbel(size=(240, 3))).argmax(axis=1)]
    fitted = fit_classifier(_data(labels, num_training=160, is_multiclass=True), features, config=CONFIG, num_halves=4)
    chances = fitted.probabilities(features)
    np.testing.assert_allclose(chances.sum(axis=2), 1, rtol=1e-12)
    assert (chances[0].argmax(axis=1) == labels.argmax(axis=1)).mean() > 0.5


def test_far_scores_are_certain_and_not_undefined() -> None:
    sure = Classifier(
        labels=("a",),
        weight=np.full((2, 1, 1), 1e4, np.float32),
        bias=np.zeros((2, 1), np.float32),
        is_multiclass=False,
        level=0.95,
        fitted_on="",
    )
    assert sure.predict(np.array([[1.0], [-1.0]], np.float32))[:, 0].tolist() == [[1.0] * 3, [0.0] * 3]
