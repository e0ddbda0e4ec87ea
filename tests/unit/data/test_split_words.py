"""Words for splits: one set for folders and cells, in any usual spelling, and none where two may be meant."""

import pytest

from pacx.data.own_films.split_words import are_splits, is_about_splits, is_flag_of_split, split_of


@pytest.mark.parametrize(
    ("words", "split"),
    [
        (("train", "Training", "TRN", "train_images", "stage_2_train", "trainset", "TrainingSet"), "train"),
        (("Trainingsdaten", "entrenamiento", "Treino", "Entraînement", "Entrai\u0302nement", "训练集"), "train"),
        (("Validierung", "Validierungsdaten", "validación", "Validação", "验证集"), "val"),
        (("Testdaten", "prueba", "Conjunto de pruebas", "teste", "测试"), "test"),
        (("val", "valid", "Validation", "validate", "VALIDATE", "dev", "valid_set", "images-val"), "val"),
        (("test", "Testing", "tst", "holdout", "hold-out", "Hold out", "held_out", "test_data", "TestSet"), "test"),
        (("", "NA", "none", "-", "n/a"), ""),
        (("eval", "Evaluation", "trainval", "train_val", "external test", "ill", "0", "testicular", "trainer"), None),
    ],
)  # fmt: skip
def test_a_word_means_one_split_or_none(words: tuple[str, ...], split: str | None) -> None:
    assert {word: split_of(word) for word in words} == dict.fromkeys(words, split)


def test_what_is_about_splits_and_not_clear_is_told_from_what_is_not() -> None:
    assert all(map(is_about_splits, ("train", "eval", "train_val", "external_test", "test_pneumonia")))
    assert not any(map(is_about_splits, ("ill", "NORMAL", "images", "contest", "attest", "2018", "latest")))


def test_a_column_is_one_of_splits_when_it_can_be_nothing_else() -> None:
    assert are_splits(["Train", "test", "", "validate"])
    assert not are_splits(["train", "train"])
    assert not are_splits(["train", "test", "extern"])


def test_flags_of_splits_are_known_by_name() -> None:
    assert all(map(is_flag_of_split, ("is_test", "isTrain", "test", "in_training_set", "Holdout", "for validation")))
    assert not any(map(is_flag_of_split, ("pcr_test", "test_date", "edema", "interest", "istest2b")))
