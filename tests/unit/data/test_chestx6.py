"""ChestX6: classes from folders, copies of one tuberculosis film held together, crossings told and not repaired."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from twin_journey import counts_of, doctor, faults, kind_of, packed, probe, read, tree_bytes, twin_of

from pacx.core.errors import DataError, UsageError
from pacx.core.findings import CHESTX6_CLASSES
from pacx.data.checks.record_counts import tally
from pacx.data.dataset import datasets


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return twin_of("chestx6", tmp_path_factory.mktemp("official") / "chestx6", 60)


@pytest.fixture
def copy(twin: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(twin, tmp_path / "copy")) / "chest-xray"


def test_what_was_written_is_what_is_read(twin: Path) -> None:
    records = read("chestx6", twin)
    assert tally(records) == counts_of(twin)
    assert records.label_names == CHESTX6_CLASSES
    assert (records.table[list(CHESTX6_CLASSES)].sum(axis=1) == 1).all()
    assert records.table["image_path"].map(lambda path: (twin / path).is_file()).all()
    folders = records.table["image_path"].str.split("/").str[1:3].str.join("/")
    assert (
        folders.tolist()
        == (records.table["split"] + "/" + records.table[list(CHESTX6_CLASSES)].idxmax(axis=1)).tolist()
    )


def test_the_doctor_warns_of_copies_in_two_splits_and_finds_what_is_too_much(twin: Path, copy: Path) -> None:
    diagnosis = doctor("chestx6", twin)
    assert diagnosis.is_green
    assert [issue.check for issue in diagnosis.issues] == ["patients"]
    shutil.copy(next((copy / "val" / "Normal").iterdir()), copy / "val" / "Normal" / "film.bmp.txt")
    (message,) = faults(doctor("chestx6", copy.parent))
    assert "film.bmp.txt" in message


def test_the_inner_folder_may_be_given_and_names_may_hold_spaces(twin: Path) -> None:
    inner = read("chestx6", twin / "chest-xray")
    outer = read("chestx6", twin)
    assert inner.table["sample_id"].tolist() == outer.table["sample_id"].tolist()
    assert outer.table["image_path"].str.contains(r"Viral Pneumonia-\d+\.jpg").any()
    assert outer.table["image_path"].str.contains(r"Normal \(\d+\)\.jpg").any()
    assert {Path(path).suffix for path in outer.table["image_path"]} == {".jpg", ".jpeg", ".png"}


def test_copies_of_a_tuberculosis_film_are_one_patient_and_their_crossing_is_told(twin: Path, copy: Path) -> None:
    table = read("chestx6", twin).table
    sick = table[table["Tuberculosis"] == 1]
    numbers = sick["sample_id"].str.extract(r"Tuberculosis-(\d+)")[0]
    assert sick.groupby(numbers.to_numpy())["patient_id"].nunique().eq(1).all()
    assert sick["patient_id"].nunique() == numbers.nunique() == 10
    assert sick.groupby("patient_id").size().eq(4).all()
    crossing = int((sick.groupby("patient_id")["split"].nunique() > 1).sum())
    assert crossing > 0
    assert f"{crossing} of 10 tuberculosis originals" in read("chestx6", twin).notes[1]
    assert datasets()["chestx6"].card.splits_share_patients
    for film in copy.rglob("augmented_*"):
        film.unlink()
    assert len(read("chestx6", copy).notes) == 1


def test_other_films_are_patients_of_their_own(twin: Path) -> None:
    table = read("chestx6", twin).table
    others = table[table["Tuberculosis"] == 0]
    assert others["patient_id"].is_unique
    assert set(others["patient_id"]).isdisjoint(table[table["Tuberculosis"] == 1]["patient_id"])


def test_a_tree_that_is_not_whole_is_refused(copy: Path, tmp_path: Path) -> None:
    films = sorted((copy / "val" / "Tuberculosis").iterdir())
    films[0].rename(films[0].with_name("scan.png"))
    with pytest.raises(DataError, match=r"holds scan\.png; expected Tuberculosis-<n>\.png or augmented"):
        read("chestx6", copy)
    shutil.rmtree(copy / "val" / "Tuberculosis")
    with pytest.raises(
        DataError, match=r"val/Tuberculosis is missing; the root of chestx6 is expected to hold chest-x"
    ):
        read("chestx6", copy)
    (copy / "val" / "Tuberculosis").mkdir()
    with pytest.raises(DataError, match="val/Tuberculosis holds no film"):
        read("chestx6", copy)
    with pytest.raises(DataError, match=r"train/Covid-19 is missing; .* expected to hold chest-xray/\{train"):
        read("chestx6", tmp_path / "copy" / "chest-xray" / "test")
    with pytest.raises(UsageError, match="is not a folder"):
        read("chestx6", tmp_path / "nowhere")


def test_the_released_code_has_no_split_of_its_own(twin: Path) -> None:
    with pytest.raises(UsageError, match="no split of chestx6"):
        datasets()["chestx6"].released_code_splits(read("chestx6", twin))


def test_the_twin_is_the_same_bytes_again_and_its_films_have_the_official_size(twin: Path, tmp_path: Path) -> None:
    again = twin_of("chestx6", tmp_path / "again", 60)
    assert tree_bytes(again) == tree_bytes(twin)
    for path in [*twin.rglob("*.jpg"), *twin.rglob("*.jpeg"), *twin.rglob("*.png")]:
        assert kind_of(path) == ("L", (224, 224))
    films = [path.read_bytes() for path in twin.rglob("Normal (*).jpg")]
    assert len(films) - len(set(films)) == 1  # the official set holds exact duplicates


def test_a_probe_learns_from_the_twin(twin: Path, tmp_path: Path) -> None:
    rows = probe(packed("chestx6", read("chestx6", twin), tmp_path / "pack"))
    assert rows["macro", "auroc"].value > 0.6
    assert np.isfinite(rows["macro", "f1"].value)
