"""``twin.json``: how a tree says that it is a simulated twin of a dataset, and what was written into it.

The simulator writes it, the doctor reads it; neither knows the other.
"""

from collections.abc import Mapping
from pathlib import Path

from pacx.core.artifacts import read_json
from pacx.core.errors import DataError

TWIN_FILE = "twin.json"


def twin_counts(root: Path) -> Mapping[str, int] | None:
    """How often what occurs in the twin below ``root``; None where the tree is no twin.

    Raises:
        DataError: the file is not what the simulator writes.
    """
    path = root / TWIN_FILE
    if not path.is_file():
        return None
    about = read_json(path)
    counts = about.get("counts") if isinstance(about, dict) else None
    if not isinstance(counts, dict) or not all(type(count) is int for count in counts.values()):
        raise DataError(f"{path} holds no counts; write the twin again with `pacx simulate`")
    return counts
