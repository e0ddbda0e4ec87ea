"""What a stage of the method has to say so that the one loop can train it.

`tasks/* implement StageTask -> loop`. A task owns its data, its module and its loss; it never steps an optimiser,
writes a checkpoint or draws from a global generator.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pacx.core.errors import UsageError
from pacx.core.randomness import order
from pacx.training.config import TrainingConfig
from pacx.training.task_config import Selection

B = TypeVar("B")


class StepLoss(NamedTuple):
    """What one batch gives: the scalar to minimise, and scalars to write down (detached, on the device)."""

    loss: Tensor
    metrics: dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class ParameterGroup:
    """Parameters that share a weight decay."""

    parameters: tuple[nn.Parameter, ...]
    weight_decay: float


class StageTask(ABC, Generic[B]):
    """One stage: data, module, loss, validation and what it releases.

    A task sets ``module`` (everything that trains, with whatever is frozen inside it) in its constructor, initialised
    under ``pacx.training.engine.seeded``.
    """

    name: str
    unit: str = "samples"
    is_mean_over_samples: bool = False
    """Whether a batch's loss is the mean of its samples' losses, so that a batch may be taken in parts."""
    module: nn.Module
    notes: tuple[str, ...] = ()
    """What a reader of the results has to know of how the data were read; recipes set it, the summary keeps it."""
    weights_released: Mapping[str, str] = MappingProxyType({})
    """What a model card has to say of the weights besides what the task knows; the loop sets it."""

    @property
    @abstractmethod
    def num_samples(self) -> int:
        """Training samples in one epoch."""

    @abstractmethod
    def batches(self, epoch: int, config: TrainingConfig, rank: int, world_size: int) -> Iterator[B]:
        """This rank's share of every global batch of ``epoch``: a pure function of the arguments and the seed."""

    @abstractmethod
    def sample_ids(self, batch: B) -> Sequence[str]:
        """Who is in the batch; asked for only when it has to be named in an error."""

    @abstractmethod
    def loss(self, batch: B, epoch: int) -> StepLoss:
        """Forward pass; random numbers are functions of (seed, epoch, sample key)."""

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Measure on held-out samples, without gradients; the loop has put the module into eval mode."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Everything besides ``TrainingConfig`` that decides the result, as JSON: task config, data fingerprint."""

    @abstractmethod
    def release(self, out: Path) -> None:
        """Write what later stages and users load into the folder ``out``, through ``pacx.core.artifacts``."""

    def prepare(self) -> None:
        """Measure what the training needs to know of its data: once, on the device, before the first step of a run.

        A resumed run is not prepared again: what is found out belongs into the module's buffers, which checkpoints
        carry. Of several processes each prepares itself, alike.
        """

    def compile(self) -> None:
        """Let torch.compile fuse the loss.

        Raises:
            UsageError: this stage does not support it.
        """
        raise UsageError(f"{self.name}: this stage cannot be compiled; leave --training.compile out")

    def shards(self) -> Sequence[nn.Module]:
        """Parts of the module that may be in pieces on several devices and are gathered one at a time, such as blocks.

        Raises:
            UsageError: this stage does not support it.
        """
        raise UsageError(f"{self.name}: this stage cannot be sharded; leave out --training.strategy, which is then DDP")

    def advice(self, values: Mapping[str, float]) -> str:
        """What a person has to be told of a validation that went wrong, and what to do; "" where nothing has.

        Args:
            values: what ``validate`` gave.
        """
        return ""

    def illustrate(self, out: Path) -> None:
        """Draw what a validation looks like into the folder ``out``, for people; by default nothing."""

    @property
    def flops_per_sample(self) -> float | None:
        """Arithmetic of a training step, forward and backward, where the stage knows it."""
        return None

    @property
    def selection(self) -> Selection | None:
        """How the released weights are chosen among the epochs; None means the last epoch's."""
        return None

    def parameter_groups(self, weight_decay: float) -> list[ParameterGroup]:
        """What trains, and how strongly each part decays; by default all alike."""
        trained = tuple(parameter for parameter in self.module.parameters() if parameter.requires_grad)
        return [ParameterGroup(parameters=trained, weight_decay=weight_decay)]

    @property
    def device(self) -> torch.device:
        """Where the module is now."""
        return next(self.module.parameters()).device

    def num_batches(self, config: TrainingConfig) -> int:
        """Optimiser steps an epoch: whole batches only, except that a set smaller than a batch is one batch.

        Raises:
            UsageError: there is nothing to train on.
        """
        if self.num_samples < 1:
            raise UsageError(f"{self.name}: no training samples; check the split of the pack")
        return max(1, self.num_samples // config.batch_size)


def decay_matrices_only(module: nn.Module, weight_decay: float) -> list[ParameterGroup]:
    """Weight decay on weight matrices; none on biases, norms, scalars, tokens and positions.

    Source: He et al. 2022 (MAE); the released code of the paper skips one-dimensional parameters.
    """
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            is_matrix = parameter.ndim > 1 and not name.endswith(("token", "pos_embed"))
            (decayed if is_matrix else spared).append(parameter)
    groups = [
        ParameterGroup(parameters=tuple(decayed), weight_decay=weight_decay),
        ParameterGroup(parameters=tuple(spared), weight_decay=0.0),
    ]
    return [group for group in groups if group.parameters]


def shuffled_rows(
    keys: NDArray[np.uint64], config: TrainingConfig, epoch: int, rank: int, world_size: int
) -> Iterator[NDArray[np.int64]]:
    """Positions 0..N-1 in this epoch's order, cut into whole global batches, this rank's slice of each.

    For stages whose samples lie in memory as arrays; stages that read a pack use ``pacx.data.batches``.
    """
    shuffled = order(config.seed, "order", epoch, keys)
    for start in range(0, max(1, len(keys) // config.batch_size) * config.batch_size, config.batch_size):
        whole = shuffled[start : start + config.batch_size]
        yield np.array_split(whole, world_size)[rank]


class RowsTask(StageTask[NDArray[np.int64]]):
    """A stage whose samples all lie in memory: a batch is their row numbers."""

    ids: Sequence[str]
    keys: NDArray[np.uint64]
    train_rows: NDArray[np.int64]

    @property
    def num_samples(self) -> int:
        """Samples in one epoch."""
        return len(self.train_rows)

    def batches(self, epoch: int, config: TrainingConfig, rank: int, world_size: int) -> Iterator[NDArray[np.int64]]:
        """Rows of this rank's samples."""
        for positions in shuffled_rows(self.keys[self.train_rows], config, epoch, rank, world_size):
            yield self.train_rows[positions]

    def sample_ids(self, batch: NDArray[np.int64]) -> Sequence[str]:
        """Ids of a batch's samples, in its order, for messages that name what went wrong."""
        return [self.ids[row] for row in batch]


def array_sha256(*arrays: NDArray[Any]) -> str:
    """A fingerprint of arrays' types, shapes and contents, for ``describe``."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
