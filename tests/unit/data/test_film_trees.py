"""Trees of films: splits and classes wherever the folders stand, and no division that is honoured in part."""

from pathlib import Path

import pytest

from pacx.core.errors import DataError, UsageError
from pacx.data.own_films.film_tree import FilmTree

ROOT = Path("films")


def tree(*paths: str) -> FilmTree:
    return FilmTree(ROOT, sorted(paths))


def divided(shape: str, splits: tuple[str, ...] = ("train", "val", "test")) -> list[str]:
    """Two films of two classes in each split, by a pattern of folders."""
    return [
        shape.format(split=split, kind=kind, name=name) for split in splits for kind in ("ill", "well") for name in "ab"
    ]


@pytest.mark.parametrize(
    "shape",
    [
        "{split}/{kind}/{name}.png",
        "archive/{split}/{kind}/{name}.png",
        "archive/chest_xray/{split}/{kind}/{name}.png",
        "{split}/{split}/{kind}/{name}.png",
        "{split}/images/{kind}/{name}.png",
        "{split}/{kind}/images/{name}.png",
        "{kind}/{split}/{name}.png",
        "data/{kind}/{split}/{name}.png",
    ],
)
@pytest.mark.parametrize(
    "splits",
    [
        ("train", "val", "test"),
        ("Train", "VALIDATE", "Test"),
        ("training", "validation", "hold-out"),
        ("train_images", "dev_images", "test_images"),
    ],
)
def test_every_usual_layout_gives_its_splits_and_classes(shape: str, splits: tuple[str, ...]) -> None:
    films = tree(*divided(shape, splits))
    means = dict(zip(splits, ("train", "val", "test"), strict=True))
    for path, split, kind in zip(films.paths, films.splits(), films.classes(), strict=True):
        assert split == next(means[part] for part in path.split("/") if part in means)
        assert kind == ("ill" if "ill" in path.split("/") else "well")


@pytest.mark.parametrize(
    ("stray", "named"),
    [
        ("logo.png", "logo.png"),
        ("extra/ill/a.png", "extra/"),
        ("external/a.png", "external/"),
        ("unlabelled/x/y/a.png", "unlabelled/"),
    ],
)
@pytest.mark.parametrize("top", ["", "archive/"])
def test_a_division_of_some_films_only_is_refused(stray: str, named: str, top: str) -> None:
    films = tree(*divided(f"{top}{{split}}/{{kind}}/{{name}}.png"), top + stray)
    for ask in (films.splits, films.classes):
        with pytest.raises(UsageError, match=f"divided into test, train, val, but 1 films lie elsewhere: {top}{named}"):
            ask()


def test_a_second_copy_below_is_told() -> None:
    once = divided("{split}/{kind}/{name}.png")
    films = tree(*once, *(f"chest_xray/{path}" for path in once))
    with pytest.raises(UsageError, match=r"12 films lie elsewhere: chest_xray/ \(12 of these films have the names of"):
        films.splits()


@pytest.mark.parametrize("word", ["eval", "train_val", "external_test", "test_pneumonia", "Evaluation"])
def test_a_word_that_may_mean_two_splits_is_asked_about(word: str) -> None:
    with pytest.raises(UsageError, match=f"has a folder {word}, which may mean another split to you"):
        tree("train/a.png", f"{word}/b.png").splits()


def test_folds_are_not_one_division() -> None:
    with pytest.raises(UsageError, match="divided more than once, in the folders fold1, fold2; give one"):
        tree(*(f"fold{number}/{split}/{number}.png" for number in "12" for split in ("train", "test"))).splits()


def test_sites_that_are_divided_alike_are_one_division() -> None:
    assert tree("siteA/train/a.png", "siteB/test/b.png").splits() == ["train", "test"]


def test_without_splits_the_first_folder_that_differs_names_the_class() -> None:
    assert tree("set/ill/a.png", "set/well/b.png").classes() == ["ill", "well"]
    assert tree("ill/x/a.png", "well/b.png", "logo.png").classes() == ["ill", None, "well"]
    assert tree("ill/a.png").classes() == ["ill"]
    assert tree("ill/a.png", "c.png").splits() == ["", ""]


def test_classes_in_two_spellings_are_refused() -> None:
    with pytest.raises(DataError, match="differ in nothing but spelling: NORMAL, normal"):
        tree("train/NORMAL/a.png", "test/normal/b.png", "train/ill/c.png").classes()


def test_patients_may_be_a_level_of_folders() -> None:
    films = tree("h/patient01/s1/a.png", "h/patient01/s2/b.png", "h/patient02/s1/c.png")
    assert films.likely_patient_level() == 2
    assert films.patients_at(2) == ["h/patient01", "h/patient01", "h/patient02"]
    with pytest.raises(DataError, match="lies above folder level 4"):
        films.patients_at(4)


@pytest.mark.parametrize(
    "names",
    [
        ("p10000032", "p10000764"), ("sub-S0301", "sub-S0302"), ("Subject_1", "Subject_2"), ("10032", "10764"),
        ("00000013", "00000014"), ("ID_0001", "ID_0002"), ("MRN77", "MRN78"),
    ],
)  # fmt: skip
def test_folders_that_look_like_patients_are_noticed(names: tuple[str, str]) -> None:
    assert tree(*(f"files/{name}/{number}.png" for name in names for number in "12")).likely_patient_level() == 2


@pytest.mark.parametrize(
    "names",
    [
        ("ill", "well"), ("subset1", "subset2"), ("2018", "2019"), ("patients", "controls"), ("0", "1"),
        ("images_001", "images_002"),
    ],
)  # fmt: skip
def test_other_folders_do_not_look_like_patients(names: tuple[str, str]) -> None:
    assert tree(*(f"{name}/{number}.png" for name in names for number in "12")).likely_patient_level() is None


def test_splits_in_other_languages_are_no_diseases() -> None:
    films = tree("entrenamiento/a/1.png", "prueba/b/2.png", "validación/a/3.png")
    assert films.splits() == ["train", "test", "val"]
    assert films.classes() == ["a", "b", "a"]


def test_files_named_by_patient_are_counted() -> None:
    films = tree("a/person1_virus_6.png", "a/person1_virus_7.png", "a/person2_virus_1.png", "a/IM-0115.png")
    assert films.num_names_of_patients() == 2
