"""Shenzhen and Montgomery: labels in names, both trees, hand-typed readings."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from twin_checks import assert_counts_agree, assert_doctor_is_content, probe_auroc, read, write

from pacx.core.errors import DataError, UsageError
from pacx.data.datasets.nlm_tb import DATASET, Hospital, NlmTbOptions
from pacx.data.images.decode import decode_grey
from pacx.data.packs.splitting import with_released_code_splits, with_splits
from pacx.simulation.patients.physiology import Visibility


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write("nlm-tb", tmp_path_factory.mktemp("nlm-tb") / "twin")


@pytest.fixture
def mirror(twin: Path, tmp_path: Path) -> Path:
    """The same films as the Kaggle mirror has them."""
    root = tmp_path / "mirror"
    (root / "images").mkdir(parents=True)
    shutil.copytree(twin / "ChinaSet_AllFiles" / "CXR_png", root / "images" / "images")
    rows = []
    for path in sorted((root / "images" / "images").iterdir()):
        finding = (twin / "ChinaSet_AllFiles" / "ClinicalReadings" / f"{path.stem}.txt").read_text().splitlines()[1]
        rows.append(f"{path.name},Male,45,{finding}")
    (root / "shenzhen_metadata.csv").write_text("study_id,sex,age,findings\n" + "\n".join(rows) + "\n")
    return root


def empty_films(root: Path, *names: str) -> Path:
    (root / "CXR_png").mkdir(parents=True)
    for name in names:
        (root / "CXR_png" / name).touch()
    return root


def test_the_twin_is_read_as_it_was_written(twin: Path) -> None:
    records = read(DATASET, twin)
    assert_counts_agree(twin, records)
    assert len(records) == 48
    assert records.table["patient_id"].is_unique
    assert all((twin / path).is_file() for path in records.table["image_path"])
    with Image.open(twin / records.table["image_path"][0]) as film:
        assert film.mode == "RGB"
        assert (decode_grey(twin / records.table["image_path"][0]) == np.asarray(film)[:, :, 1]).all()


def test_the_digit_in_the_name_is_the_label(tmp_path: Path) -> None:
    root = empty_films(tmp_path / "t", "CHNCXR_0001_0.png", "CHNCXR_0327_1.png")
    (root / "ClinicalReadings").mkdir()
    (root / "ClinicalReadings" / "CHNCXR_0001_0.txt").write_text("Male 34yrs\nbilateral PTB\n")
    table = read(DATASET, root).table
    assert table["Tuberculosis"].tolist() == [0, 1]
    assert table["patient_id"].tolist() == ["CHNCXR_0001", "CHNCXR_0327"]


def test_both_hospitals_and_each_alone(twin: Path) -> None:
    montgomery = read(DATASET, twin, hospital=Hospital.MONTGOMERY)
    assert len(montgomery) == 12
    assert montgomery.table["Tuberculosis"].sum() == 5
    both = read(DATASET, twin, hospital=Hospital.BOTH).table
    assert len(both) == 60
    assert (
        read(DATASET, twin / "MontgomerySet", hospital=Hospital.MONTGOMERY).table["age"] == montgomery.table["age"]
    ).all()
    assert read(DATASET, twin / "ChinaSet_AllFiles").table["image_path"][0] == "CXR_png/CHNCXR_0001_0.png"
    assert DATASET.expected_counts(NlmTbOptions())["present:Tuberculosis"] == 336
    assert DATASET.expected_counts(NlmTbOptions(hospital=Hospital.MONTGOMERY)) == {
        "films": 138, "patients": 138, "present:Tuberculosis": 58, "unknown:Tuberculosis": 0,
    }  # fmt: skip


def test_the_mirror_gives_the_same_labels_and_its_table_must_agree(twin: Path, mirror: Path) -> None:
    official, mirrored = read(DATASET, twin).table, read(DATASET, mirror).table
    assert mirrored["image_path"][0] == "images/images/CHNCXR_0001_0.png"
    assert official["Tuberculosis"].tolist() == mirrored["Tuberculosis"].tolist()
    path = mirror / "shenzhen_metadata.csv"
    right = path.read_text()
    path.write_text(right.replace("normal", " Normal ", 1))
    read(DATASET, mirror)
    path.write_text(right.replace("normal", "right PTB", 1))
    with pytest.raises(
        DataError, match=r"column 'findings' of .* holds 'right PTB' in line 2 .*'normal' where the name"
    ):
        read(DATASET, mirror)
    lines = right.splitlines()
    path.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(DataError, match="does not list 1 films"):
        read(DATASET, mirror)
    path.write_text("\n".join([*lines, lines[-1]]) + "\n")
    with pytest.raises(DataError, match="expected each film once"):
        read(DATASET, mirror)
    path.write_text(right.replace("findings", "diagnosis"))
    with pytest.raises(DataError, match="lacks column 'findings'"):
        read(DATASET, mirror)
    path.write_text(right.replace("CHNCXR_0001_0.png", "CHNCXR_0001_0"))
    with pytest.raises(DataError, match="column 'study_id'"):
        read(DATASET, mirror)


@pytest.mark.parametrize(
    ("reading", "age", "sex"),
    [
        ("Male, 34yrs\nnormal", 34, "M"),
        ("female 60 yrs \nright PTB 2 lesions", 60, "F"),
        ("Female,16month\nnormal", 16 / 12, "F"),
        ("male 50 days\nnormal", 50 / 365, "M"),
        ("Patient's Sex: F\nPatient's Age: 040Y\nnormal", 40, "F"),
        ("Patient's Sex: M\nPatient's Age: 004Y\nmale 99y", 4, "M"),
        ("unreadable\nmale 30 yrs", np.nan, ""),
        ("", np.nan, ""),
    ],
)
def test_readings_are_understood_where_they_can_be(tmp_path: Path, reading: str, age: float, sex: str) -> None:
    root = empty_films(tmp_path / "t", "CHNCXR_0001_0.png", "CHNCXR_0002_0.png")
    (root / "ClinicalReadings").mkdir()
    (root / "ClinicalReadings" / "CHNCXR_0001_0.txt").write_text(reading)
    table = read(DATASET, root).table
    np.testing.assert_allclose(table["age"], [age, np.nan])
    assert table["sex"].tolist() == [sex, ""]


def test_the_twin_types_its_readings_in_many_ways_and_all_are_understood(twin: Path) -> None:
    table = read(DATASET, twin, hospital=Hospital.BOTH).table
    assert table["age"].between(18, 95).all()
    assert set(table["sex"]) == {"F", "M"}
    texts = [path.read_text() for path in (twin / "ChinaSet_AllFiles" / "ClinicalReadings").iterdir()]
    assert len({re.sub(r"\d+", "#", text.splitlines()[0].lower()) for text in texts}) > 8


def test_pictures_of_other_names_are_left_out_and_said(tmp_path: Path) -> None:
    root = empty_films(tmp_path / "t", "CHNCXR_0001_0.png", "CHNCXR_0002_2.png", "._CHNCXR_0001_0.png", "notes.txt")
    records = read(DATASET, root)
    assert records.table["sample_id"].tolist() == ["CHNCXR_0001_0"]
    assert records.notes == ("1 pictures in CXR_png are not named as its films and are left out: CHNCXR_0002_2.png.",)


def test_negatives_are_noticed(twin: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(twin / "ChinaSet_AllFiles", tmp_path / "copy"))
    paths = sorted((root / "CXR_png").iterdir())
    for path in paths:
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    (finding,) = DATASET.inspect(root, NlmTbOptions(), read(DATASET, root))
    assert finding.check == "polarity"
    assert "negatives" in finding.message
    for path in paths:
        path.write_bytes(b"damaged")
    assert DATASET.inspect(root, NlmTbOptions(), read(DATASET, root)) == ()  # that is said elsewhere


def test_missing_things_are_named(tmp_path: Path, twin: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        read(DATASET, tmp_path / "nowhere")
    with pytest.raises(
        DataError, match=r"ChinaSet_AllFiles/CXR_png/CHNCXR_dddd_\[01\]\.png is missing; the root of nlm-tb is expected"
    ):
        read(DATASET, twin / "MontgomerySet")
    with pytest.raises(DataError, match="MontgomerySet/CXR_png"):
        read(DATASET, twin / "ChinaSet_AllFiles", hospital=Hospital.BOTH)


def test_a_complete_set_is_divided_as_the_released_code_divides_it(tmp_path: Path) -> None:
    names = [f"CHNCXR_{number:04d}_{int(number > 326)}.png" for number in range(1, 663)]
    records = read(DATASET, empty_films(tmp_path / "t", *names))
    assert records.table["Tuberculosis"].sum() == 336
    split = with_released_code_splits(records, DATASET).table["split"]
    assert split.value_counts().to_dict() == {"train": 449, "test": 133, "val": 80}
    own = with_splits(records, 0, DATASET.card.splits).table
    assert abs(own["split"].value_counts(normalize=True)["test"] - 0.2) < 0.01


def test_the_doctor_is_content_and_a_probe_learns_from_the_packed_twin(tmp_path: Path) -> None:
    """Foci twice as dense as in life, so that few films suffice."""
    root = write("nlm-tb", tmp_path / "twin", num_patients=140, visibility=Visibility(pneumonia=2.0))
    assert_doctor_is_content(DATASET, root)
    records = with_splits(read(DATASET, root), 0, DATASET.card.splits)
    assert probe_auroc(records, tmp_path / "pack")["Tuberculosis"] > 0.62
