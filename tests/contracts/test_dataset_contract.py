"""What every dataset that discovery finds must keep: a complete card, options with defaults, refusals, a whole twin."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pacx.core.errors import DataError, UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.core.twin_file import twin_counts
from pacx.data.checks.doctor import examine
from pacx.data.checks.record_counts import tally
from pacx.data.dataset import Dataset, Task, datasets
from pacx.data.packs.packing import pack_records
from pacx.data.packs.splitting import with_released_code_splits, with_splits
from pacx.data.splits import patients_in_two_splits
from pacx.simulation.twin import TwinConfig, twins, write_twin

OF_ONES_OWN = {"folder", "dicom-folder"}
"""Datasets without an official tree, so without a twin or anything to cite."""

UNCOUNTED = {"medmod", "padchest"}
"""Made by its user from a version of MIMIC-IV, less the subjects of another set: nobody can say how large it is. Or
published with figures that count films which cannot be read."""

WITHOUT_PATTERNS = {"medmod", "padchest", "covid-qu-ex", "qata-cov19"}
"""Files that no record names are no fault (films of no stay, or of no chest), or lie in the tree or version that an
option leaves out; the last two look for surplus files themselves."""

every_dataset = pytest.mark.parametrize("name", list(datasets()))
every_twin = pytest.mark.parametrize("name", list(twins()))
CONFIG = TwinConfig(num_patients=16, image_size_px=32)
WORDS = ("films", "patients", "films:", "patients:", "view:", "present:", "unknown:", "mask:")


@every_dataset
def test_the_card_is_complete(name: str) -> None:
    card = datasets()[name].card
    assert card.name == name
    assert all([card.title, card.licence, card.access])
    assert isinstance(card.task, Task)
    assert sum(card.splits.fractions) == pytest.approx(1)
    assert 0 < card.splits.val_share_of_train < 1
    for word, count in card.counts.items():
        assert word in WORDS[:2] or word.startswith(WORDS[2:]), f"{word} is no word of pacx.data.checks.record_counts"
        assert count >= 0
    if name not in OF_ONES_OWN:
        assert card.citation
        assert card.layout
        is_counted = card.counts.get("films", 0) > 100 or any(word.startswith("films:") for word in card.counts)
        assert is_counted == (name not in UNCOUNTED)
        assert bool(card.image_globs) == (name not in WITHOUT_PATTERNS)


@every_dataset
def test_options_are_a_frozen_dataclass_with_defaults_and_documented(name: str) -> None:
    kind = datasets()[name].options_type
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen
    assert kind() == kind()
    for field in dataclasses.fields(kind):
        assert f"{field.name}:" in kind.__doc__ or _has_docstring(kind, field.name), field.name


def _has_docstring(kind: Any, name: str) -> bool:
    import inspect

    lines = inspect.getsource(kind).splitlines()
    declared = next(row for row, line in enumerate(lines) if line.strip().startswith(f"{name}:"))
    return any('"""' in line for line in lines[declared + 1 : declared + 6])


@every_dataset
def test_a_folder_that_is_not_it_is_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    dataset = datasets()[name]
    with pytest.raises((UsageError, DataError)) as raised:
        dataset.read(tmp_path / "nowhere", dataset.options_type())
    assert str(tmp_path) in str(raised.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises((UsageError, DataError)) as raised:
        dataset.read(tmp_path / "empty", dataset.options_type())
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) > 30
    assert list((tmp_path / "empty").iterdir()) == []


def test_every_official_dataset_has_a_twin_and_every_twin_a_dataset() -> None:
    assert set(twins()) <= set(datasets())
    assert set(twins()) == set(datasets()) - OF_ONES_OWN


@every_twin
def test_twin_to_records_to_doctor_to_pack(name: str, tmp_path: Path) -> None:
    dataset, root = datasets()[name], tmp_path / name
    write_twin(twins()[name], root, CONFIG)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    options = dataset.options_type()
    records = dataset.read(root, options)
    counted, written = tally(records), twin_counts(root)
    assert written is not None
    assert {word: counted.get(word, 0) for word in written} == dict(written)
    of_interest = [word for word in counted if word.startswith(("films", "patients", "present:", "mask:"))]
    assert {word for word in of_interest if counted[word]} <= set(written), "the twin does not say all that it wrote"

    diagnosis = examine(dataset, root, options, state=tmp_path / "state", num_samples=None)
    assert [issue for issue in diagnosis.issues if issue.is_fault] == []
    assert diagnosis.is_twin
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before, "reading changed the tree"

    divided = with_splits(records, 0, dataset.card.splits)
    pack = pack_records(divided, tmp_path / "pack", preprocessing=Preprocessing(image_size_px=16))
    assert len(pack) == len(records)
    assert pack.quarantined == ()
    assert len(pack.rows("")) == 0
    assert len(pack.rows("train")) > 0
    assert np.asarray(pack.images).std() > 0
    newly_divided = set(patients_in_two_splits(divided.table)) - set(patients_in_two_splits(records.table))
    assert newly_divided == set()


@every_twin
def test_the_same_seed_writes_the_same_twin_and_another_seed_another(name: str, tmp_path: Path) -> None:
    for folder, config in (("a", CONFIG), ("b", CONFIG), ("c", dataclasses.replace(CONFIG, seed=1))):
        write_twin(twins()[name], tmp_path / folder, config)
    content = {
        folder: {
            path.relative_to(tmp_path / folder): path.read_bytes()
            for path in (tmp_path / folder).rglob("*")
            if path.is_file()
        }
        for folder in "abc"
    }
    assert content["a"] == content["b"]
    assert content["a"] != content["c"]


@every_twin
def test_the_released_codes_split_is_drawn_or_refused(name: str, tmp_path: Path) -> None:
    dataset: Dataset[Any] = datasets()[name]
    write_twin(twins()[name], tmp_path / name, dataclasses.replace(CONFIG, num_patients=40))
    records = dataset.read(tmp_path / name, dataset.options_type())
    if type(dataset).released_code_splits is Dataset.released_code_splits:
        with pytest.raises(UsageError, match=name):
            with_released_code_splits(records, dataset)
        return
    split = with_released_code_splits(records, dataset)
    assert set(split.table["split"]) == {"train", "val", "test"}
    assert "SPLITS OF THE RELEASED CODE" in split.notes[-1]
    assert split.table.drop(columns="split").equals(records.table.drop(columns="split"))
