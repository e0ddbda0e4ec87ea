"""Links as a pack takes them: films called as the links call them, patients of the links, nothing of other links."""

import json
from pathlib import Path

import pandas as pd
import pytest

from pacx.core.errors import DataError, UsageError
from pacx.data.pairs.linked_films import LinkedFilms, require_same_links, with_pairs_only
from pacx.data.records import Records


def write_links(path: Path, **columns: object) -> Path:
    """Four pairs, the last of them with the film of the first, unless a column says otherwise."""
    pairs: dict[str, object] = {
        "subject_id": [11, 12, 13, 11],
        "dicom_id": ["a", "b", "c", "a"],
        "film_path": ["files/a.jpg", "files/b.jpg", "files/c.jpg", "files/a.jpg"],
        "ecg_path": ["e/1", None, "e/3", "e/4"],
        "50912": [1.5, 2.5, None, 9.9],
        "50971": [4.0, None, None, 9.9],
    }
    path.mkdir(parents=True)
    pd.DataFrame({**pairs, **columns}).to_parquet(path / "pairs.parquet")
    (path / "links.json").write_text(json.dumps({"format_version": 1, "items": ["50912", "50971"], "flow": {}}))
    return path


def films(*ids: str, **columns: object) -> Records:
    table = {"sample_id": list(ids), "image_path": [f"{name}.png" for name in ids], "patient_id": list(ids)}
    table |= {"study_id": "", "view": "", "split": "", **columns}
    return Records(pd.DataFrame(table), (), (), Path("hospital"), has_unknown_patients=True)


def test_a_film_is_a_sample_and_the_pair_that_stands_first_is_its_own(tmp_path: Path) -> None:
    linked = LinkedFilms.open(write_links(tmp_path / "links"))
    assert linked.table["sample_id"].tolist() == ["a", "b", "c"]
    assert linked.table["patient_id"].tolist() == ["11", "12", "13"]
    assert linked.table["ecg_path"].tolist() == ["e/1", "", "e/3"]
    assert linked.table["50912"].tolist()[:2] == [1.5, 2.5]
    assert any("1 of 4 pairs have the film of an earlier one" in note for note in linked.notes("3 films"))


def test_ids_that_went_through_floats_are_the_same_ids(tmp_path: Path) -> None:
    path = write_links(tmp_path / "links", subject_id=[11.0, 12.0, 13.0, 11.0], dicom_id=["1.0", "2.0", "3.0", "1.0"])
    table = LinkedFilms.open(path).table
    assert table["sample_id"].tolist() == ["1", "2", "3"]
    assert table["patient_id"].tolist() == ["11", "12", "13"]


def test_only_films_with_a_pair_are_packed_and_numbers_are_told(tmp_path: Path) -> None:
    linked = LinkedFilms.open(write_links(tmp_path / "links"))
    records = with_pairs_only(films("x", "c", "a", "y"), linked)
    assert records.table["sample_id"].tolist() == ["c", "a"]
    assert records.table["patient_id"].tolist() == ["13", "11"]
    assert records.table["image_path"].tolist() == ["c.png", "a.png"]
    assert not records.has_unknown_patients, "the links know whose they are"
    said = " ".join(records.notes)
    assert "2 of 4 films have one" in said
    assert "1 of 3 films of the pairs are not here" in said
    assert "whose the films are, which the dataset does not tell, the links say" in said
    assert "1 have an ECG and laboratory values, 1 an ECG alone, 0 values alone" in said


def test_films_without_common_ids_meet_by_their_paths(tmp_path: Path) -> None:
    linked = LinkedFilms.open(write_links(tmp_path / "links"))
    own = films("one", "two", "three", image_path=["./files/c.jpg", "files\\a.jpg", "files/z.jpg"])
    assert with_pairs_only(own, linked).table["sample_id"].tolist() == ["c", "a"]


@pytest.mark.parametrize(
    ("own", "expected"), [("", ["train", "val", "test"]), (["test", "test", "train"], ["test", "test", "train"])]
)
def test_the_split_is_the_datasets_and_that_of_the_links_where_it_has_none(
    tmp_path: Path, own: object, expected: list[str]
) -> None:
    linked = LinkedFilms.open(write_links(tmp_path / "links", split=["train", "val", "test", "train"]))
    assert with_pairs_only(films("a", "b", "c", split=own), linked).table["split"].tolist() == expected


def test_links_of_another_dataset_are_refused(tmp_path: Path) -> None:
    linked = LinkedFilms.open(write_links(tmp_path / "links"))
    for own in (films("x", "y", "z"), films("a", "y", "z")):
        with pytest.raises(
            DataError, match=r"[23] of 3 films of .*links are not among the 3 of hospital; give the links"
        ):
            with_pairs_only(own, linked)


def test_damaged_links_are_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no folder of links; pacx data link makes one"):
        LinkedFilms.open(tmp_path)
    cut = write_links(tmp_path / "cut")
    (cut / "pairs.parquet").write_bytes((cut / "pairs.parquet").read_bytes()[:200])
    with pytest.raises(DataError, match=r"pairs\.parquet is missing or damaged; link again"):
        LinkedFilms.open(cut)
    (cut / "pairs.parquet").unlink()
    with pytest.raises(DataError, match=r"pairs\.parquet is missing or damaged; link again"):
        LinkedFilms.open(cut)
    old = write_links(tmp_path / "old")
    (old / "links.json").write_text('{"format_version": 0}')
    with pytest.raises(DataError, match="was written by another version; link again"):
        LinkedFilms.open(old)
    nameless = write_links(tmp_path / "nameless", dicom_id=["a", None, "c", "a"])
    with pytest.raises(DataError, match="has pairs without a film or a patient; link again"):
        LinkedFilms.open(nameless)
    less = write_links(tmp_path / "less")
    pd.read_parquet(less / "pairs.parquet").drop(columns="50971").to_parquet(less / "pairs.parquet")
    with pytest.raises(DataError, match="lacks column 50971; link again"):
        LinkedFilms.open(less)


def test_what_is_made_of_other_links_is_told_from_these(tmp_path: Path) -> None:
    one = LinkedFilms.open(write_links(tmp_path / "one")).notes("3 films")
    other = LinkedFilms.open(write_links(tmp_path / "other", subject_id=[1, 2, 3, 4])).notes("3 films")
    require_same_links({"pack": one, "ecg": one, "vitals": ("made without links",)})
    require_same_links({"pack": (), "ecg": ()})
    with pytest.raises(DataError, match=r"made of different links \(pack of \w{12}, ecg of \w{12}\); make all of them"):
        require_same_links({"pack": one, "ecg": other, "vitals": ()})
