"""Devices, precision and processes: everything Lightning Fabric does for us, and private seeding of torch.

`TrainingConfig -> Fabric -> loop`. Under torchrun or SLURM, Fabric takes rank and world size from the environment.
Refuses to touch a global random generator: what torch must draw itself, it draws inside ``seeded``.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from torch import nn
from torch.optim import AdamW

from pacx.core.errors import UsageError
from pacx.core.randomness import seed_of
from pacx.models.initialization import seeded_rng
from pacx.training.config import Strategy, TrainingConfig
from pacx.training.sharding import sharding_strategy
from pacx.training.task import StageTask, StepLoss


@contextlib.contextmanager
def seeded(seed: int, *labels: str | int, device: torch.device | None = None) -> Iterator[None]:
    """Let torch draw from its default generator, privately: seeded by (seed, labels), restored afterwards.

    For weight initialisation and for dropout, which take no generator; ``device`` is where the drawing happens.
    """
    with seeded_rng(seed_of(seed, *labels), device):
        yield


class LossModule(nn.Module):
    """The module Fabric wraps, so that the task's whole loss runs inside its precision and its gradient exchange."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, compute: Callable[[], StepLoss]) -> StepLoss:
        """Run the loss of one batch; the closure keeps Fabric from casting what is in the batch."""
        return compute()


def build_fabric(task: StageTask, config: TrainingConfig) -> Fabric:
    """Fabric for the configured accelerator, devices, strategy and precision, launched.

    Raises:
        UsageError: the accelerator is not on this machine, or has fewer devices; or the stage cannot be sharded.
    """
    units = task.shards() if config.strategy is Strategy.FSDP else ()
    try:
        fabric = Fabric(
            accelerator=config.accelerator,
            strategy=sharding_strategy(units, config.num_processes) if config.is_sharded else "auto",
            devices=config.devices,
            num_nodes=config.num_nodes,
            precision=config.precision,
        )
        fabric.launch()
    except (RuntimeError, ValueError) as error:
        raise UsageError(
            f"training: {config.devices} x accelerator '{config.accelerator}' with precision {config.precision} "
            f"cannot be had here ({error}); choose --training.accelerator cpu or another number of devices"
        ) from error
    return fabric


def is_first_process() -> bool:
    """Whether this process is the only one of a training, or the first of several: the one that goes on to write."""
    return not (dist.is_available() and dist.is_initialized()) or dist.get_rank() == 0


def set_up(fabric: Fabric, task: StageTask, config: TrainingConfig) -> tuple[Any, Any]:
    """The task's loss and its optimiser, as Fabric wraps them; the task's own module moves to the device.

    The optimiser comes second: where the module is sharded, its parameters are other ones afterwards.
    """
    module = fabric.setup_module(LossModule(task.module))
    return module, fabric.setup_optimizers(_build_optimizer(task, config, fabric.device))


def _build_optimizer(task: StageTask, config: TrainingConfig, device: torch.device) -> AdamW:
    """AdamW over the task's parameter groups, in one fused kernel where gradient scaling allows it."""
    groups = [
        {"params": list(group.parameters), "weight_decay": group.weight_decay}
        for group in task.parameter_groups(config.weight_decay)
    ]
    is_fused = device.type in {"cpu", "cuda"} and config.precision != "16-mixed"
    return AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=is_fused)
