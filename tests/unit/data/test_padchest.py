"""PadChest: lists in cells, terms below a label, negatives that only the table names, films known to be damaged."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from twin_checks import assert_counts_agree, assert_doctor_is_content, probe_auroc, read, write

from pacx.core.errors import DataError, UsageError
from pacx.core.findings import PADCHEST_LABELS
from pacx.core.preprocessing import Preprocessing
from pacx.data.datasets.padchest import _DAMAGED, DATASET
from pacx.data.packs.packing import pack_records
from pacx.data.packs.splitting import with_splits
from pacx.data.records import NEGATIVE_COLUMN
from pacx.data.splits import assign_splits

TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
HEADER = (
    "ImageID,ImageDir,StudyID,PatientID,Projection,PhotometricInterpretation_DICOM,PatientSex_DICOM,MethodLabel,Labels"
)


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write("padchest", tmp_path_factory.mktemp("padchest") / "twin", num_patients=60)


def tiny(root: Path, *labels: str, row: str = "a{},0,s,p{},PA,MONOCHROME2,F,Physician") -> Path:
    """A tree whose table has these lists; films are not looked for."""
    (root / "0").mkdir(parents=True)
    lines = [f'{row.format(f"{number}.png", number)},"{cell}"' for number, cell in enumerate(labels)]
    (root / TABLE).write_text("\n".join([HEADER, *lines]) + "\n")
    return root


def test_the_twin_is_read_as_it_was_written(twin: Path) -> None:
    records = read(DATASET, twin)
    assert_counts_agree(twin, records)
    assert_doctor_is_content(DATASET, twin)
    assert {"PA", "AP", "LATERAL"} == set(records.table["view"])
    assert all((twin / path).is_file() for path in records.table["image_path"])


def test_words_are_whole_terms_and_narrower_ones_count_for_their_label(tmp_path: Path) -> None:
    cells = (
        "['normal']",
        "[' laminar atelectasis', '']",
        "['hydropneumothorax', 'COPD signs ']",
        "['pseudonodule', 'surgery']",
        "['air bronchogram']",
    )
    table = read(DATASET, tiny(tmp_path, *cells)).table
    found = [{name for name in PADCHEST_LABELS if row[name] == 1} for _, row in table.iterrows()]
    assert found == [
        {"normal"},
        {"atelectasis"},
        {"pleural effusion", "pneumothorax", "COPD signs"},
        set(),
        {"infiltrates", "consolidation"},
    ]
    assert not table[list(PADCHEST_LABELS)].isna().any(axis=None)


def test_nothing_is_known_where_a_report_says_nothing(tmp_path: Path) -> None:
    table = read(
        DATASET, tiny(tmp_path, "", "['exclude', 'cardiomegaly']", "['unchanged', 'cardiomegaly']", "['']")
    ).table
    labels = table[list(PADCHEST_LABELS)]
    assert labels.iloc[[0, 1, 3]].isna().all(axis=None)
    assert labels.loc[2, "cardiomegaly"] == 1
    assert labels.loc[2].drop("cardiomegaly").isna().all(), "a report that says unchanged repeats nothing"


def test_labels_of_a_network_may_be_left_unknown(twin: Path) -> None:
    everybody, physicians = read(DATASET, twin).table, read(DATASET, twin, physicians_only=True).table
    method = pd.read_csv(twin / TABLE).set_index(pd.read_csv(twin / TABLE)["ImageID"].str.removesuffix(".png"))
    is_network = (method.loc[everybody["sample_id"], "MethodLabel"] == "RNN_model").to_numpy()
    assert 0 < is_network.sum() < len(is_network)
    assert physicians.loc[is_network, list(PADCHEST_LABELS)].isna().all(axis=None)
    pd.testing.assert_frame_equal(physicians[~is_network], everybody[~is_network])


def test_negatives_are_turned_round_and_twelve_bits_fill_the_scale(twin: Path, tmp_path: Path) -> None:
    records = read(DATASET, twin)
    is_negative = records.table[NEGATIVE_COLUMN]
    assert 0.1 < is_negative.mean() < 0.4
    pack = pack_records(with_splits(records, 0), tmp_path / "pack", preprocessing=Preprocessing(image_size_px=32))
    corners = np.asarray(pack.images)[:, :2, :2].mean(axis=(1, 2))
    np.testing.assert_array_less(corners, 90)  # the air beside the body is dark on every film
    assert np.asarray(pack.images).max() > 200


def test_films_known_to_be_damaged_and_films_of_no_chest_are_left_out_and_told(twin: Path) -> None:
    raw = pd.read_csv(twin / TABLE)
    records = read(DATASET, twin)
    left_out = raw["ImageID"].isin(_DAMAGED) | (raw["Projection"] == "EXCLUDE")
    assert raw["ImageID"].isin(_DAMAGED).sum() == 1
    assert len(records) == (~left_out).sum() < len(raw)
    assert "1 films whose files are known" in records.notes[0]
    assert len(_DAMAGED) == 21


@pytest.mark.parametrize("cell", ["['cardiomegaly', '', ' ']", "['',' ','cardiomegaly']", "['' , 'cardiomegaly']"])
def test_empty_words_stand_beside_others(tmp_path: Path, cell: str) -> None:
    table = read(DATASET, tiny(tmp_path, cell)).table
    assert table["cardiomegaly"].tolist() == [1]
    assert table["atelectasis"].tolist() == [0]


@pytest.mark.parametrize("place", ["images", "images/flat", "."])
def test_other_ways_to_unpack_are_found(twin: Path, tmp_path: Path, place: str) -> None:
    """Numbered folders below images, or all films in one folder."""
    root = Path(shutil.copytree(twin, tmp_path / "copy"))
    for folder in [path for path in root.iterdir() if path.is_dir()]:
        if place == "images":
            (root / place).mkdir(exist_ok=True)
            folder.rename(root / place / folder.name)
            continue
        target = root / place.removesuffix("/flat")
        target.mkdir(exist_ok=True)
        for film in folder.iterdir():
            film.rename(target / film.name)
        folder.rmdir()
    records = read(DATASET, root)
    assert all((root / path).is_file() for path in records.table["image_path"])
    pd.testing.assert_frame_equal(
        records.table.drop(columns="image_path"), read(DATASET, twin).table.drop(columns="image_path")
    )


@pytest.mark.parametrize(
    "cell",
    [
        *("normal", "['normal'", "('normal',)", "[1, 2]", "[x for x in ()]"),
        *("['cardiomegaly' 'normal']", "['a', 'cardiomegaly'\\n 'b']", "['cardiomegaly''']"),
    ],
)
def test_a_cell_that_is_no_list_of_words_is_refused_by_its_line(tmp_path: Path, cell: str) -> None:
    with pytest.raises(DataError, match=r"column 'Labels' of .* in line 3 \(1 rows are like that\); expected a list"):
        read(DATASET, tiny(tmp_path, "['normal']", cell))


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"column 'Projection' of .*holds 'oblique'"):
        read(DATASET, tiny(tmp_path / "a", "[]", row="a{},0,s,p{},oblique,MONOCHROME2,F,Physician"))
    with pytest.raises(DataError, match=r"column 'PhotometricInterpretation_DICOM' of .*holds 'RGB'"):
        read(DATASET, tiny(tmp_path / "b", "[]", row="a{},0,s,p{},PA,RGB,F,Physician"))
    with pytest.raises(DataError, match=r"column 'ImageID' of .* expected each film once"):
        read(DATASET, tiny(tmp_path / "c", "[]", "[]", row="a.png,0,s,{}{},PA,MONOCHROME2,F,Physician"))
    (tmp_path / "a" / "PADCHEST_chest_x_ray_images_labels_160K_other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="holds 2 tables"):
        read(DATASET, tmp_path / "a")
    with pytest.raises(UsageError, match="is not a folder"):
        read(DATASET, tmp_path / "nowhere")


def test_what_the_films_show_can_be_learnt(tmp_path: Path) -> None:
    records = read(DATASET, write("padchest", tmp_path / "twin", num_patients=220))
    split = assign_splits(records.table, records.label_names, fractions=(0.6, 0.1, 0.3), seed=0)
    divided = type(records)(records.table.assign(split=split), records.label_names, (), records.root)
    assert probe_auroc(divided, tmp_path / "pack")["pleural effusion"] > 0.65
