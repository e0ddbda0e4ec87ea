"""MIMIC-CXR-JPG: labels by study, the word validate, two labellers, and a twin whose other modules fit its films."""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from twin_checks import assert_counts_agree, assert_doctor_is_content, probe_auroc, read, write

from pacx.core.errors import DataError, UsageError
from pacx.core.findings import CHEXPERT_LABELS
from pacx.core.twin_file import twin_counts
from pacx.data.checks.doctor import examine
from pacx.data.datasets.mimic_cxr_jpg import DATASET, Labeller
from pacx.data.splits import assign_splits, patients_in_two_splits

HOME = "mimic-cxr-jpg"
NAMES = {part: f"mimic-cxr-2.0.0-{part}.csv.gz" for part in ("metadata", "split", "chexpert", "negbio")}


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write("mimic-cxr-jpg", tmp_path_factory.mktemp("mimic") / "twin")


@pytest.fixture
def copy(twin: Path, tmp_path: Path) -> Path:
    """The tables alone; reading looks for no film."""
    return Path(shutil.copytree(twin / HOME, tmp_path / "copy", ignore=shutil.ignore_patterns("*.jpg")))


def edit(root: Path, part: str, change) -> None:
    path = root / NAMES[part]
    change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)


def test_the_folder_of_the_films_alone_is_known_for_a_twin_by_the_folder_above(twin: Path, tmp_path: Path) -> None:
    options = DATASET.options_type()
    for root in (twin, twin / HOME):
        found = examine(DATASET, root, options, state=tmp_path / "state.json", num_samples=1)
        assert found.is_twin
        assert found.is_green, found.issues
    (tmp_path / "a/b/c/d").mkdir(parents=True)
    shutil.copy(twin / "twin.json", tmp_path / "a")
    for below, name, is_known in (
        ("a", "mimic-cxr-jpg", True), ("a/b/c/d", "mimic-cxr-jpg", True), ("a/b", "nih14", False), (".", "nih14", False)
    ):  # fmt: skip
        assert (twin_counts(tmp_path / below, name) is not None) is is_known
    (tmp_path / "a/b/c/d/e").mkdir()
    assert twin_counts(tmp_path / "a/b/c/d/e", "mimic-cxr-jpg") is None, "too far above"


def test_the_twin_is_read_as_it_was_written(twin: Path) -> None:
    records = read(DATASET, twin)
    assert_counts_agree(twin, records)
    assert_doctor_is_content(DATASET, twin)
    table = records.table
    assert set(table["split"]) == {"train", "val", "test"}
    assert set(table["view"]) == {"AP", "PA", "LATERAL", ""}
    assert not patients_in_two_splits(table)
    assert all((records.root / path).is_file() for path in table["image_path"])


def test_a_film_has_the_labels_of_its_study_and_none_of_a_study_without(twin: Path) -> None:
    table = read(DATASET, twin).table.set_index("study_id")
    raw = pd.read_csv(twin / HOME / NAMES["chexpert"], dtype={"study_id": str}).set_index("study_id")
    assert (raw == -1).any(axis=None)
    known = table.loc[raw.index, list(CHEXPERT_LABELS)]
    np.testing.assert_array_equal(known, raw[list(CHEXPERT_LABELS)].replace(-1, np.nan))
    bare = table.drop(index=raw.index)
    assert len(bare) > 3
    assert bare[list(CHEXPERT_LABELS)].isna().all(axis=None)
    assert any(f"{len(bare)} films" in note for note in read(DATASET, twin).notes)


def test_two_films_of_a_study_carry_the_same_labels(copy: Path) -> None:
    studies = pd.read_csv(copy / NAMES["chexpert"], dtype=str)["study_id"]
    edit(
        copy, "metadata", lambda table: table.assign(study_id=np.where(table.index < 2, studies[0], table["study_id"]))
    )
    table = read(DATASET, copy).table
    pair = table[table["study_id"] == studies[0]]
    assert len(pair) >= 2
    assert (pair[list(CHEXPERT_LABELS)].nunique(dropna=False) == 1).all()


def test_the_other_labeller_is_an_option_and_says_other_things(twin: Path) -> None:
    chexpert, negbio = read(DATASET, twin).table, read(DATASET, twin, labels=Labeller.NEGBIO)
    assert "negbio" in negbio.notes[0]
    both = chexpert[list(CHEXPERT_LABELS)].notna() & negbio.table[list(CHEXPERT_LABELS)].notna()
    assert (chexpert[list(CHEXPERT_LABELS)] == negbio.table[list(CHEXPERT_LABELS)])[both].sum(axis=None) == both.sum(
        axis=None
    )
    assert chexpert[list(CHEXPERT_LABELS)].notna().sum(axis=None) > both.sum(axis=None)


def test_unpacked_tables_ids_with_a_point_and_another_order_change_nothing(copy: Path, twin: Path) -> None:
    before = read(DATASET, twin).table
    for part in ("metadata", "chexpert"):
        edit(
            copy,
            part,
            lambda table: table.assign(subject_id=table["subject_id"] + ".0", study_id=table["study_id"] + ".0"),
        )
    edit(copy, "split", lambda table: table.iloc[::-1])
    for name in NAMES.values():
        (copy / name.removesuffix(".gz")).write_bytes(gzip.decompress((copy / name).read_bytes()))
        (copy / name).unlink()
    pd.testing.assert_frame_equal(read(DATASET, copy).table, before)


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("split", lambda table: table.assign(split="valid"), r"column 'split' of .*holds 'valid' in line 2"),
        ("split", lambda table: table.iloc[3:], r"has no split for 3 films of mimic-cxr-2\.0\.0-metadata\.csv\.gz"),
        (
            "split",
            lambda table: pd.concat([table, table[:1]]),
            r"column 'dicom_id' of .*split.* expected each film once",
        ),
        ("metadata", lambda table: pd.concat([table, table[:1]]), r"column 'dicom_id' of .* expected each film once"),
        ("metadata", lambda table: table.drop(columns="ViewPosition"), r"lacks column 'ViewPosition'"),
        ("chexpert", lambda table: pd.concat([table, table[:1]]), r"column 'study_id' of .* expected each study once"),
        ("chexpert", lambda table: table.assign(Edema="2.0"), r"column 'Edema' of .*holds '2\.0' in line 2"),
    ],
    ids=["split-word", "split-short", "split-twice", "film-twice", "no-view", "study-twice", "label"],
)
def test_tables_that_do_not_fit_are_refused_in_one_sentence(copy: Path, part: str, change, message: str) -> None:
    edit(copy, part, change)
    with pytest.raises(DataError, match=message):
        read(DATASET, copy)


def test_a_missing_table_is_named_and_a_folder_around_will_do(copy: Path) -> None:
    assert len(read(DATASET, copy.parent)) == len(read(DATASET, copy))
    (copy / NAMES["split"]).unlink()
    with pytest.raises(DataError, match=r"mimic-cxr-2\.0\.0-split\.csv\.gz is missing"):
        read(DATASET, copy)
    with pytest.raises(UsageError, match="is not a folder"):
        read(DATASET, copy / "nowhere")


def test_what_the_films_show_can_be_learnt(tmp_path: Path) -> None:
    wide = write("mimic-cxr-jpg", tmp_path / "twin", num_patients=160)
    records = read(DATASET, wide)
    split = assign_splits(records.table, records.label_names, fractions=(0.6, 0.1, 0.3), seed=0)
    divided = type(records)(records.table.assign(split=split), records.label_names, (), records.root)
    assert probe_auroc(divided, tmp_path / "pack")["Cardiomegaly"] > 0.65
