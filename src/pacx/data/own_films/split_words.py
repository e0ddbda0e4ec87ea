"""Words for train, val and test, as folders and cells spell them.

``Train``, ``train_images``, ``stage_2_train``, ``TrainingSet`` and ``trn`` are one word; ``eval`` is two, for half the
world validates with it and the other half tests, so that nobody decides it but the user.
"""

import re
import unicodedata
from collections.abc import Sequence

from pacx.core.tables.cells import is_unknown

_WORDS = {
    **dict.fromkeys(
        ("train", "training", "trn", "tr", "trainings", "entrenamiento", "treino", "treinamento", "entrainement",
         "apprentissage", "addestramento", "训练", "訓練"),
        "train",
    ),
    **dict.fromkeys(
        ("val", "valid", "validation", "validate", "validating", "vali", "dev", "development", "validierung",
         "validierungs", "validacion", "validacao", "validazione", "walidacja", "验证", "驗證"),
        "val",
    ),
    **dict.fromkeys(
        ("test", "testing", "tst", "holdout", "heldout", "prueba", "pruebas", "teste", "testes", "测试", "測試"), "test"
    ),
}  # fmt: skip
"""Without accents, as ``_parts`` gives them."""
_AMBIGUOUS = ("eval", "evaluation", "evaluate", "trainval", "valtest", "traintest")
"""Words that are about splits and do not say which."""

_TELLING = ("train", "training", "val", "validation", "validate", "test", "testing", "holdout", "heldout")
"""Words that are about splits beside whatever other word."""

_BESIDE = frozenset(
    ("set", "sets", "split", "splits", "subset", "data", "dataset", "images", "image", "imgs", "img", "films", "film",
     "files", "pictures", "png", "jpg", "jpeg", "dicom", "dcm", "xray", "xrays", "cxr", "stage", "part", "new",
     "official", "cases", "samples", "folder", "dir", "a", "the", "final", "internal",
     "daten", "bilder", "imagenes", "conjunto", "conjuntos", "de")
)  # fmt: skip
"""What stands beside such a word without changing it."""


def split_of(word: str) -> str | None:
    """The split that a word means: "train", "val" or "test", "" where it says that none is known, None for no split.

    Example:
        >>> [split_of(word) for word in ("Training", "stage_2_train_images", "VALIDATE", "hold-out", "NA", "eval")]
        ['train', 'train', 'val', 'test', '', None]
    """
    if is_unknown(word):
        return ""
    found = {_WORDS.get(part) for part in _parts(word)}
    return found.pop() if len(found) == 1 else None


def is_about_splits(word: str) -> bool:
    """Whether a word means a split, or seems to and is not clear, as ``eval``, ``train_val``, ``external_test``."""
    parts = _parts(word)
    is_whole = bool(parts) and all(part in _WORDS or part in _AMBIGUOUS for part in parts)
    return is_whole or any(part in _TELLING for part in parts)


def are_splits(words: Sequence[str]) -> bool:
    """Whether all of many words mean splits, training and another, so that nothing else can be meant."""
    found = {split_of(word) for word in set(words)}
    return None not in found and "train" in found and len(found - {""}) > 1


def is_flag_of_split(name: str) -> bool:
    """Whether a column of yes and no has a name by which it says what is tested on, or trained on (``is_test``)."""
    words = _parts(re.sub(r"^\W*(is|in|for)(?![a-z])", "", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.replace("_", " "))))
    return len(words) == 1 and words[0] in _TELLING


def _parts(word: str) -> list[str]:
    """A word's own words, without numbers and what changes nothing."""
    letters = (letter for letter in unicodedata.normalize("NFKD", word) if not unicodedata.combining(letter))
    humps = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFC", "".join(letters)).strip()).casefold()
    whole = re.sub(r"(?<![a-z])(held|hold)[\s_-]+out(?![a-z])", "holdout", humps)
    parts = []
    for part in re.findall(r"[^\W\d_]+", whole):
        bare = re.sub(r"(?<=.)(sets?|data|daten|images|split|集)$", "", part) if part not in _BESIDE else part
        parts.append(bare if bare in _WORDS else part)
    return [part for part in parts if part not in _BESIDE]
