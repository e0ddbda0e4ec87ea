"""The converged probe: as scikit-learn reads each label by leave-one-out ridge, whatever the scale of features."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV

from pacx.core.randomness import sample_keys
from pacx.evaluation.probes.classification import ClassificationData
from pacx.evaluation.probes.linear_heads import ProbeConfig
from pacx.evaluation.probes.low_data import training_subsets
from pacx.models.linear.ridge import PENALTIES
from studies.stepwise.probing import ridge_probe


@pytest.fixture
def data_and_features():
    random = np.random.default_rng(0)
    num = 400
    features = random.standard_normal((num, 6)).astype(np.float32)
    labels = (features[:, :2] + random.standard_normal((num, 2)) > 0.5).astype(np.float32)
    ids = [f"s{i}" for i in range(num)]
    data = ClassificationData(
        dataset="made up", label_names=("a", "b"), labels=labels, patient_ids=np.array(ids), keys=sample_keys(ids),
        training=np.arange(200), validation=np.arange(200, 240), test=np.arange(240, num), is_multiclass=False,
        drawn_by="patient",
    )  # fmt: skip
    return data, features


def test_each_label_is_read_as_scikit_learn_reads_it(data_and_features):
    data, features = data_and_features
    found = ridge_probe(data, features, 0.2, num_seeds=3, seed=1)
    subsets = training_subsets(data, (0.2,), ProbeConfig(seed=1, num_seeds=3))
    for scores, subset in zip(found, subsets, strict=True):
        rows = data.training[subset]
        mean, scale = features[rows].mean(axis=0), features[rows].std(axis=0)
        for k in range(2):
            other = RidgeCV(np.array(PENALTIES) * len(rows)).fit((features[rows] - mean) / scale, data.labels[rows, k])
            expected = other.predict((features[data.test] - mean) / scale)
            assert np.corrcoef(scores[:, k], expected)[0, 1] == pytest.approx(1, abs=1e-6)


def test_scale_and_copies_of_features_change_nothing_and_all_labels_need_one_fit(data_and_features):
    data, features = data_and_features
    plain = ridge_probe(data, features, 1.0, num_seeds=5, seed=0)
    assert plain.shape == (1, 160, 2)
    scaled = ridge_probe(data, features * np.array([1e-3, 1e3, 1, 1, 1, 1], np.float32), 1.0, num_seeds=5, seed=0)
    for k in range(2):
        assert np.corrcoef(plain[0, :, k], scaled[0, :, k])[0, 1] == pytest.approx(1, abs=1e-4)
    positive = data.labels[data.test] == 1
    assert all(plain[0, positive[:, k], k].mean() > plain[0, ~positive[:, k], k].mean() + 0.1 for k in range(2))


def test_a_feature_that_is_the_same_for_everybody_says_nothing(data_and_features):
    data, features = data_and_features
    assert (ridge_probe(data, np.zeros_like(features[:, :1]), 0.2, num_seeds=2, seed=0) == 0).all()
