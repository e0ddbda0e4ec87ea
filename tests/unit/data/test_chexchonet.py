"""CheXchoNet: a column that lies about the folder, labels that are not recomputed, several films per patient."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from twin_checks import assert_counts_agree, assert_doctor_is_content, probe_auroc, read, write

from pacx.core.errors import DataError, UsageError
from pacx.data.dataset import SplitPlan
from pacx.data.datasets.chexchonet import DATASET, ChexchonetOptions
from pacx.data.packs.splitting import with_released_code_splits, with_splits
from pacx.data.splits import patients_in_two_splits
from pacx.simulation.patients.physiology import Visibility


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write("chexchonet", tmp_path_factory.mktemp("chexchonet") / "twin")


@pytest.fixture
def copy(twin: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(twin, tmp_path / "copy"))


def edit(root: Path, column: str, row: int, value: object) -> Path:
    table = pd.read_csv(root / "metadata.csv", dtype=str)
    table.loc[row, column] = str(value)
    table.to_csv(root / "metadata.csv", index=False)
    return root


def test_the_twin_is_read_as_it_was_written(twin: Path) -> None:
    records = read(DATASET, twin)
    assert_counts_agree(twin, records)
    assert records.label_names == ("composite_slvh_dlv",)
    assert set(records.table["view"]) == {"PA"}
    assert records.table.groupby("patient_id").size().mean() > 1.8


def test_the_path_is_built_from_the_file_name_because_the_path_column_is_wrong(twin: Path) -> None:
    raw = pd.read_csv(twin / "metadata.csv")
    assert len(raw.columns) == 18
    assert raw["cxr_path"].str.startswith("./cxrs/").all()
    assert not (twin / "cxrs").exists()
    table = read(DATASET, twin).table
    assert all((twin / path).is_file() for path in table["image_path"])
    assert (table["image_path"] == "images/" + raw["cxr_filename"]).all()


def test_a_measurement_of_zero_is_a_missing_one(twin: Path) -> None:
    raw, table = pd.read_csv(twin / "metadata.csv"), read(DATASET, twin).table
    assert (raw["ivsd"] == 0).any()
    assert (table["ivsd_cm"].isna() == (raw["ivsd"] == 0)).all()
    assert table["lvidd_cm"].between(3, 9).all()


def test_labels_are_those_of_the_table_whatever_was_measured(copy: Path) -> None:
    raw = pd.read_csv(copy / "metadata.csv")
    healthy = int((raw["composite_slvh_dlv"] == 0).to_numpy().nonzero()[0][0])
    assert read(DATASET, edit(copy, "ivsd", healthy, 2.4)).table["composite_slvh_dlv"][healthy] == 0


def test_the_composite_must_follow_from_its_parts(copy: Path) -> None:
    raw = pd.read_csv(copy / "metadata.csv")
    healthy = int((raw["composite_slvh_dlv"] == 0).to_numpy().nonzero()[0][0])
    edit(copy, "dlv", healthy, 1)
    with pytest.raises(
        DataError, match=rf"column 'composite_slvh_dlv' .* holds '0' in line {healthy + 2} .*slvh or dlv"
    ):
        read(DATASET, copy)


def test_other_labels_can_be_asked_for(twin: Path) -> None:
    records = read(DATASET, twin, labels=("dlv", "slvh"))
    assert records.label_names == ("dlv", "slvh")
    raw = pd.read_csv(twin / "metadata.csv")
    assert (records.table["dlv"] == raw["dlv"]).all()
    expected = DATASET.expected_counts(ChexchonetOptions(labels=("dlv", "slvh")))
    assert (expected["films"], expected["present:slvh"], expected["present:dlv"]) == (71_589, 6_191, 4_343)
    assert DATASET.expected_counts(ChexchonetOptions()) == DATASET.card.counts
    with pytest.raises(UsageError, match="'lvh' is asked for; CheXchoNet has composite"):
        ChexchonetOptions(labels=("lvh",))
    with pytest.raises(UsageError, match="no label is asked for"):
        ChexchonetOptions(labels=())


def test_splits_keep_patients_whole_unless_the_released_code_is_asked_for(twin: Path) -> None:
    records = read(DATASET, twin)
    own = with_splits(records, 0, DATASET.card.splits)
    assert patients_in_two_splits(own.table) == []
    shares = own.table["split"].value_counts(normalize=True)
    assert abs(shares["train"] - 0.7) < 0.05
    released = with_released_code_splits(records, DATASET)
    assert len(patients_in_two_splits(released.table)) > 5
    assert abs(released.table["split"].value_counts(normalize=True)["train"] - 0.72) < 0.02


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("age", "old", "column 'age' .* holds 'old' in line 2"),
        ("slvh", "2", "column 'slvh' .* holds '2'"),
        ("slvh", "", "column 'slvh' .* holds ''"),
        ("sex", "X", "column 'sex'"),
        ("lvidd", "wide", "column 'lvidd' .* a number or blank"),
        ("cxr_filename", "../x.jpg", "column 'cxr_filename' .* without a folder"),
        ("patient_id", "", "patient_id of the records is empty in 1 rows"),
    ],
)
def test_wrong_cells_are_refused(copy: Path, column: str, value: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(DATASET, edit(copy, column, 0, value))


def test_wrong_tables_are_refused(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        read(DATASET, tmp_path / "nowhere")
    path = copy / "metadata.csv"
    right = path.read_text()
    path.write_text(right.replace("lvidd", "lvid", 1))
    with pytest.raises(DataError, match="lacks column 'lvidd'"):
        read(DATASET, copy)
    lines = right.splitlines()
    path.write_text("\n".join([*lines, lines[1]]) + "\n")
    with pytest.raises(DataError, match="1 sample ids occur more than once"):
        read(DATASET, copy)
    path.write_text(right[:-40])
    with pytest.raises(DataError, match="fields in line"):
        read(DATASET, copy)
    path.unlink()
    with pytest.raises(DataError, match=r"metadata\.csv is missing; the root of chexchonet is expected to hold"):
        read(DATASET, copy)


def test_the_doctor_is_content_and_a_probe_learns_from_the_packed_twin(tmp_path: Path) -> None:
    """Hearts that show twice as clearly as in life, and a larger test split, so that few films suffice."""
    root = write("chexchonet", tmp_path / "twin", num_patients=130, visibility=Visibility(heart=2.0))
    assert_doctor_is_content(DATASET, root)
    records = with_splits(read(DATASET, root), 0, SplitPlan(fractions=(0.5, 0.15, 0.35)))
    assert probe_auroc(records, tmp_path / "pack")["composite_slvh_dlv"] > 0.6
