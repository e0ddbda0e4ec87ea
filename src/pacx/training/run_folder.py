"""A run's folder: what it was asked to do, how it went, and whether it is done.

    RUN/config.json      stage, TrainingConfig, task configuration, provenance
    RUN/journal.jsonl    curves
    RUN/checkpoints/     newest two, and the best
    RUN/summary.json     only when finished
    RUN/...              what the task releases

Refuses a folder that already holds something unless told to resume, and to resume under another configuration.
"""

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pacx.core.artifacts import discard_partials, is_partial, read_json, write_json
from pacx.core.errors import UsageError
from pacx.core.provenance import provenance
from pacx.core.typed_json import plain
from pacx.models.encoders.origin import read_origin, write_origin
from pacx.training.checkpoints import Checkpoints
from pacx.training.config import TrainingConfig, changed_fields, config_sha256
from pacx.training.monitoring.journal import Journal
from pacx.training.task import StageTask

_OF_THIS_MACHINE = ("elapsed_s", "samples_per_s")


@dataclass(frozen=True, kw_only=True)
class TrainingSummary:
    """How a finished run went.

    Args:
        stage: the task's name.
        epochs: epochs trained.
        steps: optimiser steps trained.
        elapsed_s: training and validation time over all sessions.
        samples_per_s: training samples a second, validation included, the writing of checkpoints not.
        released_step: the step whose weights were released.
        train: the last means of loss and metrics.
        validation: the last validation.
        advice: what of it a person has to be told; "" where all is well.
        notes: what a reader of the results has to know of the data that were trained on.
    """

    stage: str
    epochs: int
    steps: int
    elapsed_s: float
    samples_per_s: float
    released_step: int
    train: dict[str, float]
    validation: dict[str, float]
    advice: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """An opened run folder."""

    path: Path
    journal: Journal
    checkpoints: Checkpoints

    @property
    def summary_path(self) -> Path:
        """Where the summary lies when the run is finished."""
        return self.path / "summary.json"

    def finished(self) -> TrainingSummary | None:
        """The summary of a finished run, else None."""
        if not self.summary_path.exists():
            return None
        raw = read_json(self.summary_path)
        for part in ("train", "validation"):
            raw[part] = {name: math.nan if value is None else value for name, value in raw[part].items()}
        return TrainingSummary(**{**raw, "notes": tuple(raw.get("notes", ()))})

    def finish(self, summary: TrainingSummary) -> None:
        """Mark the run as finished; a metric that is not a number is written as null.

        The encoder it released takes along how it was trained, so that it may leave the run's folder.
        """
        raw = asdict(summary)
        for part in ("train", "validation"):
            raw[part] = {name: value if math.isfinite(value) else None for name, value in raw[part].items()}
        encoder = self.path / "encoder"
        if origin := read_origin(encoder):
            training = read_json(self.path / "config.json")["training"]
            told = {name: value for name, value in raw.items() if name not in _OF_THIS_MACHINE}
            write_origin(encoder, replace(origin, training=training, summary=told))
        write_json(self.summary_path, raw)


def open_run(path: Path, task: StageTask, config: TrainingConfig, *, resume: bool, is_writer: bool) -> RunFolder:
    """Begin a run in an empty folder, or go on in the folder of a run of the same configuration.

    Args:
        path: the run folder; made if missing.
        task: the stage.
        config: its training configuration.
        resume: go on; a folder where nothing has been written yet is begun.
        is_writer: whether this process writes (the first of several does).

    Raises:
        UsageError: the folder holds something and ``resume`` is off, or the run in it had other settings.
    """
    asked = plain({"stage": task.name, "training": config, "task": task.describe()})
    config_path = path / "config.json"
    is_begun = config_path.exists()
    if is_begun and resume:
        written = read_json(config_path)
        recorded = {name: written.get(name) for name in asked}
        if changes := changed_fields(recorded, asked):
            listed = "; ".join(f"{name} was {old!r}, is {new!r}" for name, (old, new) in changes.items())
            raise UsageError(f"{path} cannot be resumed with other settings ({listed}); start a new run folder")
        if is_writer:
            discard_partials(path)
    elif is_writer:
        if path.exists() and not all(is_partial(each) for each in path.iterdir()):
            remedy = "pass --resume to go on, or choose another folder" if is_begun else "choose another folder"
            raise UsageError(f"{path} is not empty; {remedy}")
        discard_partials(path)
        write_json(config_path, {**asked, "provenance": provenance(f"train {task.name}", config.seed).to_json()})
    checkpoints = Checkpoints(path / "checkpoints", config_sha256=config_sha256(asked), is_writer=is_writer)
    return RunFolder(path=path, journal=Journal(path / "journal.jsonl"), checkpoints=checkpoints)
