"""How long the demo will take on this machine, and how far it is: the steps' shares, a speed measured in a second.

`a film autoencoder's training step, timed -> minutes of every step -> one line per step`. Shares are processor seconds
of a whole demo in units of such a training step, so that a slower processor, or a busy one, is told a longer time.
"""

import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from pacx.core.artifacts import read_json, write_json
from pacx.core.host import num_processors
from pacx.core.progress import announce

_NUM_TIMED_STEPS = 5
_PATIENT, _PACKED, _FILM, _RECORDING, _PANEL, _PAIR = 0.136, 0.004, 0.0236, 0.0155, 0.0004, 0.0134
"""Training steps' time per simulated and packed patient, film, recording, panel and pair."""
_EVALUATION, _PICTURES, _PAGE = 634.0, 68.0, 11.0
"""The same for what hardly grows with the demo's sizes.

From a whole demo of 13 minutes in two processes on an AMD EPYC (Zen 3), whose film autoencoder took 0.235 s for a step
while the others worked beside it. A film's share holds Muon's part of a step as well, 94 ms beside some 290 forward and
backward (docs/experiments.md), which the timed step leaves out. Most of the evaluation is one process's, however
many there are."""


class Step(Enum):
    """What the demo does, in order."""

    SIMULATE = "simulate the hospital"
    PACK = "pack the films"
    STAGE_1 = "stage 1: films, ECGs, labs"
    STAGE_2 = "stage 2: distil, with four ablations"
    EVALUATE = "stage 3: evaluate"
    DRAW = "draw pictures"
    REPORT = "write the report"


@dataclass(frozen=True, kw_only=True)
class Workload:
    """How much there is to do.

    Args:
        num_patients: simulated and packed.
        num_films: shown to the film autoencoder, over all epochs.
        num_recordings: shown to the ECG autoencoder, over all epochs.
        num_panels: shown to the laboratory autoencoder, over all epochs.
        num_pairs: shown to Stage 2, over all epochs and ablations.
        num_processes: that work at once.
    """

    num_patients: int
    num_films: int
    num_recordings: int
    num_panels: int
    num_pairs: int
    num_processes: int

    def expected(self, step_s: float) -> dict[Step, float]:
        """Seconds of every step where a training step takes ``step_s``.

        The factors are training steps per unit of work, measured.
        """
        at_once = max(1, min(self.num_processes, num_processors()))
        film = self.num_films * _FILM
        others = self.num_recordings * _RECORDING + self.num_panels * _PANEL
        work = {
            Step.SIMULATE: self.num_patients * _PATIENT / at_once,
            Step.PACK: self.num_patients * _PACKED,
            Step.STAGE_1: film + others if at_once == 1 else max(film, others),
            Step.STAGE_2: self.num_pairs * _PAIR / at_once,
            Step.EVALUATE: _EVALUATION,
            Step.DRAW: _PICTURES,
            Step.REPORT: _PAGE,
        }
        return {step: steps * step_s for step, steps in work.items()}


def seconds_of_a_training_step() -> float:
    """Measure one training step of the demo's film autoencoder (64 films) in one thread; takes about a second."""
    import torch

    from pacx.models.mae.model import MaskedAutoencoder
    from pacx.recipes.mae import mae_tiny_muon

    run = mae_tiny_muon()
    model, threads = MaskedAutoencoder(run.task.model), torch.get_num_threads()
    images = torch.zeros(64, 3, run.task.model.img_size, run.task.model.img_size)
    noise = torch.linspace(0, 1, run.task.model.num_patches).expand(len(images), -1)
    torch.set_num_threads(1)
    taken = []
    for _ in range(1 + _NUM_TIMED_STEPS):
        began = time.monotonic()
        model.loss(images, noise).backward()
        taken.append(time.monotonic() - began)
    torch.set_num_threads(threads)
    return statistics.median(taken[1:])  # the first one makes oneDNN's kernels


class Clock:
    """Seconds per step, kept in a file so that a demo that goes on later still knows them."""

    def __init__(self, path: Path, expected: Mapping[Step, float]) -> None:
        self._path, self._expected = path, expected
        self.seconds: dict[str, float] = read_json(path) if path.exists() else {}

    def whole(self) -> str:
        """What all steps together are expected to take, in words."""
        return _minutes(sum(self._expected.values()))

    @contextmanager
    def step(self, step: Step) -> Iterator[None]:
        """Say which step begins and how long it still takes to the end; add what the step took."""
        number = list(Step).index(step)
        announce(f"demo: step {number + 1} of {len(Step)}, {step.value}; about {_minutes(self._left(number))} left")
        began = time.monotonic()
        yield
        self.seconds[step.value] = round(self.seconds.get(step.value, 0.0) + time.monotonic() - began, 1)
        write_json(self._path, self.seconds)

    def _left(self, number: int) -> float:
        """Seconds from the start of a step to the end, by what is expected and by how wrong that was so far."""
        steps = list(Step)
        known = [step for step in steps[:number] if step.value in self.seconds]
        expected = sum(self._expected[step] for step in known)
        taken = sum(self.seconds[step.value] for step in known)
        return sum(self._expected[step] for step in steps[number:]) * (taken / expected if expected else 1.0)


def _minutes(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes} minute{'s' * (minutes > 1)}"
