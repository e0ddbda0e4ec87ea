"""Bad input to the probes: each case is either one clear error or a stated behaviour, never a silent number."""

from dataclasses import replace

import numpy as np
import pytest

from pacx.core.errors import DataError, ModelError
from pacx.core.randomness import sample_keys
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.probes.classification import ClassificationData
from pacx.evaluation.probes.linear_heads import ProbeConfig
from pacx.evaluation.probes.linear_probe import linear_probe
from pacx.evaluation.probes.logistic import LogisticConfig, logistic_regression
from pacx.evaluation.probes.low_data import low_data
from pacx.evaluation.probes.neighbours import NeighbourConfig, nearest_neighbours

NUM = 240
PROTOCOLS = [
    (linear_probe, ProbeConfig(epochs=3, num_seeds=2)),
    (low_data, ProbeConfig(epochs=3, num_seeds=2)),
    (nearest_neighbours, NeighbourConfig(neighbours=(5,))),
    (logistic_regression, LogisticConfig(strengths=(0.01,))),
]
each_protocol = pytest.mark.parametrize(
    ("protocol", "config"), PROTOCOLS, ids=lambda value: getattr(value, "__name__", "")
)


def cohort(num_classes=3, *, is_multiclass=False):
    random = np.random.default_rng(0)
    features = random.normal(size=(NUM, 6)).astype(np.float32)
    scores = features @ random.normal(size=(6, num_classes)) + random.normal(size=(NUM, num_classes))
    labels = np.eye(num_classes)[scores.argmax(axis=1)] if is_multiclass else scores > 0.5
    split = np.arange(NUM) % 3
    data = ClassificationData(
        dataset="cohort",
        label_names=tuple(f"label {k}" for k in range(num_classes)),
        labels=labels.astype(np.float32),
        patient_ids=np.array([f"p{i // 3}-{i % 3}" for i in range(NUM)], object),
        keys=sample_keys([str(i) for i in range(NUM)]),
        training=np.flatnonzero(split == 0),
        validation=np.flatnonzero(split == 1),
        test=np.flatnonzero(split == 2),
        is_multiclass=is_multiclass,
    )
    return data, features


def run(protocol, config, data, features, baseline=None):
    rows = protocol(data, features, Comparison(dataset=data.dataset, baseline=baseline, num_draws=20), config=config)
    return {(row.name, row.label, row.metric): row for row in rows if row.fraction == 1}


@each_protocol
@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize("split", ["training", "validation", "test"])
def test_a_label_constant_in_a_split(protocol, config, split, value):
    data, features = cohort()
    labels = data.labels.copy()
    labels[getattr(data, split), 1] = value
    table = run(
        protocol, config, replace(data, labels=labels), {"mae": features, "pacx": features[:, ::-1].copy()}, "mae"
    )
    row, macro = table["pacx", "label 1", "auroc"], table["pacx", "macro", "auroc"]
    p_value = table["pacx - mae", "label 1", "auroc_difference_p"]
    others = [table["pacx", label, "auroc"].value for label in ("label 0", "label 2")]
    if split == "test":  # cannot be scored: undefined, left out by name
        assert np.isnan(row.value)
        assert np.isnan(p_value.value)
        assert "not evaluable on this test set: label 1" in macro.provenance
        assert macro.value == pytest.approx(np.mean(others))
    else:  # can be scored, however little was learnt; the checkpoint is chosen on the other labels
        assert 0 <= row.value <= 1
        assert macro.value == pytest.approx(np.mean([row.value, *others]))


@each_protocol
def test_no_label_that_validation_can_judge(protocol, config):
    data, features = cohort()
    labels = data.labels.copy()
    labels[data.validation] = 0
    with pytest.raises(DataError, match=r"no label of the validation split .*has both a positive and a negative"):
        run(protocol, config, replace(data, labels=labels), {"pacx": features})


@each_protocol
def test_fewer_films_than_classes(protocol, config):
    data, features = cohort(5, is_multiclass=True)
    few = np.concatenate([np.flatnonzero(data.labels[data.training, k])[:1] for k in (1, 3)])
    table = run(protocol, config, replace(data, training=data.training[few]), {"pacx": features})
    assert 0 <= table["pacx", "macro", "auroc"].value <= 1  # three classes were never seen and are scored all the same
    probability_of_error = table["pacx", "macro", "f1"].value
    assert 0 <= probability_of_error < 1


@each_protocol
def test_one_training_film(protocol, config):
    data, features = cohort()
    table = run(protocol, config, replace(data, training=data.training[:1]), {"pacx": features})
    assert 0 <= table["pacx", "macro", "auroc"].value <= 1


@each_protocol
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_damaged_embeddings(protocol, config, value):
    data, features = cohort()
    for rows in (data.training, data.test):
        damaged = features.copy()
        damaged[rows[0], 2] = value
        with pytest.raises(ModelError, match="NaN or infinit"):
            run(protocol, config, data, {"pacx": damaged})


@each_protocol
def test_embeddings_of_another_pack(protocol, config):
    data, features = cohort()
    with pytest.raises(DataError, match="239 embeddings for 240 images of cohort; embed the whole pack"):
        run(protocol, config, data, {"mae": features, "pacx": features[:-1]})


def test_a_pack_without_the_expected_labels(pack):
    data = ClassificationData.from_pack(pack, dataset="discs", label_names=("big",))
    assert data.label_names == ("big",)
    with pytest.raises(DataError, match=r"discs has no labels \['Edema', 'Mass'\]; it has \['big'\]"):
        ClassificationData.from_pack(pack, dataset="discs", label_names=("Edema", "big", "Mass"))


def test_a_film_of_two_classes_and_a_pack_without_labels():
    data, _ = cohort(is_multiclass=True)
    labels = data.labels.copy()
    labels[7] = 1
    with pytest.raises(DataError, match="1 films of cohort have another number of classes than one"):
        replace(data, labels=labels)
    with pytest.raises(DataError, match="cohort has no labels"):
        replace(data, labels=labels[:, :0], label_names=(), is_multiclass=False)
