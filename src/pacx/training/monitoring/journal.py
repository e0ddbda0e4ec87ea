"""The diary of a run: one JSON object a line, appended as training goes, read back as training curves.

`loop -> journal.jsonl -> report`. A kill can tear the last line and nothing else: a torn last line is passed over, a
damaged line before it is refused. Entries after the checkpoint a run resumes from are dropped, so that the diary tells
one story. This is the one file that is appended to instead of being written whole.
"""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

from pacx.core.artifacts import write_text
from pacx.core.errors import ArtifactError, TrainingError

TRAIN, VALIDATION = "train", "validation"


@dataclass(frozen=True, kw_only=True)
class JournalEntry:
    """Numbers known after an optimiser step.

    Args:
        kind: ``TRAIN`` (means since the entry before) or ``VALIDATION``.
        epoch: epoch the step belongs to, from 0.
        step: optimiser steps done.
        values: metric name to value; NaN and infinities are kept as NaN.
    """

    kind: str
    epoch: int
    step: int
    values: dict[str, float]

    def to_line(self) -> str:
        """One line of JSON, without the newline; a value that is not finite becomes null."""
        values = {name: value if math.isfinite(value) else None for name, value in self.values.items()}
        return json.dumps({"kind": self.kind, "epoch": self.epoch, "step": self.step, "values": values})

    @classmethod
    def from_line(cls, line: str) -> "JournalEntry":
        """Read what ``to_line`` wrote; raises ValueError, KeyError or TypeError on anything else."""
        raw = json.loads(line)
        values = {name: math.nan if value is None else float(value) for name, value in raw["values"].items()}
        return cls(kind=raw["kind"], epoch=raw["epoch"], step=raw["step"], values=values)


def read_journal(path: Path) -> list[JournalEntry]:
    """All entries of a journal, oldest first; none if the file is not there.

    Raises:
        TrainingError: a line other than the last cannot be read.
    """
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    entries = []
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            entries.append(JournalEntry.from_line(line.decode()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if number == len(lines):  # no newline after it: the writer was killed here
                break
            raise TrainingError(
                f"{path} line {number} is not a journal entry; restore the file from a backup or remove that line"
            ) from error
    return entries


class Journal:
    """Appends entries so that each is on the disk before the call returns."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, entry: JournalEntry) -> None:
        """Write one entry.

        Raises:
            ArtifactError: the disk is full or the folder cannot be written to.
        """
        try:
            with self.path.open("ab") as file:
                file.write(entry.to_line().encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ArtifactError(
                f"cannot write {self.path}: {error.strerror or error}; free space, then run again with --resume"
            ) from error

    def forget_after(self, step: int) -> None:
        """Drop entries of steps later than ``step``, and a torn last line, before a resumed run writes on."""
        kept = [entry.to_line() + "\n" for entry in read_journal(self.path) if entry.step <= step]
        write_text(self.path, "".join(kept))


def curve(entries: list[JournalEntry], kind: str, metric: str) -> tuple[list[int], list[float]]:
    """One metric over a run: optimiser steps, and the values at them."""
    points = [(entry.step, entry.values[metric]) for entry in entries if entry.kind == kind and metric in entry.values]
    return [step for step, _ in points], [value for _, value in points]
