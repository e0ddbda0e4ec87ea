"""The journal in the tools people watch runs with: TensorBoard and Weights & Biases, each only when asked for.

`journal entries -> Tracker -> RUN/tensorboard, or the W&B run`. The journal stays the one record: a session that begins
or resumes tells a tracker the whole journal again, so that a kill leaves neither a gap nor a step told twice. Pictures
of films go to TensorBoard, which is a folder of the run, and never to W&B, which is somebody else's machine; sample ids
go to neither.
"""

import contextlib
import importlib
import os
import secrets
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from pacx.core.artifacts import read_json, write_json
from pacx.core.errors import UsageError
from pacx.training.config import TrainingConfig
from pacx.training.monitoring.journal import JournalEntry

_MODULES = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb"}
"""Switch of ``TrainingConfig`` (and package) to what has to be importable for it."""


class Tracker(ABC):
    """Something that shows the run in the folder ``run`` while it goes on."""

    @abstractmethod
    def __init__(self, run: Path) -> None: ...

    @abstractmethod
    def tell(self, entry: JournalEntry) -> None:
        """Show what was written into the journal."""

    @abstractmethod
    def show(self, picture: Path, step: int) -> None:
        """Show a picture of a validation, where pictures may go."""

    @abstractmethod
    def close(self) -> None:
        """Write out what is still in memory."""


class TensorBoard(Tracker):
    """Event files in RUN/tensorboard, made anew from the journal by each session."""

    def __init__(self, run: Path) -> None:
        folder = run / "tensorboard"
        shutil.rmtree(folder, ignore_errors=True)
        self._writer = importlib.import_module(_MODULES["tensorboard"]).SummaryWriter(log_dir=str(folder))

    def tell(self, entry: JournalEntry) -> None:
        """One curve per kind and metric."""
        for name, value in entry.values.items():
            self._writer.add_scalar(f"{entry.kind}/{name}", value, entry.step)

    def show(self, picture: Path, step: int) -> None:
        """Under the name of the file."""
        with Image.open(picture) as opened:
            pixels = np.asarray(opened.convert("RGB"))  # (H, W, 3)
        self._writer.add_image(picture.stem, pixels, step, dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        """Flush and close the file."""
        self._writer.close()


class WeightsAndBiases(Tracker):
    """A W&B run whose id lies in RUN/wandb-id.json, so that sessions go on with the same one.

    ``WANDB_PROJECT`` (else "pacx"), ``WANDB_MODE=offline`` and the other variables of wandb count. Offline, each
    session writes the whole run, so that the newest of its folders is the one to sync.
    """

    def __init__(self, run: Path) -> None:
        id_path = run / "wandb-id.json"
        if not id_path.exists():
            write_json(id_path, secrets.token_hex(8))
        wandb = importlib.import_module(_MODULES["wandb"])
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "pacx"),
            id=read_json(id_path),
            resume="allow",
            name=run.name,
            dir=str(run),
            config=read_json(run / "config.json"),
            settings=wandb.Settings(console="off", save_code=False, disable_git=True, quiet=True),
        )
        self._first_step = self._run.step  # those before are there from earlier sessions

    def tell(self, entry: JournalEntry) -> None:
        """One curve per kind and metric; what is told of one step belongs together."""
        if entry.step < self._first_step:
            return
        self._run.log({f"{entry.kind}/{name}": value for name, value in entry.values.items()}, step=entry.step)

    def show(self, picture: Path, step: int) -> None:
        """Nothing: films stay on this machine."""

    def close(self) -> None:
        """Wait until everything is sent, or written where it is offline."""
        self._run.finish()


_TRACKERS: dict[str, type[Tracker]] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}


def require_trackers(config: TrainingConfig) -> None:
    """Refuse to begin a run that asks for a tracker that is not installed.

    Raises:
        UsageError: names the package and how to install it.
    """
    for name, module in _MODULES.items():
        if getattr(config, name):
            try:
                importlib.import_module(module)
            except ImportError as error:
                raise UsageError(
                    f"--training.{name} needs the package {name} ({error}); install it with `pip install "
                    "'.[track]'` in the clone or leave the option out"
                ) from error


@contextlib.contextmanager
def tracking(config: TrainingConfig, run: Path, journal: Iterable[JournalEntry]) -> Iterator[tuple[Tracker, ...]]:
    """The trackers a run asks for, up to date with its journal; closed when the block ends, however it ends.

    Args:
        config: which.
        run: the run folder.
        journal: what was written so far.
    """
    with contextlib.ExitStack() as open_ones:
        trackers = []
        for name, kind in _TRACKERS.items():
            if getattr(config, name):
                tracker = kind(run)
                open_ones.callback(tracker.close)
                trackers.append(tracker)
        for entry in journal:
            for tracker in trackers:
                tracker.tell(entry)
        yield tuple(trackers)
