"""Names in a table that are written otherwise than the files: found where one file is meant, else said which way."""

import os
import unicodedata
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from pacx.core.errors import DataError
from pacx.data.datasets.folder import DATASET, FolderOptions
from pacx.data.table_paths import named_files


def tree(root: Path, *names: str | bytes) -> Path:
    for name in names:
        path = root / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def decomposed(name: str) -> str:
    return unicodedata.normalize("NFD", name)


@pytest.mark.parametrize(
    ("names", "files", "way"),
    [
        (["images\\1.png", "images\\2.png"], ["images/1.png", "images/2.png"], "backslashes"),
        ([".\\1.png"], ["1.png"], "backslashes, other folders"),
        (["médico.png", "b.png"], [decomposed("médico.png"), "b.png"], "accents of another form"),
        ([decomposed("Müller/1.png")], ["Müller/1.png"], "accents of another form"),
        (["tórax.png"], [b"t\xf3rax.png"], "accents of another form"),
        (["IMG_1.PNG", "img_2.png"], ["img_1.png", "IMG_2.png"], "another case"),
        (["Straße.png"], ["STRASSE.png"], "another case"),
        (["0001", "0002"], ["0001.png", "0002.jpg"], "no ending"),
        (["1.2.840.1", "1.2.840.2"], ["1.2.840.1.dcm", "1.2.840.2.dcm"], "no ending"),
        (["001"], ["images/001.PNG"], "no ending, other folders"),
        (["/data/cxr/images/1.png", "/data/cxr/images/2.png"], ["images/1.png", "images/2.png"], "other folders"),
        (["C:\\films\\a\\1.png", "C:\\films\\b\\1.png"], ["a/1.png", "b/1.png"], "backslashes, other folders"),
        (["a/1.png", "b/1.png"], ["files/p10/a/1.png", "files/p10/b/1.png"], "other folders"),
        (["X.npy#3"], ["x.npy"], "another case"),
    ],
)
def test_one_file_that_is_meant_is_found_and_told(
    tmp_path: Path, names: list[str], files: list[str | bytes], way: str
) -> None:
    tree(tmp_path, *files, "notes.txt")
    found = named_files(names, tmp_path, "column 'file'")
    rows = ["#3" if "#" in name else "" for name in names]
    expected = [os.fsencode(file).decode(errors="backslashreplace") for file in files]
    assert found.paths == [file + row for file, row in zip(expected, rows, strict=True)]
    (note,) = found.notes
    assert "in column 'file' are written otherwise" in note
    assert f"({way}; such as" in note


def test_names_of_files_that_are_there_are_left_as_they_are_and_nothing_is_said(tmp_path: Path) -> None:
    tree(tmp_path, "a/1.png", "A/1.png", "2.png")
    names = ["a/1.png", "", str(tmp_path / "2.png"), "A/1.png"]
    assert named_files(names, tmp_path, "") == named_files(["a/1.png", "", "2.png", "A/1.png"], tmp_path, "")
    assert named_files(names, tmp_path, "").notes == ()


@pytest.mark.parametrize(
    ("names", "files", "message"),
    [
        (["Film.png"], ["FILM.png", "film.png"], r"'Film\.png' may be any of FILM\.png, film\.png"),
        (["A.png", "a.png"], ["a.png"], r"'A\.png' would be 'a\.png', which another row names"),
        (["1.jpg"], ["1.png"], r"a file like '1\.jpg' is there as 1\.png"),
        (["p10/s1/1.png"], ["p11/s1/1.png"], r"a file like 'p10/s1/1\.png' is there as p11/s1/1\.png"),
        (["train/1.png", "test/1.png"], ["1.png"], r"a file like 'train/1\.png' is there as 1\.png"),
        (["a\\9.png"], ["a/1.png"], "with backslashes, and are not there with slashes either"),
        (["a.png", "b/2.png"], ["a.png", "c/2.png"], r"names 1 files .*is there as c/2\.png"),
    ],
)
def test_nothing_is_guessed_and_the_message_says_what_is_there(
    tmp_path: Path, names: list[str], files: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        named_files(names, tree(tmp_path, *files), "column 'file'")


def test_films_and_masks_of_a_table_from_windows_are_read(tmp_path: Path) -> None:
    for name in ("images/1.png", "masks/1.png"):
        (tmp_path / name).parent.mkdir()
        Image.new("L", (20, 20)).save(tmp_path / name)
    pd.DataFrame({"file": ["1.png"], "mask:lung": ["masks\\1.PNG"]}).to_csv(tmp_path / "index.csv")
    records = DATASET.read(tmp_path, FolderOptions())
    assert records.table["image_path"].tolist() == ["images/1.png"]
    assert records.table["mask:lung"].tolist() == ["masks/1.png"]
    assert "1 paths in column 'mask:lung'" in records.notes[-1]
