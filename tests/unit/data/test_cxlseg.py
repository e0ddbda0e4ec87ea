"""CXLSeg: the X-ray from MIMIC-CXR-JPG, the mask from CXLSeg, and no way to take the pre-masked film for an X-ray."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from twin_journey import counts_of, doctor, faults, kind_of, packed, read, segment, tree_bytes, twin_of

from pacx.core.errors import DataError, UsageError
from pacx.core.findings import CHEXPERT_LABELS
from pacx.data.checks.record_counts import tally
from pacx.data.dataset import datasets

PATIENTS = 30
NAME = "chest-x-ray-dataset-with-lung-segmentation-1.0.0"
HOME, MIMIC = Path(NAME) / NAME, Path("mimic-cxr-jpg/2.1.0")


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return twin_of("cxlseg", tmp_path_factory.mktemp("official") / "cxlseg", PATIENTS)


@pytest.fixture
def copy(twin: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(twin, tmp_path / "copy"))


def edit(path: Path, change) -> None:
    change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)


def test_what_was_written_is_what_is_read(twin: Path) -> None:
    records = read("cxlseg", twin)
    assert tally(records) == counts_of(twin)
    assert records.label_names == CHEXPERT_LABELS
    for column in ("image_path", "mask:lung"):
        assert records.table[column].map(lambda path: (records.root / path).is_file()).all()
    assert doctor("cxlseg", twin).is_green


def test_the_film_is_mimics_and_the_mask_is_cxlsegs_at_the_same_relative_path(twin: Path) -> None:
    table = read("cxlseg", twin).table
    assert table["image_path"].str.startswith(f"{MIMIC.as_posix()}/files/p").all()
    assert table["mask:lung"].str.startswith(f"{HOME.as_posix()}/files/p").all()
    films = table["image_path"].str.removeprefix(f"{MIMIC.as_posix()}/")
    masks = table["mask:lung"].str.removeprefix(f"{HOME.as_posix()}/")
    assert (masks == films.str.removesuffix(".jpg") + "-mask.jpg").all()
    assert films.map(lambda path: Path(path).stem).tolist() == table["sample_id"].tolist()


def test_the_twin_has_the_trap(twin: Path) -> None:
    table = read("cxlseg", twin).table
    film = table["image_path"][0].removeprefix(f"{MIMIC.as_posix()}/")
    assert kind_of(twin / HOME / film) == ("RGB", (224, 224))
    assert kind_of(twin / table["mask:lung"][0]) == ("L", (224, 224))
    mode, (width, height) = kind_of(twin / MIMIC / film)
    assert (mode, height > width) == ("L", True)
    mask = np.asarray(Image.open(twin / table["mask:lung"][0]))
    masked = np.asarray(Image.open(twin / HOME / film).convert("L"))
    assert masked[mask < 10].mean() < 1
    lung, bright = mask > 127, masked > 10
    assert (lung & bright).sum() / (lung | bright).sum() > 0.9  # a threshold finds the mask: nothing to learn
    assert len(np.unique(mask)) > 2  # JPEG


def test_the_folder_of_cxlseg_is_refused_as_films(twin: Path, copy: Path) -> None:
    for folder in (twin / HOME, twin / HOME / "files" / ".."):
        with pytest.raises(
            DataError, match=r"is CXLSeg's own folder, and its films are not X-rays: they are black outsi"
        ):
            read("cxlseg", twin, mimic_cxr_jpg=folder)
    linked = copy / "linked"
    linked.mkdir()
    (linked / "files").symlink_to(copy / HOME / "files")
    with pytest.raises(DataError, match="is CXLSeg's own folder"):
        read("cxlseg", copy, mimic_cxr_jpg=linked)


def test_premasked_films_are_refused_wherever_they_lie(twin: Path, copy: Path) -> None:
    shutil.rmtree(copy / MIMIC / "files")
    shutil.copytree(twin / HOME / "files", copy / MIMIC / "files", ignore=shutil.ignore_patterns("*-mask.jpg"))
    with pytest.raises(DataError, match=r"films of .*mimic-cxr-jpg/2\.1\.0 .* are not X-rays: they are black outside"):
        read("cxlseg", copy)
    assert "not X-rays" in faults(doctor("cxlseg", copy))[0]


def test_a_few_premasked_films_are_found_by_the_doctor(twin: Path, copy: Path) -> None:
    table = read("cxlseg", copy).table
    film = table["image_path"][1].removeprefix(f"{MIMIC.as_posix()}/")  # not among the few that reading looks at
    shutil.copy(twin / HOME / film, copy / MIMIC / film)
    read("cxlseg", copy)
    (message,) = faults(doctor("cxlseg", copy))
    assert message.startswith("1 films")
    assert "not X-rays" in message


def test_without_mimic_it_is_refused_and_says_why(copy: Path, tmp_path: Path) -> None:
    expected = read("cxlseg", copy).table["sample_id"].tolist()
    (copy / "mimic-cxr-jpg").rename(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match=r"MIMIC-CXR-JPG is not below .*; CXLSeg ships no X-rays .* as mimic_cxr_jpg"):
        read("cxlseg", copy)
    records = read("cxlseg", copy / HOME, mimic_cxr_jpg=tmp_path / "elsewhere" / "2.1.0")
    assert records.table["sample_id"].tolist() == expected
    assert records.table["image_path"].map(lambda path: (records.root / path).is_file()).all()
    with pytest.raises(UsageError, match="holds no folder 'files'"):
        read("cxlseg", copy, mimic_cxr_jpg=tmp_path / "elsewhere")


def test_masks_count_above_127(twin: Path, tmp_path: Path) -> None:
    records = read("cxlseg", twin)
    pack = packed("cxlseg", records, tmp_path / "pack")
    masks = dict(zip(records.table["sample_id"], records.table["mask:lung"], strict=True))
    for row, sample in enumerate(pack.sample_ids):
        grey = np.asarray(Image.open(records.root / masks[sample]).resize((32, 32), Image.Resampling.NEAREST))
        is_judged = pack.masks[row, 0] != 255
        assert is_judged.mean() > 0.95
        assert ((pack.masks[row, 0] == 1) == (grey > 127))[is_judged].all()


def test_validate_is_val_and_shared_subjects_are_told(twin: Path) -> None:
    official = pd.read_csv(twin / HOME / "CXLSeg-split.csv", dtype=str).set_index("dicom_id")
    table = read("cxlseg", twin).table
    assert set(official["split"]) == {"train", "test", "validate"}
    assert (official.loc[table["sample_id"], "split"].replace("validate", "val").to_numpy() == table["split"]).all()
    shared = int((table.groupby("patient_id")["split"].nunique() > 1).sum())
    assert shared > 0
    (warning,) = doctor("cxlseg", twin).issues
    assert not warning.is_fault
    assert f"{shared} patients have films in two splits" in warning.message


def test_tables_are_joined_by_film_in_whatever_order(copy: Path) -> None:
    before = read("cxlseg", copy).table
    for name in ("CXLSeg-mask.csv", "CXLSeg-split.csv"):
        edit(copy / HOME / name, lambda table: table.sample(frac=1, random_state=3)[sorted(table.columns)])
    pd.testing.assert_frame_equal(read("cxlseg", copy).table, before)


def test_uncertain_and_blank_labels_are_unknown(twin: Path) -> None:
    csv = pd.read_csv(twin / HOME / "CXLSeg-segmented.csv")
    table = read("cxlseg", twin).table
    assert (csv["Edema"] == -1).any()
    assert table["Edema"].isna().sum() == (csv["Edema"].isna() | (csv["Edema"] == -1)).sum()
    assert (table["Edema"] == 0).sum() == (csv["Edema"] == 0).sum() > 0


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("segmented", lambda t: t.drop(columns="DicomPath"), "lacks column 'DicomPath'"),
        ("segmented", lambda t: t.assign(Fracture="3"), "column 'Fracture' of .* holds '3'"),
        ("segmented", lambda t: t.assign(DicomPath="film.jpg"), "expected files/pNN/"),
        ("segmented", lambda t: t.assign(DicomPath=t["DicomPath"].str.replace(".jpg", "-mask.jpg")), "DICOM_ID.jpg"),
        ("mask", lambda t: t.assign(DicomPath=t["DicomPath"].str.replace("-mask", "")), "expected .*-mask.jpg"),
        ("mask", lambda t: t.iloc[1:], "do not name the same films once each"),
        ("split", lambda t: t.assign(split="val"), "expected train, validate or test"),
        ("split", lambda t: pd.concat([t, t.iloc[:1]]), "do not name the same films once each"),
    ],
)
def test_tables_that_do_not_fit_are_refused(copy: Path, name: str, change, message: str) -> None:
    edit(copy / HOME / f"CXLSeg-{name}.csv", change)
    with pytest.raises(DataError, match=message):
        read("cxlseg", copy)


def test_missing_and_surplus_files_are_named(copy: Path) -> None:
    records = read("cxlseg", copy)
    mask = copy / records.table["mask:lung"][5]
    mask.rename(mask.with_name("0-mask.jpg"))
    assert len(faults(doctor("cxlseg", copy))) == 2
    (copy / HOME / "CXLSeg-mask.csv").unlink()
    with pytest.raises(
        DataError, match=r"CXLSeg-mask\.csv is missing; the root of cxlseg is expected to hold CXLSeg-segm"
    ):
        read("cxlseg", copy)


def test_the_released_code_has_no_split_of_its_own(twin: Path) -> None:
    with pytest.raises(UsageError, match="no split of cxlseg"):
        datasets()["cxlseg"].released_code_splits(read("cxlseg", twin))


def test_the_twin_is_the_same_bytes_again(twin: Path, tmp_path: Path) -> None:
    assert tree_bytes(twin_of("cxlseg", tmp_path / "again", PATIENTS)) == tree_bytes(twin)


def test_a_decoder_learns_lungs_from_the_twin(twin: Path, tmp_path: Path) -> None:
    rows = segment(packed("cxlseg", read("cxlseg", twin), tmp_path / "pack"))
    assert rows["lung", "dice_pooled"].value > 0.7
