"""Shortcut rows against scikit-learn on films altered by hand; age and sex against its logistic regression."""

import copy

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from pacx.core.errors import DataError
from pacx.core.randomness import sample_keys
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.embeddings import embed_pack
from pacx.evaluation.evidence.alterations import BorderOnly, MaskHidden
from pacx.evaluation.evidence.shortcuts import AGE_AND_SEX, age_and_sex, fit_logistic, shortcuts
from pacx.evaluation.probes.classification import ClassificationData
from pacx.evaluation.probes.linear_heads import ProbeConfig
from pacx.evaluation.probes.linear_probe import linear_probe, train_probes

CONFIG = ProbeConfig(epochs=20, learning_rates=(0.03,), num_seeds=2, standardize=True)


@pytest.fixture(scope="module")
def aged(pack):
    """The pack with ages and sexes, some of them unknown."""
    random = np.random.default_rng(1)
    other = copy.copy(pack)
    ages = np.where(random.random(len(pack)) < 0.1, np.nan, random.normal(60, 15, len(pack)) + 20 * pack.labels[:, 0])
    other.table = pack.table.assign(age=ages, sex=random.choice(["F", "M", ""], len(pack)))
    return other


@pytest.fixture(scope="module")
def rows(aged, encoders):
    data = ClassificationData.from_pack(aged, dataset="discs")
    alterations = (BorderOnly(grey=0.3), MaskHidden(aged, "heart", 0.3))
    found = shortcuts(
        aged,
        data,
        encoders,
        alterations,
        Comparison(dataset=data.dataset, provenance="here", num_draws=100),
        config=CONFIG,
    )
    return {(row.name, row.label, row.metric): row for row in found}


def test_one_probe_trained_on_plain_films_is_put_before_all_others(aged, encoders, rows):
    data = ClassificationData.from_pack(aged, dataset="discs")
    plain = embed_pack(encoders["pacx"], aged)
    heads = train_probes(data, plain, config=CONFIG)
    truth = data.labels[data.test, 0]
    for alteration in (BorderOnly(grey=0.3), MaskHidden(aged, "heart", 0.3)):
        altered = embed_pack(encoders["pacx"], aged, rows=data.test, alter=alteration)
        expected = np.mean([roc_auc_score(truth, each[:, 0]) for each in heads.probabilities(altered)])
        name = f"pacx ({alteration.name})"
        assert rows[name, "big", "auroc"].value == pytest.approx(expected, abs=1e-9)
        difference = rows[f"{name} - pacx", "big", "auroc_difference"]
        assert difference.value == pytest.approx(expected - rows["pacx", "big", "auroc"].value, abs=1e-9)
        assert difference.ci_low <= difference.value <= difference.ci_high
    assert rows["pacx (border only)", "big", "auroc"].value < rows["pacx", "big", "auroc"].value - 0.05


def test_plain_rows_are_those_of_the_linear_probe(aged, encoders, rows):
    data = ClassificationData.from_pack(aged, dataset="discs")
    features = {name: embed_pack(encoder, aged) for name, encoder in encoders.items()}
    probe = linear_probe(
        data, features, Comparison(dataset=data.dataset, provenance="here", num_draws=100), config=CONFIG
    )
    for row in probe:
        found = rows[row.name, row.label, row.metric]
        assert (found.value, found.ci_low, found.ci_high) == (row.value, row.ci_low, row.ci_high)
        assert found.protocol == "shortcut"


def test_age_and_sex_alone_are_scored_and_compared(aged, rows):
    data = ClassificationData.from_pack(aged, dataset="discs")
    described = age_and_sex(aged.table)
    model = LogisticRegression(max_iter=1000).fit(described[data.training], data.labels[data.training, 0])
    expected = roc_auc_score(data.labels[data.test, 0], model.predict_proba(described[data.test])[:, 1])
    found = rows[AGE_AND_SEX, "big", "auroc"].value
    assert found == pytest.approx(expected, abs=1e-6)
    assert found > 0.6, "sicker people are older here"
    difference = rows[f"pacx - {AGE_AND_SEX}", "big", "auroc_difference"].value
    assert difference == pytest.approx(rows["pacx", "big", "auroc"].value - found, abs=1e-9)


def test_age_and_sex_are_read_from_what_tables_hold():
    table = pd.DataFrame({"age": ["70", "", None, "45.5"], "sex": ["female", "M", None, "m"]})
    expected = [[2, 0, 1, 0], [0, 1, 0, 0], [0, 1, 0, 1], [-0.45, 0, 0, 0]]
    np.testing.assert_allclose(age_and_sex(table), expected, atol=1e-6)
    with pytest.raises(DataError, match="no column age and sex"):
        age_and_sex(pd.DataFrame({"view": ["PA"]}))
    with pytest.raises(DataError, match="no age and no sex"):
        age_and_sex(pd.DataFrame({"age": [""], "sex": ["?"]}))


def test_a_label_of_one_class_says_nothing(aged):
    data = ClassificationData.from_pack(aged, dataset="discs")
    constant = copy.copy(data)
    object.__setattr__(constant, "labels", np.zeros_like(data.labels))
    heads = fit_logistic(age_and_sex(aged.table), constant)
    assert not heads.weight.any()


def test_films_of_unknown_class_train_nothing_and_are_counted(capsys):
    """Three classes, told by one number; the films of unknown class are unlike their neighbours of class 0."""
    random = np.random.default_rng(0)
    number = np.arange(90)
    classes = number % 3
    features = (classes[:, None] + 0.2 * random.normal(size=(90, 1))).astype(np.float32)
    labels = np.eye(3, dtype=np.float32)[classes]
    labels[number >= 78] = np.nan
    features[number >= 78] = 2.0  # where class 2 is
    split = np.where(number < 60, 0, np.where(number < 69, 1, np.where(number < 78, 2, 0)))
    data = ClassificationData(
        dataset="classes",
        label_names=("a", "b", "c"),
        labels=labels,
        patient_ids=np.array([f"p{i}" for i in number], object),
        keys=sample_keys([str(i) for i in number]),
        training=np.flatnonzero(split == 0),
        validation=np.flatnonzero(split == 1),
        test=np.flatnonzero(split == 2),
        is_multiclass=True,
    )
    heads = fit_logistic(features, data)
    assert "12 of 72 training films of classes have no known class" in capsys.readouterr().err
    kept = data.training[number[data.training] < 60]
    for k in range(3):  # one regression per class against the rest, by scikit-learn on the known films
        model = LogisticRegression(max_iter=1000).fit(features[kept], classes[kept] == k)
        assert heads.weight[0, 0, k] == pytest.approx(model.coef_[0, 0], abs=1e-4)
        assert heads.bias[0, k] == pytest.approx(model.intercept_[0], abs=1e-4)
    probabilities = heads.probabilities(features[data.test])[0]
    assert (probabilities.argmax(axis=1) == classes[data.test]).mean() > 0.9
