"""Checkpoints that are whole or not there, and that hold every bit a run needs to go on.

`loop -> checkpoints/step-XXXXXXXX/ -> loop`. One folder holds the module's and the optimiser's tensors (safetensors),
the moving average's where one is kept, and state.json: counters, configuration fingerprint, the hash of each file and
of itself. Tensors are whole, whatever pieces of them the processes hold, so that a run may go on in other pieces. The
newest two are kept, and the best one if the task selects by a metric. A damaged newest checkpoint is passed over for
the one before. Nothing but safetensors and JSON is ever read, so a checkpoint from elsewhere cannot run code.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from pacx.core.artifacts import discard_partials, read_json, sha256_of, staged_directory, write_json
from pacx.core.errors import DataError, TrainingError
from pacx.core.typed_json import TypedJson
from pacx.models.ema import MovingAverage
from pacx.training.sharding import piece_like, whole

_FORMAT = 1
_MODULE, _OPTIMIZER, _AVERAGE = "module.safetensors", "optimizer.safetensors", "average.safetensors"
_STATE = "state.json"
_NUM_KEPT = 2
_TUPLES = {"betas", "ns_coefficients"}


@dataclass(frozen=True, kw_only=True)
class RunState(TypedJson, what="run's state", nan_is_null=True):
    """Everything besides tensors that a run needs to go on; order, crops and masks are functions of the step.

    Args:
        epoch: epochs completed, validation included.
        step: optimiser steps completed; more than those of the completed epochs after an interruption within one.
        elapsed_s: training time so far, over all sessions of the run.
        best_step: step of the best validation so far, if the task selects by a metric.
        best_value: the metric there.
        precision: the gradient scaler's state in 16-mixed precision, else empty.
        totals: sums of the scalars not yet written to the journal, after an interruption; NaN and infinities are kept
            as NaN, as the journal keeps them.
        num_totalled: steps they are over.
    """

    epoch: int = 0
    step: int = 0
    elapsed_s: float = 0.0
    best_step: int | None = None
    best_value: float | None = None
    precision: dict[str, Any] = field(default_factory=dict)
    totals: dict[str, float] = field(default_factory=dict)
    num_totalled: int = 0


def flatten_optimizer(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimiser's ``state_dict`` as named tensors and JSON; ``unflatten_optimizer`` gives it back exactly."""
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {}
    for index, values in state["state"].items():
        for name, value in values.items():
            (tensors if isinstance(value, Tensor) else scalars)[f"{index}.{name}"] = value
    return tensors, {"scalars": scalars, "param_groups": state["param_groups"]}


def unflatten_optimizer(tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> dict[str, Any]:
    """The ``state_dict`` that ``flatten_optimizer`` took apart; lists that were tuples become tuples again."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in [*tensors.items(), *rest["scalars"].items()]:
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    groups = [
        {name: tuple(value) if name in _TUPLES else value for name, value in group.items()}
        for group in rest["param_groups"]
    ]
    return {"state": state, "param_groups": groups}


def _content_sha256(record: Mapping[str, Any]) -> str:
    content = {name: value for name, value in record.items() if name != "content_sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _pieces(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of whole tensors what this process holds; names that it does not know are left for the loader to refuse."""
    return {name: piece_like(tensor, own.get(name, tensor)) for name, tensor in tensors.items()}


class Checkpoints:
    """The checkpoints of one run, in the folder ``root``.

    Args:
        root: made when the first checkpoint is written.
        config_sha256: fingerprint of the run's configuration; a checkpoint with another one is refused.
        is_writer: whether this process writes: of several, the first does, and all have to call ``save``.
    """

    def __init__(self, root: Path, *, config_sha256: str, is_writer: bool = True) -> None:
        self.root = root
        self.config_sha256 = config_sha256
        self._is_writer = is_writer

    def folders(self) -> list[Path]:
        """All complete checkpoints, oldest first."""
        return sorted(self.root.glob("step-*"))

    def _folder(self, step: int) -> Path:
        return self.root / f"step-{step:08d}"

    def save(
        self, module: nn.Module, optimizer: Optimizer, state: RunState, average: MovingAverage | None = None
    ) -> Path:
        """Write a checkpoint, then remove those no longer needed.

        Raises:
            ArtifactError: it could not be written whole; earlier checkpoints are untouched.
        """
        tensors, rest = flatten_optimizer(optimizer.state_dict())
        files = {_MODULE: self._gathered(module.state_dict()), _OPTIMIZER: self._gathered(tensors)}
        if average is not None:
            files[_AVERAGE] = self._gathered(average.state_dict())
        folder = self._folder(state.step)
        if not self._is_writer:
            return folder
        with staged_directory(folder) as partial:
            for name, content in files.items():
                save_file(content, partial / name)
            record: dict[str, Any] = {
                "format": _FORMAT,
                "config_sha256": self.config_sha256,
                "files": {path.name: sha256_of(path) for path in sorted(partial.iterdir())},
                "optimizer": rest,
                "state": state.to_json(),
            }
            # through JSON once, so that the hash is over what a reader will see (tuples are lists there)
            record = json.loads(json.dumps(record))
            write_json(partial / _STATE, {**record, "content_sha256": _content_sha256(record)})
        for old in self.folders()[:-_NUM_KEPT]:
            if state.best_step is None or old != self._folder(state.best_step):
                shutil.rmtree(old)
        return folder

    def restore(self, module: nn.Module, optimizer: Optimizer, average: MovingAverage | None = None) -> RunState | None:
        """Load the newest undamaged checkpoint; None if the run has none yet.

        Raises:
            TrainingError: there are checkpoints but all are damaged, or they belong to another configuration or module.
        """
        folders = self.folders()
        reasons = []
        for folder in reversed(folders):
            try:
                record = self._verified(folder)
            except DataError as error:
                reasons.append(str(error))
                continue
            self._load_module(module, folder)
            parameters = [each for group in optimizer.param_groups for each in group["params"]]
            tensors = {
                key: piece_like(tensor, parameters[int(key.split(".", 1)[0])])
                for key, tensor in load_file(folder / _OPTIMIZER).items()
            }
            optimizer.load_state_dict(unflatten_optimizer(tensors, record["optimizer"]))
            self._load_average(average, folder)
            return RunState.from_json(record["state"])
        if reasons:
            raise TrainingError(
                f"{self.root}: none of {len(folders)} checkpoints is usable ({reasons[0]}); start a new run folder"
            )
        return None

    def load_best(self, module: nn.Module, step: int, average: MovingAverage | None = None) -> None:
        """Put the weights of the checkpoint at ``step`` into the module, and its averages into ``average``.

        Raises:
            TrainingError: that checkpoint is missing or damaged.
        """
        folder = self._folder(step)
        try:
            self._verified(folder)
        except DataError as error:
            raise TrainingError(f"the best checkpoint cannot be released: {error}") from error
        self._load_module(module, folder)
        self._load_average(average, folder)

    def _gathered(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole and on the CPU, one after the other; only the writer keeps them."""
        gathered = ((name, whole(tensor)) for name, tensor in tensors.items())
        return {name: tensor.to("cpu").contiguous() for name, tensor in gathered if self._is_writer}

    def _verified(self, folder: Path) -> dict[str, Any]:
        """The checkpoint's record, after every hash was checked; DataError if it is damaged."""
        record = read_json(folder / _STATE)
        if not isinstance(record, dict) or record.get("content_sha256") != _content_sha256(record):
            raise DataError(f"{folder / _STATE} does not match its own hash")
        if record["format"] != _FORMAT:
            raise TrainingError(f"{folder} has checkpoint format {record['format']}; this version reads {_FORMAT}")
        for name, expected in record["files"].items():
            path = folder / name
            if not path.is_file() or sha256_of(path) != expected:
                raise DataError(f"{path} is missing or does not match its hash")
        if record["config_sha256"] != self.config_sha256:
            raise TrainingError(
                f"{folder} was written under another configuration; resume with the run's own config.json"
            )
        return record

    def _load_module(self, module: nn.Module, folder: Path) -> None:
        try:
            module.load_state_dict(_pieces(load_file(folder / _MODULE), module.state_dict()))
        except RuntimeError as error:
            raise TrainingError(f"{folder / _MODULE} does not fit the module this task builds: {error}") from error

    def _load_average(self, average: MovingAverage | None, folder: Path) -> None:
        if average is not None:
            average.load_state_dict(_pieces(load_file(folder / _AVERAGE), average.state_dict()))

    def discard_after(self, step: int) -> None:
        """Remove checkpoints later than ``step`` (damaged, or they would have been restored) and half-written ones."""
        discard_partials(self.root)
        for path in self.root.glob("step-*"):
            if path.name > self._folder(step).name:
                shutil.rmtree(path, ignore_errors=True)
