from pathlib import Path

import numpy as np
import pytest

from pacx.core.errors import DataError
from pacx.modalities.targets import FrozenTargets, fingerprint_of


def targets(**changes: object) -> FrozenTargets:
    values: dict[str, object] = {
        "modality": "ecg",
        "sample_ids": ("a", "b", "c"),
        "embeddings": np.arange(6, dtype=np.float32).reshape(3, 2),
        "fingerprint": "f",
    }
    return FrozenTargets(**{**values, **changes})


def test_rows_are_found_by_id_never_by_position(tmp_path: Path) -> None:
    targets().save(tmp_path / "ecg")
    opened = FrozenTargets.open(tmp_path / "ecg", expected_fingerprint="f")
    assert isinstance(opened.embeddings, np.memmap)
    np.testing.assert_array_equal(opened.for_samples(["c", "a", "c"]), [[4, 5], [0, 1], [4, 5]])
    with pytest.raises(DataError, match="1 of 2 samples have no ecg target, such as x"):
        opened.for_samples(["a", "x"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample_ids": ("a", "b")}, "2 ids for embeddings"),
        ({"sample_ids": ("a", "b", "a")}, "occurs twice"),
        ({"embeddings": np.array([[0, 1], [2, np.nan], [4, 5]], np.float32)}, "NaN or infinity"),
        ({"embeddings": np.ones((3, 2), np.float32)}, "same for all samples"),
    ],
)
def test_targets_that_would_mislead_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        targets(**changes)


def test_stale_or_damaged_folders_are_refused(tmp_path: Path) -> None:
    targets().save(tmp_path / "ecg")
    with pytest.raises(DataError, match="another encoder"):
        FrozenTargets.open(tmp_path / "ecg", expected_fingerprint="g")
    data = (tmp_path / "ecg" / "embeddings.npy").read_bytes()
    (tmp_path / "ecg" / "embeddings.npy").write_bytes(data[:-4])
    with pytest.raises(DataError, match="missing or damaged"):
        FrozenTargets.open(tmp_path / "ecg")
    (tmp_path / "ecg" / "manifest.json").unlink()
    with pytest.raises(DataError, match="missing"):
        FrozenTargets.open(tmp_path / "ecg")


def test_a_fingerprint_changes_with_everything_it_covers() -> None:
    x = np.arange(4.0)
    prints = {
        fingerprint_of({"a": 1}, x),
        fingerprint_of({"a": 2}, x),
        fingerprint_of({"a": 1}, x + 1),
        fingerprint_of({"a": 1}, x.reshape(2, 2)),
        fingerprint_of({"a": 1}, x.astype(np.float32)),
    }
    assert len(prints) == 5
    assert fingerprint_of({"a": 1}, x) in prints
