"""The exception tree of the project, and the promise each error makes to the person who reads it.

    PacxError                exit 1
    ├── DataError            an image, table or pack is at fault
    ├── ModelError           a checkpoint or encoder folder is at fault
    ├── TrainingError        a run had to stop: NaN, damaged state
    ├── ArtifactError        a file could not be written whole: no room, no permission
    ├── WorkerError          a worker process died
    ├── PluginError          a plug-in cannot be imported, or is of another kind
    ├── InterruptedRunError  exit 75: asked to stop, saved, wants to be run again
    └── UsageError           exit 2: the call itself is at fault

A message is one sentence: what, where, what was expected, what to do. Header values of medical files never enter one.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any


class PacxError(Exception):
    """An error whose message is meant for the user; the command prints it without a traceback."""

    exit_code = 1


class DataError(PacxError):
    """An image, a table, a dataset tree or a pack is not what it has to be."""


class ModelError(PacxError):
    """A checkpoint or an encoder folder is missing, damaged, or made for something else."""


class TrainingError(PacxError):
    """A run had to stop before it did harm."""


class ArtifactError(PacxError):
    """A result could not be written whole; nothing half-written was left under its final name."""


class PluginError(PacxError):
    """A plug-in cannot be imported, or is no such thing as it has to be."""


class UsageError(PacxError):
    """The call is at fault: an option out of range, a path that is not there."""

    exit_code = 2


class WorkerError(PacxError):
    """A worker process died, most likely because the machine had no memory left for it."""


class InterruptedRunError(PacxError):
    """A run was asked to stop and has saved itself; the exit code is sysexits' "temporary failure, try again"."""

    exit_code = 75


def refuse_idle(settings: Any, names: Sequence[str], where: str) -> None:  # noqa: ANN401 - any dataclass
    """Refuse fields of a settings dataclass that were given and say nothing here: dropped, they would mislead.

    Args:
        settings: what was asked for; each of the fields has a default.
        names: fields that are not read here.
        where: what they say nothing about, in words.

    Raises:
        UsageError: one of them differs from its default.
    """
    usual = {each.name: each.default for each in fields(settings)}
    if given := [name for name in names if getattr(settings, name) != usual[name]]:
        raise UsageError(f"{' and '.join(given)} say nothing about {where}; leave them out")
