"""What the Dockerfile says, instruction by instruction."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def instructions() -> list[tuple[str, str]]:
    """(NAME, rest of the line) in order; continued lines joined, comments left out."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in text.splitlines()) if name]


def all_of(name: str) -> list[str]:
    """The rests of every instruction of a name."""
    return [rest for each, rest in instructions() if each == name]


def pip_words() -> list[str]:
    """What the image's pip is told, from ``install`` on; its paths are relative to a checkout."""
    (line,) = (rest for rest in all_of("RUN") if "pip install" in rest)
    return [word.strip('"') for word in line.split()[1:]]
