"""VinDr-CXR: three readers, two spellings, rare labels, DICOM of either photometric interpretation."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from twin_checks import assert_counts_agree, assert_doctor_is_content, probe_auroc, read, write

from pacx.core.errors import DataError, UsageError
from pacx.core.findings import VINDR_GLOBAL_LABELS, VINDR_LOCAL_LABELS
from pacx.data.datasets.vindr_cxr import _TRAINING_POSITIVES, DATASET, FilmSource, VindrCxrOptions
from pacx.data.images.decode import decode_grey
from pacx.data.packs.splitting import with_released_code_splits, with_splits
from pacx.simulation.cohort import CohortConfig
from pacx.simulation.film_files import films_of
from pacx.simulation.twins import vindr_cxr as twin_module

LABELS = (*VINDR_LOCAL_LABELS, *VINDR_GLOBAL_LABELS)


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write("vindr-cxr", tmp_path_factory.mktemp("vindr-cxr") / "twin", num_patients=60)


@pytest.fixture
def copy(twin: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(twin, tmp_path / "copy"))


def film(number: int) -> str:
    return f"{number:032x}"


def tables(root: Path, training: pd.DataFrame, num_test: int = 1) -> Path:
    """A tree of labels alone; the test films have no finding."""
    folder = root / "annotations"
    folder.mkdir(parents=True, exist_ok=True)
    training.to_csv(folder / "image_labels_train.csv", index=False)
    test = pd.DataFrame(0, index=range(num_test), columns=list(LABELS)).rename(
        columns={"Other diseases": "Other disease"}
    )
    test.insert(0, "image_id", [film(10**6 + number) for number in range(num_test)])
    test.to_csv(folder / "image_labels_test.csv", index=False)
    return root


def readings(num_films: int) -> pd.DataFrame:
    """Three readers each, who see nothing."""
    table = pd.DataFrame(0, index=range(3 * num_films), columns=["image_id", "rad_id", *LABELS])
    table["image_id"] = np.repeat([film(number) for number in range(num_films)], 3)
    table["rad_id"] = np.tile(["R8", "R9", "R10"], num_films)
    return table


def edit(root: Path, file: str, change: tuple[str, str]) -> Path:
    path = root / "annotations" / file
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace(*change, 1))
    return root


def test_the_twin_is_read_as_it_was_written(twin: Path) -> None:
    records = read(DATASET, twin)
    assert_counts_agree(twin, records)
    table = records.table
    assert all((twin / path).is_file() for path in table["image_path"])
    assert set(table["split"]) == {"train", "test"}
    assert table["image_path"].str.endswith(".dicom").all()
    assert "no patient ids" in records.notes[0]


def test_two_of_three_readers_make_a_finding(tmp_path: Path) -> None:
    table = readings(3)
    table.loc[0:1, "Edema"] = 1
    table.loc[3, "Edema"] = 1
    table.loc[6:8, "Edema"] = 1
    rows = read(DATASET, tables(tmp_path, table.sample(frac=1, random_state=0))).table.set_index("sample_id")
    assert [rows.loc[film(number), "Edema"] for number in range(3)] == [1, 0, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop(index=4), r"column 'image_id' .* \(2 rows are like that\); expected 3 rows per film"),
        (lambda table: pd.concat([table, table[:1].assign(rad_id="R7")]), "expected 3 rows per film"),
        (lambda table: pd.concat([table, table[:1]]), "expected each reader once per film"),
        (lambda table: table.assign(Edema=""), "column 'Edema' .* holds '' in line 2"),
        (lambda table: table.assign(Edema=2), "column 'Edema' .* holds '2'"),
        (lambda table: table.assign(image_id=table["image_id"].str[:-1]), "32 hexadecimal digits"),
        (lambda table: table.rename(columns={"Lung Opacity": "Lung opacity"}), "lacks column 'Lung Opacity'"),
        (lambda table: table.rename(columns={"Other diseases": "Others"}), r"lacks column 'Other diseases' \(or"),
        (lambda table: table.drop(columns="rad_id"), "lacks column 'rad_id'"),
    ],
)
def test_another_number_of_readers_gaps_and_other_names_are_refused(tmp_path: Path, change, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(DATASET, tables(tmp_path, change(readings(4))), min_positives=0)


def test_both_spellings_of_other_diseases_are_one_label(twin: Path, copy: Path) -> None:
    folder = twin / "annotations"
    assert ",Other diseases," in (folder / "image_labels_train.csv").read_text().splitlines()[0]
    assert ",Other disease," in (folder / "image_labels_test.csv").read_text().splitlines()[0]
    table = read(DATASET, twin).table
    raw = pd.read_csv(folder / "image_labels_test.csv").set_index("image_id")
    test = table[table["split"] == "test"].set_index("sample_id")
    assert raw["Other disease"].sum() > 0
    assert (test["Other diseases"] == raw["Other disease"].reindex(test.index)).all()
    edit(copy, "image_labels_test.csv", ("Other disease", "Other diseases"))
    pd.testing.assert_frame_equal(read(DATASET, copy).table, table)


def test_rare_labels_are_dropped_by_the_papers_rule(tmp_path: Path) -> None:
    """600 training films ask for the share that 50 of 15,000 are: two."""
    table = readings(600)
    table.loc[0:2, "Edema"] = 1
    table.loc[0:5, "Lung Opacity"] = 1
    table.loc[0:8, "COPD"] = 1
    table["No finding"] = 1
    root = tables(tmp_path, table)
    assert read(DATASET, root).label_names == ("Lung Opacity", "COPD")
    assert read(DATASET, root, min_positives=25).label_names == ("Edema", "Lung Opacity", "COPD")
    assert read(DATASET, root, min_positives=75).label_names == ("COPD",)
    everything = read(DATASET, root, min_positives=0).label_names
    assert everything == tuple(name for name in LABELS if name != "No finding")
    assert "Labels with too few positives are left out: Aortic enlargement" in read(DATASET, root).notes[1]
    with pytest.raises(DataError, match="positives enough; lower min_positives"):
        read(DATASET, root, min_positives=76)
    with pytest.raises(UsageError, match="min_positives is -1"):
        VindrCxrOptions(min_positives=-1)


def test_a_complete_set_keeps_the_nineteen_labels_and_is_held_against_their_numbers(tmp_path: Path) -> None:
    table = readings(15_000)
    for name, count in _TRAINING_POSITIVES.items():
        table.loc[: 3 * count - 1, name] = np.tile([1, 0, 1], count)
    for name in (
        "Edema",
        "Clavicle fracture",
        "Lung cyst",
        "COPD",
        "Emphysema",
        "Lung cavity",
        "Enlarged PA",
        "Rib fracture",
    ):
        table.loc[: 3 * 49 - 1, name] = 1
    root = tables(tmp_path, table, num_test=3000)
    records = read(DATASET, root)
    assert len(records.label_names) == 19
    assert set(records.label_names) == set(_TRAINING_POSITIVES)
    assert DATASET.inspect(root, VindrCxrOptions(), records) == []
    assert with_released_code_splits(records, DATASET).table["split"].value_counts().to_dict() == {
        "train": 13_500, "test": 3_000, "val": 1_500,
    }  # fmt: skip
    table.loc[: 3 * 60 - 1, "Edema"] = 1
    table.loc[:8, "Pneumothorax"] = 0
    records = read(DATASET, tables(tmp_path, table, num_test=3000))
    messages = [finding.message for finding in DATASET.inspect(root, VindrCxrOptions(), records)]
    assert len(messages) == 2
    assert "Pneumothorax is present on 55 training films" in messages[0]
    assert "Edema is present on 60 training films" in messages[1]


def test_the_films_come_out_as_they_were_taken_whatever_the_file_stores(twin: Path) -> None:
    headers = [pydicom.dcmread(path) for path in sorted(twin.rglob("*.dicom"))]
    assert {header.PhotometricInterpretation for header in headers} == {"MONOCHROME1", "MONOCHROME2"}
    assert {header.BitsStored for header in headers} == {12, 14, 16}
    assert {int(header.RescaleIntercept) for header in headers} == {0, -1024}
    assert {header.file_meta.TransferSyntaxUID.is_compressed for header in headers} == {True, False}
    assert all(header.PatientName == "" and header.PatientID == "" for header in headers)

    config = CohortConfig(image_size_px=40)
    patients = twin_module.patients_of(["a"], config)
    (taken,) = films_of(patients, ["a"], np.array([0]), config, title="")
    for row in range(12):
        path = twin.parent / "one.dicom"
        path.write_bytes(twin_module._dicom_bytes(taken.image, row, film(row), sex="F", years=60))
        seen = decode_grey(path).astype(int)
        assert np.abs(seen - taken.image).max() <= 1, row


def test_the_png_copy_is_found_in_its_folder_or_in_the_root(twin: Path, copy: Path) -> None:
    paths = read(DATASET, twin, films=FilmSource.PNG_512).table["image_path"]
    assert paths.str.fullmatch(r"(train|test)/[0-9a-f]{32}\.png").all()
    (copy / "vinbigdata").mkdir()
    assert (read(DATASET, copy, films=FilmSource.PNG_512).table["image_path"] == "vinbigdata/" + paths).all()


def test_missing_things_and_doubled_films_are_named(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        read(DATASET, tmp_path / "nowhere")
    path = copy / "annotations" / "image_labels_test.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[1]]) + "\n")
    with pytest.raises(DataError, match="each film once: the test is read once"):
        read(DATASET, copy)
    training = (copy / "annotations" / "image_labels_train.csv").read_text().splitlines()[1].split(",")[0]
    path.write_text("\n".join([lines[0], training + lines[1][32:]]) + "\n")
    with pytest.raises(DataError, match="1 sample ids occur more than once"):
        read(DATASET, copy)
    path.unlink()
    with pytest.raises(
        DataError, match=r"image_labels_test\.csv is missing; the root of vindr-cxr is expected to hold"
    ):
        read(DATASET, copy)


def test_the_doctor_is_content_and_a_probe_learns_from_the_packed_twin(tmp_path: Path) -> None:
    root = write("vindr-cxr", tmp_path / "twin", num_patients=150)
    assert_doctor_is_content(DATASET, root)
    records = with_splits(read(DATASET, root), 0, DATASET.card.splits)
    assert set(records.table["split"]) == {"train", "val", "test"}
    auroc = probe_auroc(records, tmp_path / "pack")
    assert auroc["macro"] > 0.62
    assert auroc["Pleural effusion"] > 0.65
