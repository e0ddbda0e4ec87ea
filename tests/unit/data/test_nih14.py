"""NIH ChestX-ray14: header names with commas, joined findings, official lists, twelve folders or one."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from twin_checks import assert_counts_agree, assert_doctor_is_content, probe_auroc, read, write

from pacx.core.errors import DataError, UsageError
from pacx.core.findings import NIH14_LABELS
from pacx.data.datasets.nih14 import DATASET
from pacx.data.packs.splitting import with_released_code_splits, with_splits
from pacx.data.splits import patients_in_two_splits

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write("nih14", tmp_path_factory.mktemp("nih14") / "twin")


@pytest.fixture
def copy(twin: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(twin, tmp_path / "copy"))


def line(name: str, findings: str, *, age: str = "50", sex: str = "F", view: str = "PA", patient: str = "") -> str:
    return f"{name}.png,{findings},0,{patient or int(name[:8])},{age},{sex},{view},2048,2500,0.1,0.1"


def tiny(root: Path, *lines: str, header: str = HEADER, test: str | None = None) -> Path:
    """A tree with these rows, all but the last on the training list; films are not looked for."""
    (root / "images").mkdir(parents=True)
    (root / "Data_Entry_2017_v2020.csv").write_text("\n".join([header, *lines]) + "\n")
    names = [row.split(",")[0] for row in lines]
    (root / "train_val_list.txt").write_text("\n".join(names[:-1]) + "\n")
    (root / "test_list.txt").write_text(test if test is not None else names[-1])
    return root


A, B = line("00000001_000", "No Finding"), line("00000002_000", "Mass")


def test_the_twin_is_read_as_it_was_written(twin: Path) -> None:
    records = read(DATASET, twin)
    assert_counts_agree(twin, records)
    table = records.table
    assert records.label_names == NIH14_LABELS
    assert not table[list(NIH14_LABELS)].isna().any(axis=None)
    assert table.groupby("patient_id").size().max() > 2
    assert table["image_path"].str.fullmatch(r"images_0\d\d/images/\d{8}_\d{3}\.png").all()
    assert table["image_path"].str.slice(0, 10).nunique() == 12
    assert all((twin / path).is_file() for path in table["image_path"])
    modes = set()
    for path in table["image_path"]:
        with Image.open(twin / path) as film:
            modes.add(film.mode)
    assert modes == {"L", "RGBA"}


def test_header_names_with_commas_and_a_comma_at_the_end_shift_nothing(copy: Path, twin: Path) -> None:
    path = copy / "Data_Entry_2017.csv"
    lines = path.read_text().splitlines()
    assert {len(text.split(",")) for text in lines} == {12}
    expected = read(DATASET, twin).table
    path.write_text("\n".join(text.removesuffix(",") for text in lines) + "\n")
    pd.testing.assert_frame_equal(read(DATASET, copy).table, expected)  # 11 fields
    path.write_text("\n".join([lines[0].removesuffix(","), *lines[1:]]) + "\n")
    pd.testing.assert_frame_equal(read(DATASET, copy).table, expected)  # 11 names over 12 fields
    moved = [",".join(np.roll(text.split(","), 3)) for text in lines]
    path.write_text("\n".join(moved) + "\n")
    pd.testing.assert_frame_equal(read(DATASET, copy).table, expected)  # in another order


def test_one_folder_of_films_and_the_table_of_2020_will_do(copy: Path, twin: Path) -> None:
    (copy / "images").mkdir()
    for folder in sorted(copy.glob("images_*")):
        for film in (folder / "images").iterdir():
            film.rename(copy / "images" / film.name)
        shutil.rmtree(folder)
    (copy / "Data_Entry_2017.csv").rename(copy / "Data_Entry_2017_v2020.csv")
    table = read(DATASET, copy).table
    assert all((copy / path).is_file() for path in table["image_path"])
    pd.testing.assert_frame_equal(
        table.drop(columns="image_path"), read(DATASET, twin).table.drop(columns="image_path")
    )
    (copy / table["image_path"][0]).unlink()
    assert read(DATASET, copy).table["image_path"][0] == table["image_path"][0]  # for the doctor to miss


def test_findings_are_taken_apart_and_never_searched(tmp_path: Path) -> None:
    rows = [
        line("00000001_000", "Effusion|Pleural_Thickening"),
        line("00000001_001", "No Finding"),
        line("00000002_000", "Mass"),
    ]
    table = read(DATASET, tiny(tmp_path / "t", *rows)).table
    found = [[name for name in NIH14_LABELS if row[name] == 1] for _, row in table.iterrows()]
    assert found == [["Effusion", "Pleural_Thickening"], [], ["Mass"]]
    assert table[list(NIH14_LABELS)].sum(axis=None) == 3


def test_ages_are_years_and_impossible_ones_unknown(tmp_path: Path) -> None:
    ages = ["58", "414", "058Y", "018M", "073D"]
    rows = [line(f"0000000{number}_000", "Mass", age=age) for number, age in enumerate(ages)]
    table = read(DATASET, tiny(tmp_path / "t", *rows)).table
    np.testing.assert_allclose(table["age"], [58, np.nan, 58, 1.5, 0.2])


def test_patient_sex_will_do_for_patient_gender(tmp_path: Path) -> None:
    header = HEADER.replace("Patient Gender", "Patient Sex")
    assert read(DATASET, tiny(tmp_path / "t", A, B, header=header)).table["sex"].tolist() == ["F", "F"]
    with pytest.raises(DataError, match=r"lacks column 'Patient Gender' \(or 'Patient Sex'\)"):
        read(DATASET, tiny(tmp_path / "u", A, B, header=HEADER.replace("Patient Gender", "Gender")))


def test_validation_films_are_drawn_by_patient_unless_the_released_code_is_asked_for(tmp_path: Path) -> None:
    records = read(DATASET, write("nih14", tmp_path / "twin", num_patients=100))
    counts = DATASET.card.counts
    assert counts["films:train"] + counts["films:test"] == counts["view:PA"] + counts["view:AP"] == counts["films"]
    own = with_splits(records, 0, DATASET.card.splits).table
    assert patients_in_two_splits(own) == []
    training = own[own["split"] != "test"]
    assert 0.1 < (training["split"] == "val").mean() < 0.2
    assert (own["split"] == "test").equals(records.table["split"] == "test")
    released = with_released_code_splits(records, DATASET).table
    assert len(patients_in_two_splits(released)) > 5
    assert (released["split"] == "test").equals(records.table["split"] == "test")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((A, line("00000002_000", "Infiltrate")), r"column 'Finding Labels' of .* holds 'Infiltrate' in line 3"),
        ((A, line("00000002_000", "No Finding|Mass")), "expected No Finding alone"),
        ((A, line("00000002_000", "")), "holds '' in line 3"),
        ((A, line("00000002_000", "Mass", age="old")), "column 'Patient Age' .* holds 'old'"),
        ((A, line("00000002_000", "Mass", view="LL")), "column 'View Position' .* expected AP or PA"),
        ((A, line("00000002_000", "Mass", patient="7")), "column 'Patient ID' .* holds '7'"),
        ((A, line("00000002_00", "Mass", patient="2")), r"column 'Image Index' .* expected NNNNNNNN_NNN\.png"),
        ((A, A, B), "1 sample ids occur more than once: 00000001_000"),
        ((A, B + ",x"), "12 fields in line 3, expected 11"),
        ((A, line("00000001_001", "Mass")), "share 1 patients: 00000001"),
    ],
)
def test_what_is_not_the_nih_table_is_refused(tmp_path: Path, rows: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(DATASET, tiny(tmp_path / "t", *rows))


def test_every_film_is_on_one_list(tmp_path: Path, copy: Path) -> None:
    with pytest.raises(DataError, match=r"lack 1 films of the table: 00000002_000\.png"):
        read(DATASET, tiny(tmp_path / "t", A, B, test=""))
    with pytest.raises(DataError, match=r"both name 00000001_000\.png"):
        read(DATASET, tiny(tmp_path / "u", A, B, test="00000001_000.png\n00000002_000.png"))
    (copy / "test_list.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DataError, match="cannot be read as a list"):
        read(DATASET, copy)
    (copy / "test_list.txt").unlink()
    with pytest.raises(DataError, match=r"test_list\.txt is missing; the root of nih14 is expected to hold"):
        read(DATASET, copy)


def test_missing_things_are_named(tmp_path: Path, copy: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        read(DATASET, tmp_path / "nowhere")
    with pytest.raises(DataError, match="lacks column 'Finding Labels'"):
        read(DATASET, tiny(tmp_path / "t", A, B, header=HEADER.replace("Finding Labels", "Findings")))
    (copy / "Data_Entry_2017.csv").unlink()
    with pytest.raises(DataError, match=r"Data_Entry_2017\.csv is missing"):
        read(DATASET, copy)
    bare = tiny(tmp_path / "bare", A, B)
    (bare / "images").rmdir()
    with pytest.raises(DataError, match="images_001/images is missing"):
        read(DATASET, bare)


def test_the_doctor_is_content_and_a_probe_learns_from_the_packed_twin(tmp_path: Path) -> None:
    root = write("nih14", tmp_path / "twin", num_patients=140)
    assert_doctor_is_content(DATASET, root)
    records = with_splits(read(DATASET, root), 0, DATASET.card.splits)
    auroc = probe_auroc(records, tmp_path / "pack")
    assert auroc["macro"] > 0.62
    assert auroc["Effusion"] > 0.6
