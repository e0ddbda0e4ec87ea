"""Alignment against scikit-learn and a loop, with the traps: shared patients, constant vectors, ties."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from pacx.core.errors import DataError, ModelError, UsageError
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.probes.alignment import (
    CHANCE,
    CONSTANT,
    AlignmentConfig,
    AlignmentData,
    alignment,
    alignment_metrics,
    expected_hits,
)
from pacx.evaluation.statistics.bootstrap import patient_bootstrap
from pacx.modalities.targets import FrozenTargets

NUM_TRAINING, NUM_TEST = 150, 45


def made_up(seed=0):
    """Films of 195 patients, the last ten filmed twice; the target has a large common part."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(NUM_TRAINING + NUM_TEST + 10, 8)).astype(np.float32) * 3 + 5
    target = features @ random.normal(size=(8, 6)) + random.normal(size=(len(features), 6)) * 4 + 30
    patients = np.array([f"p{i}" for i in [*range(NUM_TRAINING + NUM_TEST), *range(185, 195)]], object)
    data = AlignmentData(
        dataset="triplets",
        targets={"ecg": target.astype(np.float32)},
        patient_ids=patients,
        training=np.arange(NUM_TRAINING),
        test=np.arange(NUM_TRAINING, len(features)),
    )
    return data, features


def run(data, features, baseline=None):
    rows = alignment(
        data,
        features,
        Comparison(dataset=data.dataset, baseline=baseline, provenance="test", num_draws=200),
        config=AlignmentConfig(),
    )
    return {(row.name, row.metric): row for row in rows}


def test_rows_equal_a_plain_computation():
    data, features = made_up()
    rows = run(data, {"pacx": features})
    train, test = features[:NUM_TRAINING].astype(float), features[NUM_TRAINING : NUM_TRAINING + NUM_TEST].astype(float)
    mean, std = train.mean(axis=0), train.std(axis=0)
    target = data.targets["ecg"].astype(float)
    model = Ridge(alpha=10.0).fit((train - mean) / std, target[:NUM_TRAINING])
    predicted, truth = model.predict((test - mean) / std), target[NUM_TRAINING : NUM_TRAINING + NUM_TEST]
    centre = target[:NUM_TRAINING].mean(axis=0)

    def cosine(a, b):
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    pairs = list(zip(predicted, truth, strict=True))
    assert rows["pacx", "r2"].value == pytest.approx(r2_score(truth, predicted), abs=1e-9)
    assert rows["pacx", "cosine"].value == pytest.approx(np.mean([cosine(p, t) for p, t in pairs]), abs=1e-9)
    centred = np.mean([cosine(p - centre, t - centre) for p, t in pairs])
    assert rows["pacx", "cosine_centred"].value == pytest.approx(centred, abs=1e-9)
    for k in (1, 5, 10):
        hits = [
            i in sorted(range(NUM_TEST), key=lambda j, p=p: -cosine(p, truth[j]))[:k] for i, p in enumerate(predicted)
        ]
        row = rows["pacx", f"recall_at_{k}"]
        assert row.value == pytest.approx(np.mean(hits), abs=1e-9)
        assert row.n == NUM_TEST
        assert row.ci_low < row.value < row.ci_high
        assert rows[CHANCE, f"recall_at_{k}"].value == pytest.approx(k / NUM_TEST)


def test_constant_vector_shows_what_a_raw_cosine_is_worth():
    data, features = made_up()
    rows = run(data, {"pacx": features})
    assert rows[CONSTANT, "cosine"].value > 0.9
    assert rows[CONSTANT, "r2"].value < 0.05
    assert np.isnan(rows[CONSTANT, "cosine_centred"].value)
    assert rows[CONSTANT, "recall_at_5"].value == pytest.approx(5 / NUM_TEST)


def test_r2_of_every_draw_equals_scikit_learn_on_the_copied_rows():
    random = np.random.default_rng(4)
    truth, predicted = random.normal(size=(30, 4)) + 100, random.normal(size=(30, 4)) + 100
    draws = patient_bootstrap(np.arange(30), num_draws=20, seed=0)
    found = alignment_metrics(predicted, truth, np.zeros(4), draws)["r2"]
    for r in range(21):
        copied = np.repeat(np.arange(30), draws.counts[draws.patient, r])
        assert found[r] == pytest.approx(r2_score(truth[copied], predicted[copied]), abs=1e-9)


def test_targets_of_other_samples_are_told_how_they_would_meet(pack):
    films = pack.sample_ids.tolist()
    vectors = np.random.default_rng(0).normal(size=(len(films), 3)).astype(np.float32)
    joined = AlignmentData.from_pack(pack, [FrozenTargets("ecg", films, vectors, "-")], dataset="discs")
    assert np.array_equal(joined.targets["ecg"], vectors)
    others = FrozenTargets("ecg", [film.upper() for film in films], vectors, "-")
    with pytest.raises(DataError, match=r"0 training and 0 test films of .* ids would meet if upper and lower case"):
        AlignmentData.from_pack(pack, [others], dataset="discs")
    of_training = FrozenTargets("ecg", pack.sample_ids[pack.rows("train")].tolist(), vectors[pack.rows("train")], "-")
    with pytest.raises(
        DataError, match=r"training and 0 test films of .* have a target of ecg; give the targets of both"
    ):
        AlignmentData.from_pack(pack, [of_training], dataset="discs")


def test_tied_profiles_share_their_places():
    truth = np.array([[1.0, 0], [2, 0], [0, 1], [-1, 0]])
    predicted = np.array([[1.0, 0], [1, 0], [0, 3], [1, 0]])
    np.testing.assert_allclose(expected_hits(predicted, truth, 1), [0.5, 0.5, 1, 0])
    np.testing.assert_allclose(expected_hits(predicted, truth, 2), [1, 1, 1, 0])


def test_paired_differences_and_refusals():
    data, features = made_up()
    worse = features + np.random.default_rng(9).normal(size=features.shape).astype(np.float32) * 6
    rows = run(data, {"mae": worse, "pacx": features}, "mae")
    difference = rows["pacx - mae", "r2_difference"]
    assert difference.value == pytest.approx(rows["pacx", "r2"].value - rows["mae", "r2"].value)
    assert difference.ci_low > 0
    with pytest.raises(UsageError, match="baseline 'dino'"):
        run(data, {"pacx": features}, "dino")
    features[3, 3] = np.nan
    with pytest.raises(ModelError, match="embeddings of pacx"):
        run(data, {"pacx": features})
    with pytest.raises(DataError, match="1 patients are in both"):
        AlignmentData(
            dataset="d",
            targets={},
            patient_ids=np.array(["a", "a", "b"], object),
            training=np.array([0]),
            test=np.array([1, 2]),
        )


def test_a_profile_of_zeros_is_found_by_nobody_and_hides_nobody():
    """It has no direction; dividing by its length called it found."""
    random = np.random.default_rng(3)
    truth = random.normal(size=(6, 4))
    predicted = truth + 0.1 * random.normal(size=truth.shape)
    whole = expected_hits(predicted, truth, 1)
    truth[2] = 0.0
    found = expected_hits(predicted, truth, 1)
    assert np.isnan(found[2])
    np.testing.assert_array_equal(np.delete(found, 2), np.delete(whole, 2))
    predicted[4] = 0.0
    assert np.isnan(expected_hits(predicted, truth, 1)[[2, 4]]).all()
