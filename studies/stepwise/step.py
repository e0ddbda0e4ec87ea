"""A study in steps: each is done once, in its own process with one thread, and leaves one file of arrays.

Whatever is whole is kept, so a study that was killed goes on; a kill costs the steps that were at work.
"""

import json
import resource
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pacx.core.artifacts import read_json, staged_file, write_json
from pacx.core.errors import UsageError
from pacx.core.host import processor_lines
from pacx.core.progress import announce, progress
from pacx.core.provenance import provenance
from pacx.recipes.side_by_side import in_processes
from studies.stepwise.folders import Folders

ABOUT = "about"
"""The array of a step's file that says how it was made."""


def chip() -> str:
    """The processor that does the arithmetic, by name."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    named = processor_lines("model name")
    return f"{named[0].partition(':')[2].strip()}, CPU" if named else "CPU"


@dataclass(frozen=True, kw_only=True)
class Study:
    """What all steps share.

    Args:
        folders: where everything is.
        seed: of the hospital, probes and bootstrap.
        num_draws: of patients.
    """

    folders: Folders
    seed: int
    num_draws: int


@dataclass(frozen=True, kw_only=True)
class StudyStep(ABC):
    """Something that leaves one file of arrays; done once."""

    name: str
    study: Study

    @property
    def file(self) -> Path:
        """Where its arrays are."""
        return self.study.folders.scores(self.name)

    @abstractmethod
    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        """Do the step's work and return the arrays to keep."""

    def run(self) -> str:
        """Do it unless it is done, in one thread; returns its name."""
        if self.file.exists():
            return self.name
        began, used = time.monotonic(), _processor_seconds()
        arrays = self.arrays()
        about = {
            "seconds": round(time.monotonic() - began, 1),
            "processor_seconds": round(_processor_seconds() - used, 1),
            "commit": provenance("study", self.study.seed).commit,
            "chip": chip(),
        }
        with staged_file(self.file) as partial, partial.open("wb") as stream:
            kept: dict[str, Any] = {**arrays, ABOUT: np.array(json.dumps(about))}
            np.savez(stream, **kept)
        return self.name


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _run(step: StudyStep) -> str:
    return step.run()


def run_steps(steps: Sequence[StudyStep], num_processes: int) -> None:
    """Do those of the steps that are missing, so many at a time."""
    missing = [step for step in steps if not step.file.exists()]
    with progress("study", len(missing), "steps") as shown:
        for name in in_processes(_run, missing, num_processes):
            shown.advance(note=name)


def require_same_study(out: Path, asked: Mapping[str, Any]) -> None:
    """Say in the folder which study it holds.

    Raises:
        UsageError: it holds another.
    """
    path = out / "study.json"
    if path.exists() and {key: read_json(path).get(key) for key in asked} != asked:
        raise UsageError(f"{out} holds another study ({path} says which); give another --out")
    write_json(path, dict(asked))


@contextmanager
def timed(out: Path, name: str) -> Iterator[None]:
    """Announce a part, and keep the seconds it took: a later call that has nothing to do adds next to none."""
    path = out / "seconds.json"
    announce(f"study: {name}")
    began = time.monotonic()
    yield
    known = read_json(path) if path.exists() else {}
    write_json(path, {**known, name: round(known.get(name, 0.0) + time.monotonic() - began, 1)})
