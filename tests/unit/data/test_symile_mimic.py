"""Symile-MIMIC: tables and arrays tied by admission, an observed mask under an inverted name, a test set of tens."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from twin_journey import counts_of, doctor, faults, packed, probe, read, tree_bytes, twin_of

from pacx.core.errors import DataError, UsageError
from pacx.core.vocabulary import LAB_ITEM_IDS, LAB_TESTS, MIMIC_ECG_LEADS
from pacx.data.checks.record_counts import tally
from pacx.data.dataset import datasets
from pacx.modalities.ecg_signal.arrays import read_symile
from pacx.modalities.labs import read_symile_labs

PATIENTS = 40
RELEASE = Path("symile-mimic") / "1.0.0"
NUM_TEST, NUM_VAL = 5, 3


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return twin_of("symile-mimic", tmp_path_factory.mktemp("official") / "symile", PATIENTS)


@pytest.fixture
def copy(twin: Path, tmp_path: Path) -> Path:
    """The release, with the files linked; ``rewrite`` replaces the link it changes."""
    return Path(shutil.copytree(twin, tmp_path / "copy", copy_function=os.link)) / RELEASE


def arrays(release: Path, name: str, split: str) -> np.ndarray:
    return np.load(release / "data_npy" / split / f"{name}_{split}.npy", mmap_mode="r")


def rewrite(release: Path, name: str, split: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    path = release / "data_npy" / split / f"{name}_{split}.npy"
    changed = change(np.load(path))
    path.unlink()
    np.save(path, changed)


def edit(release: Path, split: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    path = release / f"{split}.csv"
    changed = change(pd.read_csv(path, dtype=str, keep_default_na=False))
    path.unlink()
    changed.to_csv(path, index=False)


def test_what_was_written_is_what_is_read(twin: Path) -> None:
    records = read("symile-mimic", twin)
    assert tally(records) == counts_of(twin)
    assert records.label_names == (
        "No Finding", "Cardiomegaly", "Lung Opacity", "Edema", "Atelectasis", "Pleural Effusion",
    )  # fmt: skip
    assert read("symile-mimic", twin / RELEASE).table["sample_id"].tolist() == records.table["sample_id"].tolist()
    assert doctor("symile-mimic", twin).is_green


def test_the_twin_is_laid_out_as_the_release(twin: Path) -> None:
    release = twin / RELEASE
    for split, rows in (("train", PATIENTS - NUM_TEST - NUM_VAL), ("val", 3), ("val_retrieval", 30), ("test", 50)):
        expected = {"cxr": (rows, 3, 320, 320), "ecg": (rows, 1, 5000, 12)}
        expected |= {"labs_percentiles": (rows, 50), "labs_missingness": (rows, 50), "hadm_id": (rows,)}
        if split in ("test", "val_retrieval"):
            expected |= {"label": (rows,), "label_hadm_id": (rows,)}
        assert {path.name for path in (release / "data_npy" / split).iterdir()} == {
            f"{n}_{split}.npy" for n in expected
        }
        for name, shape in expected.items():
            kind = "float32" if name in ("cxr", "ecg", "labs_percentiles") else "int64"
            assert (arrays(release, name, split).shape, arrays(release, name, split).dtype) == (shape, kind)
        table = pd.read_csv(release / f"{split}.csv")
        assert table.columns[:4].tolist() == ["subject_id", "hadm_id", "cxr_path", "Atelectasis"]
        assert table.columns[10:13].tolist() == ["51221", "51265", "50912"]  # the order of the makers' constants
        assert table.columns[60:62].tolist() == ["51221_percentile", "51265_percentile"]
        assert len(table.columns) == (110 if split == "train" else 112)
        assert (table["hadm_id"] == arrays(release, "hadm_id", split)).all()
    test = pd.read_csv(release / "test.csv")
    assert test["label"].tolist() == [1] * NUM_TEST + [0] * 9 * NUM_TEST
    assert test.groupby("label_hadm_id").size().eq(10).all()
    films, ecgs = arrays(release, "cxr", "test"), arrays(release, "ecg", "test")
    grey = films[0] * np.array([0.229, 0.224, 0.225])[:, None, None] + np.array([0.485, 0.456, 0.406])[:, None, None]
    assert np.ptp(grey, axis=0).max() < 1e-5
    assert -1e-5 < grey.min() < grey.max() < 1 + 1e-5
    assert (ecgs.min(axis=(1, 2, 3)), ecgs.max(axis=(1, 2, 3))) == (pytest.approx(-1.0), pytest.approx(1.0))
    again = test.index[(test["hadm_id"] == test["hadm_id"][2])]
    assert len(again) > 1
    for row in again:
        assert np.array_equal(films[row], films[2])
        assert np.array_equal(ecgs[row], ecgs[2])


def test_only_the_queries_of_the_test_set_are_films(twin: Path) -> None:
    table = read("symile-mimic", twin).table
    test = table[table["split"] == "test"]
    assert test["sample_id"].is_unique
    assert test["image_path"].str.rpartition("#")[2].astype(int).tolist() == list(range(NUM_TEST))
    queries = np.unique(arrays(twin / RELEASE, "label_hadm_id", "test"))
    assert set(test["sample_id"].astype(int)) == set(queries)
    assert table["sample_id"].is_unique


def test_every_film_is_the_row_of_its_admission(twin: Path) -> None:
    table = read("symile-mimic", twin).table
    for split in ("train", "val", "test"):
        rows = table[table["split"] == split]
        admissions = arrays(twin / RELEASE, "hadm_id", split)
        csv = pd.read_csv(twin / RELEASE / f"{split}.csv").set_index("hadm_id")
        csv = csv[~csv.index.duplicated()]
        for _, film in rows.iterrows():
            file, _, row = film["image_path"].rpartition("#")
            assert file == f"symile-mimic/1.0.0/data_npy/{split}/cxr_{split}.npy"
            assert admissions[int(row)] == int(film["sample_id"])
            official = csv.loc[int(film["sample_id"])]
            assert str(official["subject_id"]) == film["patient_id"]
            assert f"/s{film['study_id']}/{film['dicom_id']}.jpg" in official["cxr_path"]
            for name in ("Edema", "No Finding"):
                known = official[name] if official[name] in (0, 1) else np.nan
                assert known == film[name] or (np.isnan(known) and np.isnan(film[name]))


def test_uncertain_and_blank_labels_are_unknown(twin: Path) -> None:
    csv = pd.read_csv(twin / RELEASE / "train.csv")
    table = read("symile-mimic", twin).table
    for name in ("Edema", "Cardiomegaly"):
        assert (csv[name] == -1).any()
        unknown = (csv[name].isna() | (csv[name] == -1)).sum()
        assert table.loc[table["split"] == "train", name].isna().sum() == unknown


def test_the_signal_readers_take_the_arrays(twin: Path) -> None:
    for split in ("train", "test"):
        folder = twin / RELEASE / "data_npy" / split
        recordings = read_symile(folder / f"ecg_{split}.npy")
        labs = read_symile_labs(folder / f"labs_percentiles_{split}.npy")
        table = read("symile-mimic", twin).table
        assert (
            list(recordings.sample_ids)
            == list(labs.sample_ids)
            == list(table.loc[table["split"] == split, "sample_id"])
        )
        assert recordings.leads == MIMIC_ECG_LEADS
        raw = pd.read_csv(twin / RELEASE / f"{split}.csv")[[str(item) for item in LAB_ITEM_IDS]].to_numpy()
        assert ((labs.observed == 1) == ~np.isnan(raw[: len(labs)])).all()


def test_percentiles_are_shares_of_the_training_values(twin: Path) -> None:
    """The slow way: count, for one test at a time, how many training values are not above a value."""
    train = pd.read_csv(twin / RELEASE / "train.csv")
    test = pd.read_csv(twin / RELEASE / "test.csv")
    for column, item in enumerate(LAB_ITEM_IDS):
        known = train[str(item)].dropna().tolist()
        for row in range(NUM_TEST):
            value, stored = test[str(item)][row], arrays(twin / RELEASE, "labs_percentiles", "test")[row, column]
            if np.isnan(value):
                shares = [sum(other <= one for other in known) / len(known) for one in known]
                assert stored == pytest.approx(np.mean(shares), abs=1e-6), LAB_TESTS[column]
            else:
                assert stored == pytest.approx(sum(other <= value for other in known) / len(known), abs=1e-6)


def test_an_inverted_mask_is_refused_by_name(copy: Path) -> None:
    rewrite(copy, "labs_missingness", "val", lambda mask: 1 - mask)
    with pytest.raises(DataError, match=r"labs_missingness beside val\.csv is inverted: it is 0 where the table has a"):
        read("symile-mimic", copy)
    (message,) = faults(doctor("symile-mimic", copy.parents[1]))
    assert "inverted" in message


def test_laboratory_columns_in_the_order_of_the_table_are_refused(copy: Path) -> None:
    csv = pd.read_csv(copy / "train.csv")
    places = [LAB_ITEM_IDS.index(int(name)) for name in csv.columns if name.isdigit()]
    rewrite(copy, "labs_percentiles", "train", lambda values: values[:, places])
    rewrite(copy, "labs_missingness", "train", lambda values: values[:, places])
    with pytest.raises(DataError, match=r"do not hold item 50802 .*expected ascending item ids"):
        read("symile-mimic", copy)


@pytest.mark.parametrize(
    ("name", "split", "change", "message"),
    [
        ("labs_missingness", "train", lambda v: np.where(np.arange(50) == 7, 1 - v, v), r"columns 7 of .* item 50862"),
        ("labs_missingness", "test", lambda v: v * 2, "values other than 0 and 1"),
        ("labs_missingness", "train", lambda v: v.astype(np.float32), r"float32 of shape .*expected int64 \(N, 50\)"),
        ("labs_percentiles", "val", lambda v: v[:, ::-1], "expected ascending item ids"),
        ("labs_percentiles", "train", lambda v: np.where(v == v, 0.5, v).astype(np.float32), "the table's percentile"),
        ("labs_percentiles", "val", lambda v: v[:, :49], r"shape \(3, 49\), expected float32 \(N, 50\)"),
        ("hadm_id", "train", lambda v: v[::-1], "differ in 32 rows, the first in row 0; table and arrays are in"),
        ("hadm_id", "val", lambda v: v[:2], r"hadm_id_val\.npy has 2 rows and .*val\.csv 3"),
        ("label", "test", lambda v: v[::-1], "column 'label' of .* differ in 10 rows"),
        ("label_hadm_id", "test", lambda v: v[::-1], "column 'label_hadm_id' of .* differ"),
        ("cxr", "val", lambda v: v[:, :1], r"\(3, 1, 320, 320\), expected float32 \(N, 3, 320, 320\)"),
        ("cxr", "val", lambda v: v.astype(np.float64), "holds float64"),
        ("ecg", "val", lambda v: v.transpose(0, 1, 3, 2), r"expected float32 \(N, 1, 5000, 12\)"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit_are_refused(
    copy: Path, name: str, split: str, change: Callable[[np.ndarray], np.ndarray], message: str
) -> None:
    rewrite(copy, name, split, change)
    with pytest.raises(DataError, match=message):
        read("symile-mimic", copy)


def swap_first_and_last(table: pd.DataFrame) -> pd.DataFrame:
    rows = np.arange(len(table))
    rows[[0, -1]] = rows[[-1, 0]]
    return table.iloc[rows]


def test_a_test_set_in_another_layout_is_refused(copy: Path) -> None:
    edit(copy, "test", swap_first_and_last)
    for name in ("hadm_id", "label", "label_hadm_id", "labs_percentiles", "labs_missingness"):
        rewrite(copy, name, "test", lambda v: v[[-1, *range(1, len(v) - 1), 0]])
    with pytest.raises(DataError, match=r"expected for every label_hadm_id 10 rows, one of them with label 1"):
        read("symile-mimic", copy)


@pytest.mark.parametrize(
    ("split", "change", "message"),
    [
        ("train", lambda t: t.drop(columns="51221"), "lacks column '51221'"),
        ("test", lambda t: t.drop(columns="label"), "lacks column 'label'"),
        ("train", lambda t: t.assign(subject_id="one"), "expected a whole number"),
        ("train", lambda t: t.assign(cxr_path="film.jpg"), "expected files/pNN/pNNNNNNNN"),
        ("train", lambda t: t.assign(Edema="2"), "expected 1 / 1.0 / 0 / 0.0 / blank / -1"),
        ("val", lambda t: t.assign(hadm_id="20000000"), "column 'hadm_id' of .* differ"),
        ("val", lambda t: t.iloc[:0], "has no row"),
    ],
)  # fmt: skip
def test_tables_that_do_not_fit_are_refused(
    copy: Path, split: str, change: Callable[[Any], pd.DataFrame], message: str
) -> None:
    edit(copy, split, change)
    with pytest.raises(DataError, match=message):
        read("symile-mimic", copy)


def test_the_columns_of_a_table_may_stand_in_any_order(copy: Path) -> None:
    before = read("symile-mimic", copy).table
    for split in ("train", "val", "test"):
        edit(copy, split, lambda table: table[sorted(table.columns)])
    edit(copy, "val", lambda table: table.drop(columns=["label", "label_hadm_id"]))  # optional there
    pd.testing.assert_frame_equal(read("symile-mimic", copy).table, before)


def test_subjects_in_two_splits_are_refused(copy: Path) -> None:
    subject = pd.read_csv(copy / "train.csv")["subject_id"][0]
    edit(copy, "val", lambda table: table.assign(subject_id=subject))
    with pytest.raises(DataError, match=r"1 subjects of .* are in two splits"):
        read("symile-mimic", copy)


def test_exchanged_leads_are_found_by_the_doctor(copy: Path) -> None:
    rewrite(copy, "ecg", "val", lambda v: v[..., [0, 1, 2, 3, 5, 4, 6, 7, 8, 9, 10, 11]])
    (message,) = faults(doctor("symile-mimic", copy.parents[1]))
    assert "ecg_val.npy has aVL before aVF" in message


def test_ecgs_on_another_scale_are_found_by_the_doctor(copy: Path) -> None:
    rewrite(copy, "ecg", "val", lambda v: v / 2)
    (message,) = faults(doctor("symile-mimic", copy.parents[1]))
    assert "ecg_val.npy holds records that are not scaled to [-1, 1]" in message


def test_a_release_that_is_not_whole_is_refused(copy: Path, tmp_path: Path) -> None:
    with (copy / "data_npy/val/ecg_val.npy").open("rb") as file:
        head = file.read(5000)
    (copy / "data_npy/val/ecg_val.npy").unlink()
    with pytest.raises(DataError, match=r"ecg_val\.npy is missing; the root of symile-mimic is expected to hold train"):
        read("symile-mimic", copy)
    (copy / "data_npy/val/ecg_val.npy").write_bytes(head)
    with pytest.raises(DataError, match=r"ecg_val\.npy is damaged or cut short"):
        read("symile-mimic", copy)
    (copy / "labs_means.json").unlink()
    with pytest.raises(DataError, match=r"labs_means\.json is missing"):
        read("symile-mimic", copy)
    (copy / "labs_means.json").write_text('{"51221_percentile": 0.5}')
    with pytest.raises(DataError, match="does not name the 50 tests"):
        read("symile-mimic", copy)
    (copy / "train.csv").unlink()
    (copy / "labs_means.json").write_bytes((copy / "LICENSE.txt").read_bytes())
    with pytest.raises(DataError, match="not valid JSON"):
        read("symile-mimic", copy)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"data_npy is missing; the root of symile-mimic"):
        read("symile-mimic", tmp_path / "empty")


def test_the_released_code_has_no_split_of_its_own(twin: Path) -> None:
    with pytest.raises(UsageError, match="no split of symile-mimic"):
        datasets()["symile-mimic"].released_code_splits(read("symile-mimic", twin))


def test_the_twin_is_the_same_bytes_again(tmp_path: Path) -> None:
    first, second = (twin_of("symile-mimic", tmp_path / name, 15) for name in ("first", "second"))
    assert tree_bytes(first) == tree_bytes(second)


def test_a_probe_learns_from_the_twin(twin: Path, tmp_path: Path) -> None:
    pack = packed("symile-mimic", read("symile-mimic", twin), tmp_path / "pack")
    assert len(pack) == PATIENTS
    rows = probe(pack)
    assert sum(np.isfinite(rows[name, "auroc"].value) for name in pack.label_names) >= 2
    assert rows["macro", "brier"].value < 0.5
