"""Frozen targets: rows by id, refusals, and the folder."""

import json

import numpy as np
import pytest
import torch

from pacx.core.errors import DataError
from pacx.modalities.targets import FrozenTargets, open_targets, target_fingerprint

IDS = ("p3", "p1", "p2")


@pytest.fixture
def embeddings() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)


@pytest.fixture
def folder(embeddings, tmp_path):
    FrozenTargets("ecg", IDS, embeddings, "abc").save(tmp_path / "ecg")
    return tmp_path / "ecg"


def test_rows_come_by_id(embeddings):
    targets = FrozenTargets("ecg", IDS, embeddings, "abc")
    assert np.array_equal(targets.for_samples(["p1", "p3", "p1"]), embeddings[[1, 0, 1]])
    with pytest.raises(DataError, match=r"no ecg targets for 2 of 3 samples \(p7, p8\)"):
        targets.for_samples(["p7", "p1", "p8"])


def test_an_admission_meets_itself_with_and_without_a_decimal_point(embeddings):
    for ours, theirs in (("2{}.0", "2{}"), ("2{}", "2{}.0")):
        targets = FrozenTargets("ecg", [ours.format(row) for row in range(3)], embeddings, "abc")
        asked = [theirs.format(row) for row in (2, 0)]
        assert np.array_equal(targets.for_samples(asked), embeddings[[2, 0]])
        assert targets.has([*asked, "9"]).tolist() == [True, True, False]
    with pytest.raises(DataError, match=r"more than once \(2\)"):
        FrozenTargets("ecg", ("1", "2", "2.0"), embeddings, "abc")


def test_ids_that_do_not_meet_are_told_how_they_would(embeddings):
    targets = FrozenTargets("ecg", ("p1", "p2", "p3"), embeddings, "abc")
    with pytest.raises(DataError, match="2 ids would meet if what stands before the number is dropped"):
        targets.for_samples(["1", "2"])


@pytest.mark.parametrize(
    ("ids", "change", "message"),
    [
        (("a", "b", "a"), lambda e: e, r"more than once \(a\)"),
        (("a", "b"), lambda e: e, "for 2 sample ids"),
        (IDS, lambda e: e.astype(np.float64), "float64"),
        (IDS, lambda e: np.where(e == e[1, 2], np.nan, e).astype(np.float32), "NaN or infinite values for p1"),
        (IDS, lambda e: np.repeat(e[:1], 3, 0), "the same for all 3 samples"),
        (IDS, lambda e: np.repeat(e[:1] + 1000, 3, 0) + np.float32(1e-4) * (e > 0), "the same for all 3 samples"),
    ],
)
def test_what_is_refused(embeddings, ids, change, message):
    with pytest.raises(DataError, match=message):
        FrozenTargets("ecg", ids, change(embeddings), "abc")


def test_one_sample_is_never_constant(embeddings):
    assert FrozenTargets("ecg", ("a",), embeddings[:1], "abc").for_samples(["a"]).shape == (1, 4)


def test_folder_round_trip(folder, embeddings):
    opened = FrozenTargets.open(folder, expected_fingerprint="abc")
    assert isinstance(opened.embeddings, np.memmap)
    assert opened.modality == "ecg"
    assert opened.sample_ids == IDS
    assert np.array_equal(opened.for_samples(IDS), embeddings)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["shape"] == [3, 4]
    assert manifest["std"] == pytest.approx(float(embeddings.std()))


def test_stale_and_changed_folders_are_refused(folder, tmp_path):
    with pytest.raises(DataError, match="stale"):
        FrozenTargets.open(folder, expected_fingerprint="xyz")
    ids = np.load(folder / "sample_ids.npy")
    np.save(folder / "sample_ids.npy", ids[::-1])
    with pytest.raises(DataError, match=r"sample_ids.npy is missing or was changed"):
        FrozenTargets.open(folder)
    with pytest.raises(DataError, match=r"manifest.json is missing"):
        FrozenTargets.open(tmp_path / "nothing")


def test_fingerprint_depends_on_weights_contract_ids_and_every_row():
    encoder = torch.nn.Linear(3, 2)
    data = np.arange(3 * 600, dtype=np.int16).reshape(600, 3)
    ids = [f"p{i}" for i in range(600)]
    prints = [target_fingerprint(encoder, {"rate": 500}, data, ids)]
    assert target_fingerprint(encoder, {"rate": 500}, data.copy(), list(ids)) == prints[0]
    prints.append(target_fingerprint(encoder, {"rate": 100}, data, ids))
    prints.append(target_fingerprint(encoder, {"rate": 500}, data, ids[::-1]))
    changed = data.copy()
    changed[599, 2] += 1
    prints.append(target_fingerprint(encoder, {"rate": 500}, changed, ids))
    with torch.no_grad():
        encoder.bias[1] += 1
    prints.append(target_fingerprint(encoder, {"rate": 500}, data, ids))
    assert len(set(prints)) == 5


def test_targets_embedded_split_by_split_become_one(embeddings, tmp_path):
    FrozenTargets("ecg", ("a", "b"), embeddings[:2], "w-c-1").save(tmp_path / "train")
    FrozenTargets("ecg", ("c", "d"), embeddings[1:], "w-c-2").save(tmp_path / "val")
    FrozenTargets("labs", ("a",), embeddings[:1], "v-c-1").save(tmp_path / "labs")
    ecg, labs = open_targets([tmp_path / "train", tmp_path / "labs", tmp_path / "val"])
    assert (ecg.modality, labs.modality) == ("ecg", "labs")
    assert np.array_equal(ecg.for_samples(["d", "a"]), embeddings[[2, 0]])
    assert ecg.fingerprint.startswith("w-c-")
    assert labs.fingerprint == "v-c-1"
    FrozenTargets("ecg", ("e", "f"), embeddings[:2], "other-c-1").save(tmp_path / "test")
    with pytest.raises(DataError, match="of different encoders or input contracts"):
        open_targets([tmp_path / "train", tmp_path / "test"])
    with pytest.raises(DataError, match=r"more than once \(a, b\)"):
        open_targets([tmp_path / "train", tmp_path / "train"])
