"""MedMod: labels by stay id, one film per stay by either rule, Symile's subjects left out whole."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from twin_journey import counts_of, doctor, faults, packed, probe, read, tree_bytes, twin_of

from pacx.core.errors import DataError, UsageError
from pacx.core.findings import MEDMOD_MORTALITY, MEDMOD_PHENOTYPES
from pacx.data.checks.record_counts import tally
from pacx.data.checks.shared_films import overlap
from pacx.data.datasets.medmod import DATASET, FilmOfStay, MedModLabels

PATIENTS = 60
EXTRACT, MIMIC = Path("medmod/data/root"), Path("mimic-cxr-jpg/2.1.0")
SYMILE = Path("symile-mimic/1.0.0")
METADATA = MIMIC / "mimic-cxr-2.0.0-metadata.csv.gz"


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return twin_of("medmod", tmp_path_factory.mktemp("official") / "medmod", PATIENTS)


@pytest.fixture
def copy(twin: Path, tmp_path: Path) -> Path:
    """The tables alone; reading looks for no film."""
    return Path(shutil.copytree(twin, tmp_path / "copy", ignore=shutil.ignore_patterns("*.jpg")))


def edit(path: Path, change) -> None:
    change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)


def test_what_was_written_is_what_is_read(twin: Path) -> None:
    records = read("medmod", twin)
    assert tally(records) == counts_of(twin)
    assert records.label_names == MEDMOD_PHENOTYPES
    assert len(records.label_names) == 25
    assert records.table["image_path"].map(lambda path: (records.root / path).is_file()).all()
    assert set(records.table["split"]) == {""}
    assert doctor("medmod", twin).is_green


def test_the_label_file_of_the_twin_has_no_ids_and_another_order_than_the_stays(twin: Path) -> None:
    labels = pd.read_csv(twin / EXTRACT / "phenotype_labels.csv")
    stays = pd.read_csv(twin / EXTRACT / "all_stays.csv")
    assert tuple(labels.columns) == MEDMOD_PHENOTYPES == tuple(sorted(MEDMOD_PHENOTYPES))
    assert len(labels) == len(stays)
    assert not stays["stay_id"].is_monotonic_increasing
    assert (stays["mortality"] == stays["mortality_inhospital"]).all()


def test_labels_are_joined_by_stay_and_never_by_position(twin: Path) -> None:
    """The list files name the stays, so they are the truth."""
    listed = pd.concat(
        [
            pd.read_csv(twin / EXTRACT.parent / "phenotyping" / f"{split}_listfile.csv")
            for split in ("train", "val", "test")
        ]
    ).set_index("stay_id")
    table = read("medmod", twin).table
    truth = listed.loc[table["sample_id"].astype(int), list(MEDMOD_PHENOTYPES)].to_numpy()
    assert (table[list(MEDMOD_PHENOTYPES)].to_numpy() == truth).all()
    stays = pd.read_csv(twin / EXTRACT / "all_stays.csv").reset_index().set_index("stay_id")
    by_position = pd.read_csv(twin / EXTRACT / "phenotype_labels.csv")
    positions = stays.loc[table["sample_id"].astype(int), "index"]
    assert (by_position.iloc[positions].to_numpy() == truth).all(axis=1).mean() < 0.2  # what joining by position gives
    for name in MEDMOD_MORTALITY:
        assert (table[name].to_numpy() == stays.loc[table["sample_id"].astype(int), name].to_numpy()).all()


def test_the_order_of_the_stays_changes_nothing(copy: Path) -> None:
    before = read("medmod", copy).table
    edit(copy / EXTRACT / "all_stays.csv", lambda table: table.iloc[::-1])
    edit(copy / METADATA, lambda table: table.iloc[::-1])
    pd.testing.assert_frame_equal(read("medmod", copy).table, before)


def test_labels_that_follow_another_order_are_refused(copy: Path) -> None:
    path = copy / EXTRACT / "phenotype_labels.csv"
    edit(path, lambda table: table.iloc[::-1])
    with pytest.raises(
        DataError, match=r"train_listfile\.csv gives \d+ stays other labels than .* by ascending stay_id"
    ):
        read("medmod", copy)
    edit(path, lambda table: table.iloc[1:])
    with pytest.raises(DataError, match=r"rows for \d+ stays; expected one per stay"):
        read("medmod", copy)


def plainly(twin: Path, rule: FilmOfStay) -> dict[str, str]:
    """Each stay's film by a loop over all films, with a clock of its own."""
    stays = pd.read_csv(twin / EXTRACT / "all_stays.csv", dtype=str)
    films = pd.read_csv(twin / METADATA, dtype=str)
    labelled = set(pd.read_csv(twin / MIMIC / "mimic-cxr-2.0.0-chexpert.csv.gz", dtype=str)["study_id"])
    chosen = {}
    for _, stay in stays.iterrows():
        inside = []
        for _, film in films[films["subject_id"] == stay["subject_id"]].iterrows():
            whole, _, fraction = film["StudyTime"].partition(".")
            clock = whole.zfill(6)
            taken = (
                f"{film['StudyDate'][:4]}-{film['StudyDate'][4:6]}-{film['StudyDate'][6:]} "
                f"{clock[:2]}:{clock[2:4]}:{clock[4:]}.{fraction}"
            )
            first, last = stay["intime"], stay["outtime"]
            if rule is FilmOfStay.EARLIEST_IN_ADMISSION:
                first, last = min(first, stay["admittime"]), max(last, stay["dischtime"])
            elif film["ViewPosition"] != "AP" or film["study_id"] not in labelled:
                continue
            if first <= taken <= last:
                inside.append((taken, film["dicom_id"]))
        if inside:
            chosen[stay["stay_id"]] = (min if rule is FilmOfStay.EARLIEST_IN_ADMISSION else max)(inside)[1]
    return chosen


@pytest.mark.parametrize("rule", list(FilmOfStay))
def test_a_stay_gets_the_film_that_the_rule_says(twin: Path, rule: FilmOfStay) -> None:
    table = read("medmod", twin, film=rule, keep_symile_subjects=True).table
    expected = plainly(twin, rule)
    assert dict(zip(table["sample_id"], table["dicom_id"], strict=True)) == expected
    assert len(expected) > 20
    views = set(table["view"])
    assert views == ({"AP"} if rule is FilmOfStay.LATEST_AP_IN_UNIT else {"AP", "PA", "LATERAL"})
    metadata = pd.read_csv(twin / METADATA, dtype=str).set_index("dicom_id")
    for _, film in table.iterrows():
        subject, study = metadata.loc[film["dicom_id"], ["subject_id", "study_id"]]
        assert film["image_path"].endswith(f"files/p{subject[:2]}/p{subject}/s{study}/{film['dicom_id']}.jpg")
        assert film["patient_id"] == subject


def test_study_times_that_lost_their_zeros_are_times(twin: Path) -> None:
    clocks = pd.read_csv(twin / METADATA, dtype=str)["StudyTime"].str.partition(".")[0]
    assert (clocks.str.len() < 6).any()


def test_a_film_belongs_to_one_stay_only(copy: Path) -> None:
    def widen(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(intime="2100-01-01 00:00:00", dischtime="2210-01-01 00:00:00")

    edit(copy / EXTRACT / "all_stays.csv", widen)
    table = read("medmod", copy).table
    assert table["patient_id"].duplicated().any()
    assert table["dicom_id"].is_unique
    assert table["sample_id"].is_unique


def test_subjects_of_symile_are_left_out_whichever_admission_it_holds(twin: Path) -> None:
    symile = pd.concat([pd.read_csv(twin / SYMILE / f"{split}.csv") for split in ("train", "val")])
    every = read("medmod", twin, keep_symile_subjects=True)
    records = read("medmod", twin)
    shared = every.table["patient_id"].isin(symile["subject_id"].astype(str))
    other_admission = shared & ~every.table["hadm_id"].isin(symile["hadm_id"].astype(str))
    assert other_admission.any()  # leaving out admissions alone would leak these
    for split in ("train", "val"):
        of_split = pd.read_csv(twin / SYMILE / f"{split}.csv")["subject_id"].astype(str)
        assert every.table["patient_id"].isin(of_split).any()
        assert not records.table["patient_id"].isin(of_split).any()
    assert len(records) == len(every) - shared.sum()
    assert "subjects of Symile-MIMIC are left out" in records.notes[0]
    assert every.notes[0].startswith("SUBJECTS OF SYMILE-MIMIC ARE NOT LEFT OUT")


def test_without_symile_it_is_refused_or_said_loudly(copy: Path, tmp_path: Path) -> None:
    expected = read("medmod", copy).table
    (copy / SYMILE).rename(tmp_path / "elsewhere")
    with pytest.raises(
        UsageError, match=r"Symile-MIMIC is not below .*; give its folder as symile, or allow keep_symile"
    ):
        read("medmod", copy)
    pd.testing.assert_frame_equal(read("medmod", copy, symile=tmp_path / "elsewhere").table, expected)
    (tmp_path / "elsewhere" / "val.csv").unlink()
    with pytest.raises(DataError, match=r"val\.csv is missing"):
        read("medmod", copy, symile=tmp_path / "elsewhere")
    assert len(read("medmod", copy, keep_symile_subjects=True)) > len(expected)


def test_films_may_lie_elsewhere(twin: Path, tmp_path: Path) -> None:
    expected = read("medmod", twin)
    home = Path(shutil.copytree(twin / "medmod", tmp_path / "extract"))
    records = read("medmod", home, mimic_cxr_jpg=twin / MIMIC, symile=twin / SYMILE)
    assert records.table["sample_id"].tolist() == expected.table["sample_id"].tolist()
    assert records.table["image_path"].map(lambda path: (records.root / path).is_file()).all()
    with pytest.raises(
        DataError, match=r"mimic-cxr-2\.0\.0-metadata\.csv\.gz is missing; the root of medmod is expected"
    ):
        read("medmod", home, symile=twin / SYMILE)


def test_death_is_named_apart(twin: Path) -> None:
    assert read("medmod", twin, labels=MedModLabels.MORTALITY).label_names == MEDMOD_MORTALITY
    both = read("medmod", twin, labels=MedModLabels.PHENOTYPES_AND_MORTALITY)
    assert both.label_names == MEDMOD_PHENOTYPES + MEDMOD_MORTALITY
    assert len(both.label_names) == 28
    assert both.table["mortality"].sum() > 0


def test_splits_keep_subjects_together_and_the_released_code_does_not(twin: Path, tmp_path: Path) -> None:
    records = read("medmod", twin)
    assert records.table["patient_id"].duplicated().any()
    pack = packed("medmod", records, tmp_path / "pack")
    subjects = {split: set(pack.patient_ids[pack.rows(split)]) for split in ("train", "val", "test")}
    assert sum(map(len, subjects.values())) == len(set().union(*subjects.values()))
    released = DATASET.released_code_splits(records)
    assert released.value_counts().to_dict() == {
        "train": len(records) - (released != "train").sum(),
        "val": np.ceil(0.125 * (len(records) - np.ceil(0.2 * len(records)))),
        "test": np.ceil(0.2 * len(records)),
    }
    divided = records.table.assign(split=released).groupby("patient_id")["split"].nunique()
    assert (divided > 1).any()


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (EXTRACT / "all_stays.csv", lambda t: t.drop(columns="outtime"), "lacks column 'outtime'"),
        (EXTRACT / "all_stays.csv", lambda t: t.assign(intime="yesterday"), "expected YYYY-MM-DD hh:mm:ss"),
        (EXTRACT / "all_stays.csv", lambda t: t.assign(stay_id=t["stay_id"][0]), "names a stay twice"),
        (EXTRACT / "all_stays.csv", lambda t: t.assign(mortality="perhaps"), "expected 1 / 1.0 / 0 / 0.0"),
        (EXTRACT / "phenotype_labels.csv", lambda t: t.drop(columns="Shock"), "lacks column 'Shock'"),
        (EXTRACT / "phenotype_labels.csv", lambda t: t.assign(Shock="7"), "column 'Shock' .* holds '7'"),
        (METADATA, lambda t: t.drop(columns="StudyTime"), "lacks column 'StudyTime'"),
        (METADATA, lambda t: t.assign(StudyTime="noon"), "expected HHMMSS"),
        (METADATA, lambda t: t.assign(StudyDate="21801350"), "expected YYYYMMDD"),
        (METADATA, lambda t: t.assign(subject_id="19"), "no stay of .* has a film in"),
        (SYMILE / "train.csv", lambda t: t.drop(columns="subject_id"), "lacks column 'subject_id'"),
    ],
)
def test_tables_that_do_not_fit_are_refused(copy: Path, file: Path, change, message: str) -> None:
    edit(copy / file, change)
    with pytest.raises(DataError, match=message):
        read("medmod", copy)


def test_missing_tables_are_named(copy: Path) -> None:
    (copy / EXTRACT / "phenotype_labels.csv").unlink()
    with pytest.raises(
        DataError, match=r"phenotype_labels\.csv is missing; the root of medmod is expected to hold MedMod"
    ):
        read("medmod", copy)
    (copy / EXTRACT / "all_stays.csv").unlink()
    with pytest.raises(DataError, match=r"all_stays\.csv is missing"):
        read("medmod", copy)


def test_a_missing_film_is_found_by_the_doctor(twin: Path, tmp_path: Path) -> None:
    whole = Path(shutil.copytree(twin, tmp_path / "whole"))
    records = read("medmod", whole)
    (records.root / records.table["image_path"][0]).unlink()
    (message,) = faults(doctor("medmod", whole))
    assert "1 files" in message


def test_the_twin_is_the_same_bytes_again(twin: Path, tmp_path: Path) -> None:
    assert tree_bytes(twin_of("medmod", tmp_path / "again", PATIENTS)) == tree_bytes(twin)


def test_films_and_subjects_that_cxlseg_has_too_are_found(twin: Path, tmp_path: Path) -> None:
    cxlseg = read("cxlseg", twin_of("cxlseg", tmp_path / "cxlseg", PATIENTS))
    packs = {
        "cxlseg": packed("cxlseg", cxlseg, tmp_path / "pack-cxlseg"),
        "medmod": packed("medmod", read("medmod", twin, keep_symile_subjects=True), tmp_path / "pack-medmod"),
    }
    (pair,) = (shared for shared in overlap(packs).shared if shared.first != shared.second)
    same = set(packs["medmod"].table["dicom_id"]) & set(packs["cxlseg"].sample_ids)
    assert pair.exact == len(same) > 0
    assert pair.patients == len(set(packs["medmod"].patient_ids) & set(packs["cxlseg"].patient_ids)) > len(same)


def test_a_probe_learns_from_the_twin(twin: Path, tmp_path: Path) -> None:
    rows = probe(packed("medmod", read("medmod", twin), tmp_path / "pack"))
    assert np.isfinite(rows["macro", "auroc"].value)
    assert rows["macro", "brier"].value < 0.5
