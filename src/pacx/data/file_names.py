r"""File names as text that every table, page and terminal can hold, and the way back to the file.

On Linux a name is any bytes. Where they are no UTF-8 (an old Windows share, a zip of another decade), Python keeps them
as surrogates, which no csv, parquet or terminal takes. As text each such byte is written as ``\xe9``; whoever opens a
file by its text finds it again.
"""

import os
import re
from pathlib import Path

_ESCAPED_BYTE = re.compile(r"\\x([89a-f][0-9a-f])")
_SURROGATES = 0xDC00  # and the byte, for a byte above 0x7f


def as_text(path: Path | str) -> str:
    """A path as valid text; one of valid text stays as it is."""
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def on_disk(path: Path) -> Path:
    """The file that a path made of ``as_text`` names; the path itself where there is a file of that very name."""
    if "\\x" not in str(path) or os.path.lexists(path):
        return path
    raw = Path(_ESCAPED_BYTE.sub(lambda byte: chr(_SURROGATES + int(byte[1], 16)), str(path)))
    return raw if os.path.lexists(raw) else path


def from_latin_1(text: str) -> str:
    """The same name with its odd bytes taken for Latin-1, as Windows of the West wrote accents."""
    return _ESCAPED_BYTE.sub(lambda byte: chr(int(byte[1], 16)), text)
