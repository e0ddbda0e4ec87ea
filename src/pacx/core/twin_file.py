"""``twin.json``: how a tree says that it is a simulated twin of a dataset, and what was written into it.

The simulator writes it, the doctor reads it; neither knows the other.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pacx.core.artifacts import read_json
from pacx.core.errors import DataError

TWIN_FILE = "twin.json"
_NUM_ABOVE = 3


def twin_counts(root: Path, dataset: str = "") -> Mapping[str, int] | None:
    """How often what occurs in the twin below ``root``; None where the tree is no twin.

    Args:
        root: of the tree.
        dataset: whose twin it may be a part of: a twin may hold its dataset in a folder beside other modules, and is
            looked for in the root and up to three folders above, as the dataset is looked for so many below.

    Raises:
        DataError: the file is not what the simulator writes.
    """
    if (root / TWIN_FILE).is_file():
        return _counts(root / TWIN_FILE, _about(root / TWIN_FILE))
    for folder in root.absolute().parents[:_NUM_ABOVE]:
        path = folder / TWIN_FILE
        if (about := _above(path)).get("dataset") == dataset:
            return _counts(path, about)
    return None


def _above(path: Path) -> Mapping[str, Any]:
    """What a file above the root says; nothing where somebody may not look into folders above his own."""
    try:
        return _about(path) if path.is_file() else {}
    except PermissionError:
        return {}


def _about(path: Path) -> Mapping[str, Any]:
    about = read_json(path)
    return about if isinstance(about, dict) else {}


def _counts(path: Path, about: Mapping[str, Any]) -> Mapping[str, int]:
    counts = about.get("counts")
    if not isinstance(counts, dict) or not all(type(count) is int for count in counts.values()):
        raise DataError(f"{path} holds no counts; write the twin again with `pacx simulate`")
    return counts
