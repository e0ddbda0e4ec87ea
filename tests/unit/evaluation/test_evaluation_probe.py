"""Linear probe and low data from arrays to rows, against scikit-learn on the same heads."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from pacx.core.errors import DataError
from pacx.core.randomness import sample_keys
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.probes.classification import ClassificationData
from pacx.evaluation.probes.linear_heads import ProbeConfig
from pacx.evaluation.probes.linear_probe import linear_probe, train_probes
from pacx.evaluation.probes.low_data import low_data
from pacx.evaluation.results import read_rows, write_rows
from pacx.evaluation.statistics.delong import P_VALUE, P_VALUE_HOLM, compare_areas

CONFIG = ProbeConfig(epochs=8, batch_size=64, num_seeds=3, learning_rates=(0.02,), seed=5)
NUM = 900


def made_up(*, is_multiclass=False):
    """Two encoders of one cohort, one of them half blind; label "never" has no positive in the test split."""
    random = np.random.default_rng(0)
    clear = random.normal(size=(NUM, 10)).astype(np.float32)
    blurred = clear + 1.5 * random.normal(size=clear.shape).astype(np.float32)
    scores = clear @ random.normal(size=(10, 3)) + random.normal(size=(NUM, 3))
    split = np.arange(NUM) % 3
    if is_multiclass:
        labels = np.eye(3, dtype=np.float32)[scores.argmax(axis=1)]
    else:
        labels = (scores > [0.5, 2.0, 3.0]).astype(np.float32)
        labels[split == 2, 2] = 0
        labels[7::50, 0] = np.nan
    data = ClassificationData(
        dataset="cohort",
        label_names=("often", "seldom", "never"),
        labels=labels,
        patient_ids=np.array([f"p{i // 6}-{i % 3}" for i in range(NUM)], object),
        keys=sample_keys([f"film-{i}" for i in range(NUM)]),
        training=np.flatnonzero(split == 0),
        validation=np.flatnonzero(split == 1),
        test=np.flatnonzero(split == 2),
        is_multiclass=is_multiclass,
    )
    return data, {"mae": blurred, "pacx": clear}


def by_key(rows):
    table = {(row.name, row.label, row.metric, row.fraction): row for row in rows}
    assert len(table) == len(rows)
    return table


def test_linear_probe_rows(tmp_path):
    data, features = made_up()
    rows = linear_probe(
        data,
        features,
        Comparison(dataset=data.dataset, baseline="mae", provenance="here", num_draws=200),
        config=CONFIG,
    )
    write_rows(tmp_path / "results.json", rows)
    table = by_key(read_rows(tmp_path / "results.json"))
    heads = train_probes(data, features["pacx"], config=CONFIG)
    truth, probabilities = data.labels[data.test], heads.probabilities(features["pacx"][data.test])
    expected = {}
    for k, label in enumerate(("often", "seldom")):
        known = ~np.isnan(truth[:, k])
        row = table["pacx", label, "auroc", 1.0]
        expected[label] = np.mean([roc_auc_score(truth[known, k], head[known, k]) for head in probabilities])
        assert row.value == pytest.approx(expected[label], abs=1e-9)
        assert row.n == known.sum()
        assert row.ci_low < row.value < row.ci_high
        f1 = np.mean([f1_score(truth[known, k], head[known, k] >= 0.5) for head in probabilities])
        assert table["pacx", label, "f1", 1.0].value == pytest.approx(f1, abs=1e-9)
    macro = table["pacx", "macro", "auroc", 1.0]
    assert macro.value == pytest.approx(np.mean(list(expected.values())), abs=1e-9)
    assert "not evaluable on this test set: never" in macro.provenance
    assert np.isnan(table["pacx", "never", "auroc", 1.0].value)
    difference = table["pacx - mae", "macro", "auroc_difference", 1.0]
    assert difference.value == pytest.approx(macro.value - table["mae", "macro", "auroc", 1.0].value, abs=1e-9)
    assert difference.ci_low > 0
    scores = [train_probes(data, features[n], config=CONFIG).probabilities(features[n][data.test]) for n in features]
    for k, label in enumerate(data.label_names):
        p_value = table["pacx - mae", label, P_VALUE, 1.0]
        compared = compare_areas(scores[1][..., k], scores[0][..., k], truth[:, k], data.patient_ids[data.test])
        assert p_value.value == pytest.approx(compared.p_value, nan_ok=True)
        assert table["pacx - mae", label, "auroc_difference", 1.0].value == pytest.approx(
            compared.difference, abs=1e-12, nan_ok=True
        )
        assert ("patients as clusters" if label != "never" else "not tested: 0 patients") in p_value.provenance
    adjusted = table["pacx - mae", "seldom", P_VALUE_HOLM, 1.0]
    assert table["pacx - mae", "seldom", P_VALUE, 1.0].value <= adjusted.value < 0.05
    assert "Holm over 2 labels" in adjusted.provenance
    assert data.labels[data.test, 1].sum() > 10
    assert np.isnan(table["pacx - mae", "never", P_VALUE_HOLM, 1.0].value)
    assert {metric for _, _, metric, _ in table} >= {"auroc", "auprc", "f1", "f1_tuned", "brier", "brier_difference"}


def test_a_handful_of_positives_is_not_tested():
    data, features = made_up()
    labels = data.labels.copy()
    positives = data.test[labels[data.test, 1] == 1]
    owners = data.patient_ids[positives]
    for kept in (9, 10):
        labels[positives, 1] = np.isin(owners, np.unique(owners)[:kept])
        table = by_key(
            linear_probe(
                replace(data, labels=labels),
                features,
                Comparison(dataset=data.dataset, baseline="mae", num_draws=5),
                config=CONFIG,
            )
        )
        row, is_tested = table["pacx - mae", "seldom", P_VALUE, 1.0], kept == 10
        assert np.isnan(row.value) != is_tested
        assert (f"{kept} patients with the rarer class, 10 are needed" in row.provenance) != is_tested
        assert f"Holm over {1 + is_tested} labels" in table["pacx - mae", "often", P_VALUE_HOLM, 1.0].provenance


def test_tuned_threshold_helps_a_rare_label():
    data, features = made_up()
    table = by_key(linear_probe(data, features, Comparison(dataset=data.dataset, num_draws=5), config=CONFIG))
    assert table["pacx", "seldom", "f1_tuned", 1.0].value > table["pacx", "seldom", "f1", 1.0].value


def test_multiclass_takes_the_most_probable_class():
    data, features = made_up(is_multiclass=True)
    config = replace(CONFIG, num_seeds=1)
    table = by_key(linear_probe(data, features, Comparison(dataset=data.dataset, num_draws=5), config=config))
    probabilities = train_probes(data, features["pacx"], config=config).probabilities(features["pacx"][data.test])[0]
    truth = data.labels[data.test]
    f1 = f1_score(truth.argmax(axis=1), probabilities.argmax(axis=1), average="macro")
    assert table["pacx", "macro", "f1", 1.0].value == pytest.approx(f1, abs=1e-9)
    area = roc_auc_score(truth.argmax(axis=1), probabilities, multi_class="ovr", average="macro")
    assert table["pacx", "macro", "auroc", 1.0].value == pytest.approx(area, abs=1e-9)


def test_low_data_rows():
    data, features = made_up()
    table = by_key(
        low_data(
            data,
            features,
            Comparison(dataset=data.dataset, baseline="mae", provenance="here", num_draws=100),
            config=CONFIG,
        )
    )
    values = [table["pacx", "macro", "auroc", fraction].value for fraction in (0.01, 0.1, 1.0)]
    assert values[0] < values[1] < values[2]
    widths = [
        table["pacx", "macro", "auroc", f].ci_high - table["pacx", "macro", "auroc", f].ci_low for f in (0.01, 1.0)
    ]
    assert widths[0] > widths[1]  # another 1 % might have been drawn
    # all the labels is the linear probe
    probe = by_key(
        linear_probe(
            data,
            features,
            Comparison(dataset=data.dataset, baseline="mae", provenance="here", num_draws=100),
            config=CONFIG,
        )
    )
    for key, row in probe.items():
        found = table[key]
        assert (found.value, found.ci_low, found.ci_high) == pytest.approx(
            (row.value, row.ci_low, row.ci_high), abs=1e-5, nan_ok=True
        )
    assert "30 training images on average over 3 subsets" in table["pacx", "macro", "auroc", 0.1].provenance
    for fraction in (0.01, 0.1, 1.0):
        difference = table["pacx - mae", "macro", "auroc_difference", fraction].value
        parts = [table[name, "macro", "auroc", fraction].value for name in ("pacx", "mae")]
        assert difference == pytest.approx(parts[0] - parts[1])


def test_a_share_that_is_larger_than_asked_is_said(capsys: pytest.CaptureFixture[str]):
    data, features = made_up()
    few = {"comparison": Comparison(dataset=data.dataset, num_draws=5), "config": CONFIG}
    low_data(data, features, fractions=(0.1, 1.0), **few)
    assert capsys.readouterr().err == ""
    low_data(data, features, fractions=(0.001,), **few)
    assert "0.1 % of 300 training films are too few for every label to have a positive" in capsys.readouterr().err


def test_data_that_does_not_fit_is_refused():
    data, features = made_up()
    with pytest.raises(DataError, match="no validation images"):
        replace(data, validation=np.array([], np.int64))
    with pytest.raises(DataError, match="patient ids"):
        replace(data, labels=data.labels[:, :2])
    with pytest.raises(DataError, match="899 embeddings for 900 images"):
        linear_probe(data, {"pacx": features["pacx"][1:]}, Comparison(dataset=data.dataset, num_draws=5), config=CONFIG)


def test_pack_becomes_data(pack):
    data = ClassificationData.from_pack(pack, dataset="discs")
    assert data.label_names == ("big",)
    np.testing.assert_array_equal(data.labels, pack.labels)
    for part, split in ((data.training, "train"), (data.validation, "val"), (data.test, "test")):
        assert set(pack.table["split"].iloc[part]) == {split}
    features = np.random.default_rng(0).normal(size=(len(pack), 4)).astype(np.float32)
    rows = linear_probe(data, {"noise": features}, Comparison(dataset=data.dataset, num_draws=5), config=CONFIG)
    assert {row.label for row in rows} == {"macro", "big"}
