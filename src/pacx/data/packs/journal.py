"""The journal of a pack while it is written: which work it is, then a line for every part that is wholly on the disk.

Films and ECGs keep theirs alike. The journal is removed last of all, by ``forget_journal``, when the pack has its name.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

JOURNAL_FILE = "journal.jsonl"


def first_line(work: str) -> bytes:
    """What a journal of this work begins with."""
    return f"{work}\n".encode()


def write_line(journal: BinaryIO, line: Mapping[str, Any]) -> None:
    """Say that a part is whole; the part's own bytes have to be flushed before."""
    journal.write(json.dumps(line).encode() + b"\n")
    journal.flush()


def whole_lines(journal: BinaryIO) -> Iterator[dict[str, Any]]:
    """The lines that are whole, from where the journal stands; a call reads past the first line before."""
    while (line := journal.readline()).endswith(b"\n"):
        try:
            yield json.loads(line)
        except ValueError:  # the power went, and the line's bytes never reached the disk
            return


def begin_after(journal: BinaryIO, end: int) -> None:
    """Drop what follows byte ``end``, and write on from there."""
    journal.truncate(end)
    journal.seek(end)


def growing(path: Path) -> BinaryIO:
    """A file that is read and written from its beginning on; made where there is none."""
    path.touch()
    return path.open("r+b")


def forget_journal(folder: Path) -> None:
    """Remove the journal of a pack that is whole and has its name."""
    (folder / JOURNAL_FILE).unlink(missing_ok=True)
