"""QaTa-COV19: masks by name, patients by BIMCV's names, the official test set kept, version 1 from its masks."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from twin_journey import counts_of, doctor, packed, read, segment, tree_bytes, twin_of

from pacx.core.errors import DataError
from pacx.data.checks.record_counts import tally
from pacx.data.datasets.qata_cov19 import DATASET, QataCov19Options, QataVersion

V2 = Path("QaTa-COV19") / "QaTa-COV19-v2"


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return twin_of("qata-cov19", tmp_path_factory.mktemp("official") / "qata", 40)


@pytest.fixture
def copy(twin: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(twin, tmp_path / "copy"))


def test_what_was_written_is_what_is_read(twin: Path) -> None:
    records = read("qata-cov19", twin)
    assert tally(records) == counts_of(twin)
    assert (records.label_names, records.mask_names) == ((), ("infection",))
    for film, mask in zip(records.table["image_path"], records.table["mask:infection"], strict=True):
        assert Path(mask) == Path(film).parents[1] / "Ground-truths" / f"mask_{Path(film).name}"
        assert (twin / film).is_file()
        assert (twin / mask).is_file()


@pytest.mark.parametrize("inner", ["QaTa-COV19", "QaTa-COV19/QaTa-COV19-v2"])
def test_an_inner_folder_may_be_given(twin: Path, inner: str) -> None:
    records = read("qata-cov19", twin / inner)
    assert records.table["sample_id"].tolist() == read("qata-cov19", twin).table["sample_id"].tolist()
    assert (twin / inner / records.table["image_path"][0]).is_file()


def test_films_of_a_bimcv_patient_are_one_patient(twin: Path) -> None:
    table = read("qata-cov19", twin).table
    from_bimcv = table["image_path"].str.contains("/sub-S")
    assert table[from_bimcv].groupby("patient_id").size().max() == 2
    assert (table[from_bimcv]["patient_id"] == table[from_bimcv]["image_path"].str.extract(r"/(sub-S\d+)_")[0]).all()
    assert table[~from_bimcv]["patient_id"].is_unique


def test_the_official_test_set_is_kept_and_validation_keeps_patients_together(twin: Path, tmp_path: Path) -> None:
    records = read("qata-cov19", twin)
    assert set(records.table["split"]) == {"train", "test"}
    assert (records.table["image_path"].str.contains("Test Set") == (records.table["split"] == "test")).all()
    pack = packed("qata-cov19", records, tmp_path / "pack")
    assert len(pack.rows("test")) == counts_of(twin)["films:test"]
    assert len(pack.rows("val")) > 0
    patients = {split: set(pack.patient_ids[pack.rows(split)]) for split in ("train", "val")}
    assert patients["train"].isdisjoint(patients["val"])


def test_the_released_code_divides_patients(twin: Path) -> None:
    records = read("qata-cov19", twin)
    split = DATASET.released_code_splits(records)
    assert (split[records.table["split"] == "test"] == "test").all()
    train = (records.table["split"] == "train").sum()
    assert (split == "val").sum() == np.ceil(0.1 * train)
    assert DATASET.card.splits.val_share_of_train == 0.1


def test_the_films_of_covid_qu_ex_are_told(twin: Path, copy: Path) -> None:
    num_known = len(list((twin / V2).rglob("Images/covid_*.png")))
    assert any(
        f"{num_known} films (covid_*) are held to be films of COVID-QU-Ex" in note
        for note in read("qata-cov19", twin).notes
    )
    for file in copy.rglob("*covid_*.png"):
        file.unlink()
    assert read("qata-cov19", copy).notes == ()


def test_version_1_is_listed_from_its_masks(twin: Path, copy: Path) -> None:
    records = read("qata-cov19", twin, version=QataVersion.V1)
    masks = list((twin / "QaTa-COV19" / "QaTa-COV19-v1" / "Ground-truths").iterdir())
    films = list((twin / "QaTa-COV19" / "QaTa-COV19-v1" / "Images").iterdir())
    assert len(records) == len(masks) < len(films)
    assert set(records.table["split"]) == {""}
    films_of_masks = copy / "QaTa-COV19" / "QaTa-COV19-v1" / "Images"
    (films_of_masks / masks[0].name.removeprefix("mask_")).unlink()
    with pytest.raises(
        DataError, match=r"holds masks of no film \(mask_.*\); expected mask_X\.png for a film Images/X"
    ):
        read("qata-cov19", copy, version=QataVersion.V1)


def test_the_doctor_misses_a_mask_and_finds_one_too_many(twin: Path, copy: Path) -> None:
    assert doctor("qata-cov19", twin).issues == ()
    mask = min((copy / V2 / "Test Set" / "Ground-truths").iterdir())
    mask.rename(mask.with_name("mask_covid_0.png"))
    missing, surplus = (issue for issue in doctor("qata-cov19", copy).issues if issue.is_fault)
    assert [Path(file).name for file in missing.files] == [mask.name]
    assert [Path(file).name for file in surplus.files] == ["mask_covid_0.png"]


def test_each_version_has_counts_of_its_own(twin: Path) -> None:
    assert DATASET.expected_counts(QataCov19Options())["films:test"] == 2_113
    assert DATASET.expected_counts(QataCov19Options(version=QataVersion.V1))["films"] == 2_951
    films_without_masks = DATASET.inspect(
        twin, QataCov19Options(version=QataVersion.V1), read("qata-cov19", twin, version=QataVersion.V1)
    )
    assert films_without_masks == []


def test_a_tree_that_is_not_whole_is_refused(copy: Path) -> None:
    shutil.rmtree(copy / V2 / "Test Set" / "Images")
    with pytest.raises(DataError, match=r"Test Set/Images is missing; the root of qata-cov19 is expected to hold QaTa"):
        read("qata-cov19", copy)
    shutil.rmtree(copy / V2)
    with pytest.raises(DataError, match=r"Train Set is missing; the root of qata-cov19 is expected to hold QaTa"):
        read("qata-cov19", copy)
    shutil.rmtree(copy / "QaTa-COV19")
    with pytest.raises(DataError, match=r"QaTa-COV19-v1/Images is missing"):
        read("qata-cov19", copy, version=QataVersion.V1)


def test_greys_of_a_mask_count_above_127(twin: Path, tmp_path: Path) -> None:
    greys = {grey for path in (twin / V2).rglob("mask_*.png") for grey in np.unique(np.asarray(Image.open(path)))}
    assert len(greys) > 10
    records = read("qata-cov19", twin)
    pack = packed("qata-cov19", records, tmp_path / "pack")
    source = dict(zip(records.table["sample_id"], records.table["mask:infection"], strict=True))
    for row, sample in enumerate(pack.sample_ids):
        grey = np.asarray(Image.open(twin / source[sample]).resize((32, 32), Image.Resampling.NEAREST))
        is_judged = pack.masks[row, 0] != 255
        assert is_judged.mean() > 0.9  # 127 and 128 are neither
        assert ((pack.masks[row, 0] == 1) == (grey > 127))[is_judged].all()


def test_the_twin_is_the_same_bytes_again_and_shares_films_with_covid_qu_ex(twin: Path, tmp_path: Path) -> None:
    assert tree_bytes(twin_of("qata-cov19", tmp_path / "again", 40)) == tree_bytes(twin)
    theirs = {path.name for path in twin_of("covid-qu-ex", tmp_path / "covid", 60).rglob("images/covid_*.png")}
    assert len({path.name for path in (twin / V2).rglob("Images/covid_*.png")} & theirs) > 5


def test_a_decoder_learns_infection_from_the_twin(twin: Path, tmp_path: Path) -> None:
    rows = segment(packed("qata-cov19", read("qata-cov19", twin), tmp_path / "pack"), epochs=30)
    assert rows["infection", "dice_pooled"].value > 0.2
