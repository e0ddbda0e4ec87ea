"""The films below a folder: in one order, the same for every verb, and nothing lost or added in silence."""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from dicom_files import dicom
from PIL import Image

from pacx.cli.main import main
from pacx.core.errors import DataError, UsageError
from pacx.data.checks.doctor import examine
from pacx.data.datasets.dicom_folder import DATASET as DICOM_FOLDER
from pacx.data.datasets.folder import DATASET as FOLDER
from pacx.data.file_names import as_text, on_disk
from pacx.data.film_folders import films_below, has_film_ending, may_be_dicom_film
from pacx.data.folder_walk import files_below
from pacx.data.images.decode import decode_grey
from pacx.data.images.unreadable import UnreadableImage
from pacx.data.packs.pack import Pack
from pacx.inference.film_files import expanded
from pacx.inference.predictions import write_table

FILMS = ["UID.1.2.3", "a.DCM", "a/2.dcm", "a/b/x.dcm", "b.dcm", "linked/d.dcm"]
PIXELS = np.arange(400, dtype=np.uint8).reshape(20, 20)
FILM = dicom(PIXELS, bits_stored=8)


def write(path: Path, data: bytes = FILM) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@contextmanager
def closed(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder or file that may not be opened, by a user who is not root; seen from the folder of films."""
    monkeypatch.chdir(next(folder for folder in place.parents if folder.name == "films"))
    user = os.geteuid()
    place.resolve().chmod(0)
    try:
        if user == 0:
            os.seteuid(65534)
        yield
    finally:
        os.seteuid(user)
        place.resolve().chmod(0o700)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "films"
    for name in [*FILMS[:-1], "a/b/.x.dcm", ".trash/c.dcm", "__MACOSX/a/2.dcm", "Thumbs.db", "DICOMDIR"]:
        write(root / name)
    (root / "notes.txt").write_text("no film")
    (root / "README").write_text("no film")
    write(tmp_path / "elsewhere" / "d.dcm")
    (root / "linked").symlink_to("../elsewhere")
    tmp_path.chmod(0o755)
    return root


def test_whatever_is_not_chosen_is_named(folder: Path) -> None:
    below = films_below(folder)
    assert list(below.files.films) == FILMS
    assert below.passed_over == {
        "hidden": (".trash", "a/b/.x.dcm"),
        "left by an operating system": ("Thumbs.db", "__MACOSX"),
        "of other kinds": ("DICOMDIR", "README", "notes.txt"),
    }
    assert below.notes == ()
    assert str(files_below(folder, has_film_ending)) == (
        "2 hidden (such as '.trash'), 2 left by an operating system (such as 'Thumbs.db'), "
        "4 of other kinds (such as 'DICOMDIR')"
    )


def test_every_reader_of_folders_gives_the_same_films_in_the_same_order(folder: Path) -> None:
    for dataset in (FOLDER, DICOM_FOLDER):
        assert dataset.read(folder, dataset.options_type()).table["image_path"].tolist() == FILMS
    assert expanded([folder]).files == [folder / name for name in FILMS]
    assert sorted(expanded([folder / "**"]).files) == sorted(folder / name for name in FILMS)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*", ["UID.1.2.3", "a.DCM", "b.dcm"]),
        ("*.dcm", ["b.dcm"]),
        ("**/*.dcm", ["a/2.dcm", "a/b/x.dcm", "b.dcm", "linked/d.dcm"]),
        ("*/*.dcm", ["a/2.dcm", "linked/d.dcm"]),
        ("a/**/x.*", ["a/b/x.dcm"]),
        ("[ab]/?.dcm", ["a/2.dcm"]),
    ],
)
def test_patterns_find_what_walking_finds(folder: Path, pattern: str, names: list[str]) -> None:
    assert expanded([folder / pattern]).files == [folder / name for name in names]


def test_a_name_that_looks_like_a_pattern_is_a_name(folder: Path) -> None:
    assert expanded([write(folder / "film[1].dcm")]).files == [folder / "film[1].dcm"]


def test_a_pattern_opens_only_the_folders_on_its_way(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closed(folder / "a" / "b", monkeypatch):
        assert expanded([Path("*.dcm"), Path("a/*.dcm")]).files == [Path("b.dcm"), Path("a/2.dcm")]
        with pytest.raises(DataError, match="a/b cannot be opened"):
            expanded([Path("a/**/*.dcm")])


@pytest.mark.parametrize("ending", ["", ".5", ".IMA", ".xyz", ".PNG"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "DICOM"])
def test_content_decides_where_a_name_says_nothing(tmp_path: Path, kind: str, ending: str) -> None:
    if kind == "DICOM":
        write(tmp_path / f"film{ending}")
    else:
        Image.fromarray(PIXELS).save(tmp_path / f"film{ending}", kind)
    (tmp_path / f"BMI{ending.lower().replace('.png', '')}").write_text("BMI of every patient, which is no BMP picture")
    assert films_below(tmp_path).files.films == (f"film{ending}",)


def test_a_circle_ends_and_a_folder_is_taken_once_where_it_lies(tmp_path: Path) -> None:
    for name in ("store/n/1.dcm", "films/own/0.dcm", "films/z/2.dcm"):
        write(tmp_path / name)
    films = tmp_path / "films"
    for link, target in [
        ("own/circle", ".."),
        ("own/self", "."),
        ("above", "../.."),
        ("n", "../store/n"),
        ("store", "../store"),  # holds n, which was walked through by its own link
        ("a", "z"),  # the real folder comes later in the order
    ]:
        (films / link).symlink_to(target)
    (tmp_path / "store" / "back").symlink_to(films)
    below = films_below(films)
    assert below.files.films == ("n/1.dcm", "own/0.dcm", "z/2.dcm")
    assert below.passed_over == {
        "links back to a folder above": ("above", "own/circle", "own/self"),
        "reached a second time by a link": ("a", "store/back", "store/n"),
    }
    assert below.notes == ("Passed over: 3 reached a second time by a link (such as 'a').",)


def test_a_linked_film_is_taken_once(tmp_path: Path) -> None:
    write(tmp_path / "store/1.dcm")
    write(tmp_path / "films/.annex/blob")
    write(tmp_path / "films/z.dcm")
    for link, target in [
        ("one.dcm", "../store/1.dcm"),
        ("two.dcm", "../store/1.dcm"),
        ("a.dcm", "z.dcm"),
        ("from-annex.dcm", ".annex/blob"),
    ]:
        (tmp_path / "films" / link).symlink_to(target)
    below = films_below(tmp_path / "films")
    assert below.files.films == ("from-annex.dcm", "one.dcm", "z.dcm")
    assert below.passed_over["reached a second time by a link"] == ("a.dcm", "two.dcm")


def test_links_that_lead_nowhere_are_named_and_films_among_them_are_bad_ones(tmp_path: Path) -> None:
    write(tmp_path / "1.dcm")
    for link, target in [("2.dcm", "gone.dcm"), ("IM3", "gone"), ("4.png", "4.png")]:
        (tmp_path / link).symlink_to(target)
    below = films_below(tmp_path)
    assert below.files.films == ("1.dcm", "2.dcm", "4.png")
    assert below.notes == ("Passed over: 1 links that lead nowhere (such as 'IM3').",)


def test_pipes_and_sockets_are_never_opened(tmp_path: Path) -> None:
    write(tmp_path / "1.dcm")
    os.mkfifo(tmp_path / "pipe.dcm")
    (tmp_path / "to-the-pipe.dcm").symlink_to("pipe.dcm")
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(os.path.relpath(tmp_path / "socket.dcm"))  # a short name, as sockets need
        below = films_below(tmp_path)
    assert below.files.films == ("1.dcm",)
    assert below.passed_over == {"neither files nor folders": ("pipe.dcm", "socket.dcm", "to-the-pipe.dcm")}


@pytest.mark.parametrize("name", ["a/b", "a/2.dcm", "UID.1.2.3", "linked"])
@pytest.mark.parametrize(
    "look",
    [
        lambda root: FOLDER.read(root, FOLDER.options_type()),
        lambda root: DICOM_FOLDER.read(root, DICOM_FOLDER.options_type()),
        lambda root: expanded([root]),
    ],
    ids=["folder", "dicom-folder", "embed"],
)
def test_what_may_not_be_opened_is_an_error_that_names_it(
    folder: Path, name: str, look: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    with closed(folder / name, monkeypatch), pytest.raises(DataError, match=f"^{name} cannot be opened"):
        look(Path())


def test_the_doctor_finds_a_closed_folder_at_fault(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closed(folder / "a" / "b", monkeypatch):
        found = examine(FOLDER, Path(), FOLDER.options_type(), state=tmp_path / "state", num_samples=1)
    assert not found.is_green
    assert "a/b cannot be opened (Permission denied)" in found.issues[0].message


def test_a_name_that_is_no_utf_8_is_a_film_under_a_name_that_is(tmp_path: Path) -> None:
    raw = write(tmp_path / os.fsdecode(b"t\xf3rax.dcm"))
    write(tmp_path / "a.dcm")
    assert films_below(tmp_path).files.films == ("a.dcm", r"t\xf3rax.dcm")
    assert expanded([tmp_path]).files == [tmp_path / "a.dcm", raw]
    with pytest.raises(UsageError, match=r"n\\xf3ne does not exist"):
        expanded([tmp_path / os.fsdecode(b"n\xf3ne")])


def test_dicom_files_are_known_by_content_and_damaged_ones_by_name(tmp_path: Path) -> None:
    write(tmp_path / "1.csv")
    write(tmp_path / "2.dcm", b"")
    write(tmp_path / "3.png", b"\x89PNG\r\n\x1a\n")
    assert films_below(tmp_path, may_be_dicom_film).files.films == ("1.csv", "2.dcm")


def test_no_verb_ends_in_a_traceback_over_a_name_that_is_no_utf_8(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / os.fsdecode(b"r\xf6ntgen")
    Image.fromarray(PIXELS).save(write(root / os.fsdecode(b"t\xf3rax.png")))
    Image.fromarray(PIXELS.T).save(write(root / "b.png"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    pack = tmp_path / os.fsdecode(b"p\xe4ck")
    words = ["data", "pack", "folder", "--root", str(root), "--image-size-px", "16", "--num-workers", "1"]
    main([*words, "--out", str(pack)])
    assert Pack.open(pack).table["sample_id"].tolist() == ["b.png", r"t\xf3rax.png"]
    main([*words, "--out", str(pack)])  # the same call finds the same pack
    with contextlib.suppress(SystemExit):  # the doctor may have something to say, in a sentence
        main(["data", "doctor", "folder", "--root", str(root), "--num-workers", "1"])
    assert "2 films decoded" in capsys.readouterr().out
    write_table(root / "found.parquet", {"path": [as_text(root / os.fsdecode(b"t\xf3rax.png"))], "edema": [0.5]})
    write_table(root / "found.csv", {"path": [as_text(root / os.fsdecode(b"t\xf3rax.png"))], "edema": [0.5]})
    assert r"t\xf3rax.png" in (root / "found.csv").read_text(encoding="utf-8")


def test_a_name_as_text_finds_its_file_and_a_real_name_of_that_text_comes_first(tmp_path: Path) -> None:
    raw = write(tmp_path / os.fsdecode(b"t\xf3rax.dcm"))
    assert on_disk(tmp_path / as_text(raw.name)) == raw
    literal = write(tmp_path / r"t\xf3rax.dcm")
    assert on_disk(tmp_path / as_text(raw.name)) == literal
    assert as_text("médico/1.png") == "médico/1.png"


def test_a_closed_picture_is_an_error_though_its_name_says_what_it_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(PIXELS).save(folder / "c.png")
    with closed(folder / "c.png", monkeypatch), pytest.raises(DataError, match=r"^c\.png cannot be opened"):
        films_below(Path())


def test_a_closed_picture_that_a_table_names_is_an_error_and_no_bad_film(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(PIXELS).save(folder / "c.png")
    with closed(folder / "c.png", monkeypatch), pytest.raises(DataError, match="cannot be opened") as error:
        decode_grey(Path("c.png"))
    assert not isinstance(error.value, UnreadableImage)


@pytest.mark.parametrize(
    "mask",
    [
        "COVID/masks/1.png", "Normal/lung masks/1.png", "MontgomerySet/ManualMask/leftMask/1.png", "train/Masks/1.jpg",
        "infection_mask/1.tif", "ground_truth/1.png", "Annotations/a/1.png", "CXR_png/1_mask.png", "a/1-mask-2.png",
    ],
)  # fmt: skip
def test_masks_beside_films_are_no_films_unless_somebody_names_them(tmp_path: Path, mask: str) -> None:
    root = tmp_path / "masks"  # the folder that somebody names is none of it
    for name in ("COVID/images/1.png", "unmasked/maskless.png", "damask/1.png", mask):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS).save(root / name)
    films = ["COVID/images/1.png", "damask/1.png", "unmasked/maskless.png"]
    found = films_below(root)
    assert list(found.files.films) == films
    assert found.notes == (f"Passed over: 1 masks by their names (such as '{mask}').",)
    by_folder = expanded([root])
    assert [str(path.relative_to(root)) for path in by_folder.files] == films
    assert any("1 masks by their names" in note for note in by_folder.notes)
    for word in (root / mask, root / "**" / "*"):
        assert root / mask in expanded([word]).files
    with pytest.raises(UsageError, match=r"nothing to embed: no film .*1 masks by their names"):
        expanded([films_alone(tmp_path, root / mask)])


def films_alone(place: Path, mask: Path) -> Path:
    """A folder with a folder of masks and nothing else."""
    alone = place / "alone"
    (alone / "masks").mkdir(parents=True)
    (alone / "masks" / mask.name).write_bytes(mask.read_bytes())
    return alone
