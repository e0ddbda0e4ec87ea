"""Neighbours, logistic regression and the authors' probe: against slow oracles, with the rows of the linear probe."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from pacx.core.errors import DataError, ModelError, UsageError
from pacx.core.randomness import sample_keys
from pacx.data.augment import to_input
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.embeddings import embed_pack, mirrored
from pacx.evaluation.probes.classification import ClassificationData
from pacx.evaluation.probes.linear_heads import ProbeConfig
from pacx.evaluation.probes.linear_probe import linear_probe, released_code_probe
from pacx.evaluation.probes.logistic import LogisticConfig, fit_logistic, logistic_regression, train_logistic
from pacx.evaluation.probes.neighbours import NeighbourConfig, nearest_neighbours, neighbour_probabilities
from pacx.models.vit import pooled

NUM = 360


def cohort(*, is_multiclass=False, num_classes=3):
    """Two encoders of one cohort, one of them half blind; the labels are linear in the clear one, with noise."""
    random = np.random.default_rng(0)
    clear = random.normal(size=(NUM, 8)).astype(np.float32)
    blurred = clear + 1.5 * random.normal(size=clear.shape).astype(np.float32)
    scores = clear @ random.normal(size=(8, num_classes)) + random.normal(size=(NUM, num_classes))
    labels = (scores > 1).astype(np.float32)
    if is_multiclass:
        labels = np.eye(num_classes, dtype=np.float32)[scores.argmax(axis=1)]
    data = ClassificationData(
        dataset="cohort",
        label_names=tuple("abc"[:num_classes]),
        labels=labels,
        patient_ids=np.array([f"p{i // 6}-{i % 3}" for i in range(NUM)], object),
        keys=sample_keys([f"film-{i}" for i in range(NUM)]),
        training=np.flatnonzero(np.arange(NUM) % 3 == 0),
        validation=np.flatnonzero(np.arange(NUM) % 3 == 1),
        test=np.flatnonzero(np.arange(NUM) % 3 == 2),
        is_multiclass=is_multiclass,
    )
    return data, {"mae": blurred, "pacx": clear}


def keys_of(rows):
    return {(row.name, row.label, row.metric) for row in rows}


def test_neighbours_equal_a_loop_over_films():
    data, features = cohort()
    labels = data.labels.copy()
    labels[::5, 1] = np.nan
    training = replace(data, labels=labels).part(features["pacx"], data.training)
    queries = features["pacx"][data.test][:30]
    config = NeighbourConfig(neighbours=(1, 7, 1000))
    found = neighbour_probabilities(training, queries, config)
    for q, query in enumerate(queries.astype(np.float64)):
        stored = training.features.astype(np.float64)
        cosine = stored @ query / np.linalg.norm(stored, axis=1) / np.linalg.norm(query)
        nearest = np.argsort(-cosine)
        for number, k in enumerate((1, 7, len(stored))):
            for label in range(3):
                votes = [i for i in nearest[:k] if not np.isnan(training.labels[i, label])]
                weight = np.exp(cosine[votes] / 0.07)
                expected = (
                    np.average(training.labels[votes, label], weights=weight)
                    if votes
                    else np.nanmean(training.labels[:, label])
                )
                assert found[number, q, label] == pytest.approx(expected, abs=1e-4)
    assert ((found >= 0) & (found <= 1)).all()


def test_neighbours_of_classes_give_probabilities():
    data, features = cohort(is_multiclass=True)
    training = data.part(features["pacx"], data.training)
    found = neighbour_probabilities(training, features["pacx"][data.test], NeighbourConfig())
    assert found.sum(axis=2) == pytest.approx(1)
    assert roc_auc_score(data.labels[data.test], found[1]) > 0.75


def test_logistic_regression_is_the_optimum():
    data, features = cohort()
    labels = data.labels.copy()
    labels[::7, 0] = np.nan
    labels[:, 2] = 0
    training = replace(data, labels=labels).part(features["pacx"], data.training)
    weight, bias = fit_logistic(training, strength=0.05, is_multiclass=False, max_iterations=1000)
    raw = training.features.astype(np.float64)
    mean, scale = raw.mean(axis=0), raw.std(axis=0)
    for k in range(2):
        known = ~np.isnan(training.labels[:, k])
        scaled, truth = ((raw - mean) / scale)[known], training.labels[known, k]

        def loss(theta, scaled=scaled, truth=truth):
            logits = scaled @ theta[:-1] + theta[-1]
            return theta[:-1] @ theta[:-1] / 2 + 0.05 * (np.logaddexp(0, logits) - truth * logits).sum()

        best = minimize(loss, np.zeros(9), method="BFGS", options={"gtol": 1e-8}).x
        np.testing.assert_allclose(weight[:, k] * scale, best[:-1], atol=2e-3)
        assert bias[k] + mean @ weight[:, k] == pytest.approx(best[-1], abs=2e-3)
    assert not weight[:, 2].any()
    assert expit(bias[2]) == pytest.approx(1e-3)  # never seen, nearly never said


@pytest.mark.parametrize("present", [(0, 1, 2), (0, 2)])
def test_logistic_regression_over_classes(present):
    data, features = cohort(is_multiclass=True)
    chosen = data.training[np.isin(data.labels[data.training].argmax(axis=1), present)]
    data = replace(data, training=chosen)
    config = LogisticConfig(strengths=(1.0,))
    probabilities = train_logistic(data, features["pacx"], config).heads.probabilities(features["pacx"][data.test])[0]
    raw = features["pacx"][chosen].astype(np.float64)
    mean, scale = raw.mean(axis=0), raw.std(axis=0)
    oracle = LogisticRegression(C=1.0, max_iter=2000, tol=1e-8)
    oracle.fit((raw - mean) / scale, data.labels[chosen].argmax(axis=1))
    expected = oracle.predict_proba((features["pacx"][data.test] - mean) / scale)
    np.testing.assert_allclose(probabilities[:, list(present)], expected, atol=2e-3)
    assert probabilities.sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize(
    ("protocol", "config", "name"),
    [
        (nearest_neighbours, NeighbourConfig(neighbours=(1, 20)), "knn"),
        (logistic_regression, LogisticConfig(strengths=(1e-3, 1e-1)), "logistic"),
    ],
)
def test_rows_have_the_shape_of_the_probe(protocol, config, name):
    data, features = cohort()
    comparison = Comparison(dataset=data.dataset, baseline="mae", provenance="here", num_draws=60)
    rows = protocol(data, features, comparison, config=config)
    probe = linear_probe(
        data,
        features,
        Comparison(dataset=data.dataset, baseline="mae", num_draws=5),
        config=ProbeConfig(epochs=2, num_seeds=1),
    )
    assert {row.protocol for row in rows} == {name}
    assert keys_of(rows) == keys_of(probe)
    area = next(row for row in rows if (row.name, row.label, row.metric) == ("pacx - mae", "macro", "auroc_difference"))
    assert area.ci_low > 0
    assert "by validation AUROC: mae" in area.provenance
    assert area.provenance.startswith("here; ")


def test_released_code_mirrors_and_decays():
    data, features = cohort()
    config = ProbeConfig(epochs=4, num_seeds=2, learning_rates=(0.02,))
    common = {"comparison": Comparison(dataset=data.dataset, num_draws=5), "config": config}
    mirrored = {name: array[:, ::-1].copy() for name, array in features.items()}
    paper = {(r.name, r.label, r.metric): r.value for r in linear_probe(data, features, **common)}
    same = released_code_probe(data, features, features, **common)
    other = released_code_probe(data, features, mirrored, **common)
    assert {row.protocol for row in same} == {"linear-probe-released-code"}
    assert keys_of(same) == set(paper)
    of_same, of_other = ({(r.name, r.label, r.metric): r.value for r in rows} for rows in (same, other))
    where = ("pacx", "macro", "brier")
    assert of_same[where] != paper[where]
    # films whose mirror image says something else are learnt less well
    assert of_other["pacx", "macro", "auroc"] < of_same["pacx", "macro", "auroc"] - 0.02


def test_mirrored_films_are_embedded_mirrored(pack, encoders):
    encoder = encoders["mae"]
    found = embed_pack(encoder, pack, rows=np.arange(3), alter=mirrored)
    images = torch.from_numpy(pack.images[:3, :, ::-1].copy())
    with torch.inference_mode():
        expected = pooled(encoder.vit.eval(), to_input(images, pack.preprocessing), encoder.pooling).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    plain = embed_pack(encoder, pack, rows=np.arange(3))
    assert np.abs(found - plain).max() > 1e-3


def test_what_cannot_be_fitted_is_refused():
    data, features = cohort(is_multiclass=True)
    comparison = Comparison(dataset=data.dataset, num_draws=5)
    single = replace(data, training=data.training[data.labels[data.training, 0] == 1])
    with pytest.raises(DataError, match="all training films are of one class"):
        logistic_regression(single, features, comparison, config=LogisticConfig())
    blind = replace(data, validation=data.validation[:1], labels=np.ones_like(data.labels), is_multiclass=False)
    for protocol, config in ((nearest_neighbours, NeighbourConfig()), (logistic_regression, LogisticConfig())):
        with pytest.raises(DataError, match="nothing can be chosen by AUROC"):
            protocol(blind, features, comparison, config=config)
        damaged = {"pacx": np.where(np.arange(8) == 3, np.nan, features["pacx"]).astype(np.float32)}
        with pytest.raises(ModelError, match="embeddings hold NaN"):
            protocol(data, damaged, comparison, config=config)
        with pytest.raises(DataError, match="embed the whole pack"):
            protocol(data, {"pacx": features["pacx"][:-1]}, comparison, config=config)
    with pytest.raises(UsageError, match="expected numbers from 1"):
        NeighbourConfig(neighbours=(0,))
    with pytest.raises(UsageError, match="at least one above 0"):
        LogisticConfig(strengths=())
