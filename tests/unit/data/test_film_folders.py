"""The films below a folder: in one order, hidden and linked ones passed over by name, whoever asks."""

import os
from pathlib import Path

import numpy as np
import pytest
from dicom_files import dicom

from pacx.data.datasets.dicom_folder import DATASET as DICOM_FOLDER
from pacx.data.datasets.folder import DATASET as FOLDER
from pacx.data.film_folders import files_below, has_film_ending, is_dicom_film
from pacx.inference.film_files import expanded

FILMS = ["a.DCM", "a/2.dcm", "a/b/x.dcm", "b.dcm"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "films"
    film = dicom(np.zeros((20, 20), np.uint8), bits_stored=8)
    for name in [*FILMS, "a/b/.x.dcm", ".trash/c.dcm", "DICOMDIR", "UID.1.2.3"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(film)
    (root / "notes.txt").write_text("no film")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "d.dcm").write_bytes(film)
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    return root


def test_whatever_is_not_chosen_is_named(folder: Path) -> None:
    by_name = files_below(folder, has_film_ending)
    assert list(by_name.chosen) == FILMS
    assert by_name.passed_over == {
        "hidden": (".trash", "a/b/.x.dcm"),
        "linked folders": ("linked",),
        "of other kinds": ("DICOMDIR", "UID.1.2.3", "notes.txt"),
    }
    assert str(by_name) == (
        "2 hidden (such as '.trash'), 1 linked folders (such as 'linked'), 3 of other kinds (such as 'DICOMDIR')"
    )
    by_content = files_below(folder, is_dicom_film)
    assert by_content.chosen == ("UID.1.2.3", *FILMS)
    assert by_content.passed_over["of other kinds"] == ("DICOMDIR", "notes.txt")


def test_a_name_that_is_no_utf_8_can_be_said(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"t\xe9rax")).write_bytes(b"")
    assert str(files_below(tmp_path, has_film_ending)).encode() == b"1 of other kinds (such as 't\\udce9rax')"


def test_every_reader_of_folders_gives_the_same_films_in_the_same_order(folder: Path) -> None:
    (folder / "UID.1.2.3").unlink()
    for dataset in (FOLDER, DICOM_FOLDER):
        assert dataset.read(folder, dataset.options_type()).table["image_path"].tolist() == FILMS
    assert expanded([folder]).files == [folder / name for name in FILMS]


def test_a_folder_that_cannot_be_opened_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a" / "b").chmod(0)
    monkeypatch.chdir(folder)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)  # root opens every folder
        assert files_below(Path(), has_film_ending).passed_over["folders that cannot be opened"] == ("a/b",)
    finally:
        os.seteuid(user)
        (folder / "a" / "b").chmod(0o700)
