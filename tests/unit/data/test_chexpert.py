"""CheXpert: both distributions, uncertain labels, paths that name another distribution."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from twin_checks import assert_counts_agree, assert_doctor_is_content, probe_auroc, read, write

from pacx.core.errors import DataError, UsageError
from pacx.core.findings import CHEXPERT_LABELS
from pacx.data.datasets.chexpert import _UNCERTAIN_IN_TRAINING, DATASET, TrainingLabels
from pacx.data.splits import assign_splits, patients_in_two_splits

HEADER = "Path,Sex,Age,Frontal/Lateral,AP/PA," + ",".join(CHEXPERT_LABELS)
ROW = "CheXpert-v1.0/valid/patient64541/study1/view1_frontal.jpg,Male,50,Frontal,PA" + ",0.0" * 14


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write("chexpert", tmp_path_factory.mktemp("chexpert") / "twin")


@pytest.fixture
def copy(twin: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(twin, tmp_path / "copy"))


def tiny(root: Path, *rows: str, header: str = HEADER, valid: str = ROW) -> Path:
    """A tree whose training table has these rows; films are not looked for."""
    (root / "train").mkdir(parents=True)
    (root / "train.csv").write_text("\n".join([header, *rows]) + "\n")
    (root / "valid.csv").write_text(f"{HEADER}\n{valid}\n")
    return root


def row(
    patient: int, labels: str, *, path: str = "CheXpert-v1.0-small/train/", sex: str = "Male", ap: str = "AP"
) -> str:
    return f"{path}patient{patient:05d}/study1/view1_frontal.jpg,{sex},50,Frontal,{ap},{labels}"


def test_the_twin_is_read_as_it_was_written(twin: Path) -> None:
    records = read(DATASET, twin)
    assert_counts_agree(twin, records)
    assert records.label_names == CHEXPERT_LABELS
    table = records.table
    assert set(table["split"]) == {"train", "val"}
    assert {"AP", "PA", "LATERAL"} == set(table["view"])
    assert ((table["view"] == "LATERAL") == table["image_path"].str.endswith("_lateral.jpg")).all()
    assert table.groupby("patient_id").size().max() > 2
    assert not patients_in_two_splits(table)
    assert all((twin / path).is_file() for path in table["image_path"])


def test_uncertain_and_not_mentioned_are_unknown_and_never_absent(twin: Path, tmp_path: Path) -> None:
    words = "1.0,0.0,-1.0,," + "0.0," * 9 + "1.0"
    table = read(DATASET, tiny(tmp_path / "tiny", row(1, words))).table
    np.testing.assert_array_equal(table.loc[0, list(CHEXPERT_LABELS[:4])].astype(float), [1, 0, np.nan, np.nan])

    raw = pd.read_csv(twin / "train.csv")[list(CHEXPERT_LABELS)]
    assert (raw == -1).any(axis=None)
    assert set(raw["No Finding"].dropna()) == {1}
    training = read(DATASET, twin).table[: len(raw)][list(CHEXPERT_LABELS)]
    assert (training.isna() == (raw.isna() | (raw == -1))).all(axis=None)
    assert (training[~raw.isna() & (raw >= 0)] == raw[raw >= 0]).sum(axis=None) == (raw >= 0).sum(axis=None)


@pytest.mark.parametrize("prefix", ["CheXpert-v1.0-small/", "CheXpert-v1.0/", "CheXpert-v1.0 batch 2 (train 1)/", ""])
def test_the_name_of_the_distribution_is_taken_off_the_path(copy: Path, twin: Path, prefix: str) -> None:
    for name in ("train.csv", "valid.csv"):
        text = (copy / name).read_text()
        assert "\nCheXpert-v1.0-small/" in text
        (copy / name).write_text(text.replace("\nCheXpert-v1.0-small/", f"\n{prefix}"))
    pd.testing.assert_frame_equal(read(DATASET, copy).table, read(DATASET, twin).table)


@pytest.mark.parametrize("has_level", [True, False], ids=["batch/train/patient", "batch/patient"])
def test_patients_are_found_in_whatever_batch_they_lie(copy: Path, twin: Path, *, has_level: bool) -> None:
    first = copy / "CheXpert-v1.0 batch 1 (validate & csv)"
    batches = [copy / f"CheXpert-v1.0 batch {number} (train {number - 1})" for number in (2, 3)]
    for folder in (first, *batches):
        folder.mkdir()
    for name in ("train.csv", "valid.csv", *(("valid",) if has_level else ())):  # or valid stays where it is
        (copy / name).rename(first / name)
    for number, patient in enumerate(sorted((copy / "train").iterdir())):
        target = batches[number % 2] / ("train" if has_level else ".")
        target.mkdir(exist_ok=True)
        patient.rename(target / patient.name)
    (copy / "train").rmdir()
    records = read(DATASET, copy)
    assert all((copy / path).is_file() for path in records.table["image_path"])
    pd.testing.assert_frame_equal(
        records.table.drop(columns="image_path"), read(DATASET, twin).table.drop(columns="image_path")
    )


def test_a_patient_in_two_batches_is_looked_for_film_by_film_and_a_lost_one_is_named_where_it_should_be(
    tmp_path: Path,
) -> None:
    tiny(
        tmp_path, row(1, "0.0," * 13 + "0.0"), row(1, "0.0," * 13 + "0.0").replace("study1", "study2"), row(2, "," * 13)
    )
    (tmp_path / "train").rmdir()
    for batch, study in (("a", "study1"), ("b", "study2")):
        folder = tmp_path / f"CheXpert-v1.0 batch {batch}" / "patient00001" / study
        folder.mkdir(parents=True)
        (folder / "view1_frontal.jpg").touch()
    paths = read(DATASET, tmp_path).table["image_path"].tolist()
    assert paths[0] == "CheXpert-v1.0 batch a/patient00001/study1/view1_frontal.jpg"
    assert paths[1] == "CheXpert-v1.0 batch b/patient00001/study2/view1_frontal.jpg"
    assert paths[2] == "train/patient00002/study1/view1_frontal.jpg"


def test_a_folder_around_the_distribution_will_do_but_not_around_two(copy: Path, twin: Path) -> None:
    around = copy.parent / "around"
    around.mkdir()
    copy.rename(around / "CheXpert-v1.0-small")
    table = read(DATASET, around).table
    assert (table["image_path"] == "CheXpert-v1.0-small/" + read(DATASET, twin).table["image_path"]).all()
    shutil.copytree(twin, around / "CheXpert-v1.0")
    with pytest.raises(DataError, match=r"holds train\.csv in .*CheXpert-v1\.0 and in .*small; give one"):
        read(DATASET, around)


def test_the_other_labellers_are_read_by_column_name(twin: Path) -> None:
    records = read(DATASET, twin, labels=TrainingLabels.VISUAL_CHEXBERT)
    header = (twin / "train_visualCheXbert.csv").read_text().splitlines()[0]
    assert header.endswith(",No Finding")
    assert records.label_names[0] == "No Finding"
    assert not records.table[list(CHEXPERT_LABELS)].isna().any(axis=None)
    reported = read(DATASET, twin).table
    known = reported["Pleural Effusion"].notna()
    assert (records.table["Pleural Effusion"][known] == reported["Pleural Effusion"][known]).all()
    assert "visualCheXbert" in records.notes[0]


def test_rare_views_and_an_unknown_sex_are_kept(tmp_path: Path) -> None:
    table = read(DATASET, tiny(tmp_path / "tiny", row(1, "," * 13, ap="LL"), row(2, "," * 13, sex="Unknown"))).table
    assert table["view"].tolist()[:2] == ["LL", "AP"]
    assert table["sex"].tolist()[:2] == ["M", ""]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(1, "2.0," + "," * 12)], r"column 'No Finding' of .*train\.csv holds '2\.0' in line 2"),
        ([row(1, "1.0," + "," * 12).replace(",50,", ",old,")], "column 'Age' .* holds 'old'"),
        ([row(1, "," * 13), row(1, "," * 13)], "1 sample ids occur more than once"),
        ([row(1, "," * 13, path="files/")], "column 'Path' .* expected train/patientNNNNN"),
        ([row(1, "," * 13, ap="XX")], "column 'AP/PA' .* holds 'XX'"),
        ([row(1, "," * 13, sex="male?")], "column 'Sex'"),
        ([row(1, "," * 12)], "18 fields in line 2, expected 19"),
    ],
)
def test_what_is_no_chexpert_table_is_refused(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(DATASET, tiny(tmp_path / "tiny", *rows))


def test_missing_things_are_named(tmp_path: Path, copy: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        read(DATASET, tmp_path / "nowhere")
    with pytest.raises(DataError, match="lacks column 'Edema'"):
        read(DATASET, tiny(tmp_path / "tiny", row(1, "," * 13), header=HEADER.replace("Edema", "Oedema")))
    with pytest.raises(DataError, match=r"train_cheXbert\.csv is missing; the root of chexpert is expected to hold"):
        read(DATASET, copy, labels=TrainingLabels.CHEXBERT)
    (copy / "valid.csv").unlink()
    with pytest.raises(DataError, match=r"valid\.csv is missing"):
        read(DATASET, copy)


def test_the_uncertain_labels_of_a_complete_table_are_counted(tmp_path: Path) -> None:
    num_rows = 223_414
    columns = {
        name: np.where(np.arange(num_rows) < count, "-1.0", "") for name, count in _UNCERTAIN_IN_TRAINING.items()
    }
    patient = np.char.zfill(np.arange(num_rows).astype(str), 6)
    path = np.char.add(np.char.add("CheXpert-v1.0/train/patient", patient), "/study1/view1_frontal.jpg")
    table = pd.DataFrame({"Path": path, "Sex": "Male", "Age": 50, "AP/PA": "AP", "No Finding": "", **columns})
    root = tiny(tmp_path / "tiny", row(1, "," * 13))
    table.to_csv(root / "train.csv", index=False)
    records = read(DATASET, root)
    assert len(records) == num_rows + 1
    assert DATASET.inspect(root, DATASET.options_type(), records) == []
    table.loc[0, "Edema"] = ""
    table.to_csv(root / "train.csv", index=False)
    (finding,) = DATASET.inspect(root, DATASET.options_type(), records)
    assert "12983 films uncertain for Edema, expected 12984" in finding.message


def test_the_doctor_is_content_and_a_probe_learns_from_the_packed_twin(tmp_path: Path) -> None:
    root = write("chexpert", tmp_path / "twin", num_patients=150)
    assert_doctor_is_content(DATASET, root)
    records = read(DATASET, root)
    divided = assign_splits(records.table, records.label_names, seed=0)
    auroc = probe_auroc(replace(records, table=records.table.assign(split=divided)), tmp_path / "pack")
    assert auroc["macro"] > 0.65
    assert auroc["Pleural Effusion"] > 0.65
