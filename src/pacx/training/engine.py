"""Devices, precision and processes: everything Lightning Fabric does for us, and private seeding of torch.

`TrainingConfig -> Fabric -> loop`. Under torchrun or srun, Fabric takes rank and world size from the environment.
Refuses to touch a global random generator: what torch must draw itself, it draws inside ``seeded``.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from torch import nn

from pacx.core.errors import UsageError
from pacx.core.randomness import seed_of
from pacx.models.initialization import seeded_rng
from pacx.training.config import Strategy, TrainingConfig
from pacx.training.sharding import sharding_strategy
from pacx.training.stepping.optimizers import build_optimizer
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
            plugins=_alone(config.num_processes),
        )
        fabric.launch()
    except (RuntimeError, ValueError) as error:
        raise UsageError(
            f"training: {config.devices} x accelerator '{config.accelerator}' with precision {config.precision} "
            f"cannot be had here ({error}); choose --training.accelerator cpu or another number of devices"
        ) from error
    return fabric


_LAUNCHERS = {
    "torchrun": ("TORCHELASTIC_RUN_ID", ("WORLD_SIZE",)),
    "srun": ("SLURM_STEP_ID", ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")),
    "jsrun": ("JSM_NAMESPACE_RANK", ("JSM_NAMESPACE_SIZE",)),
    "mpirun": ("OMPI_COMM_WORLD_RANK", ("OMPI_COMM_WORLD_SIZE",)),
}
"""What each sets that nothing else does, and where it says how many processes it started."""


def _alone(num_processes: int) -> LightningEnvironment | None:
    """What a training of one process is told of the cluster: nothing, so that it waits for nobody.

    Inside a SLURM allocation Fabric takes SLURM_NTASKS, a wish of the whole job, for processes that run. They do where
    srun started them, which alone makes a step; a batch script and a shell have the variables too.

    Raises:
        UsageError: as many processes as are wanted were not started.
    """
    launcher = next((name for name, (mark, _) in _LAUNCHERS.items() if mark in os.environ), "")
    if num_processes > 1:
        wished = os.environ.get("SLURM_NTASKS")
        if not launcher and wished and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
            raise UsageError(
                f"training: {num_processes} processes are wanted in a SLURM job (SLURM_NTASKS={wished}), where only "
                "srun starts them; write srun before pacx, or train in one process: 'srun --ntasks=1' and "
                "--training.devices 1"
            )
        return None
    if launcher:
        count = next((name for name in _LAUNCHERS[launcher][1] if name in os.environ), "")
        if count and int(os.environ[count]) > 1:
            raise UsageError(
                f"training: {launcher} started {os.environ[count]} processes ({count}) where one is wanted, and each "
                f"would write the same run; start one, as 'srun --ntasks=1' does (SLURM_NTASKS), or give "
                f"--training.devices {os.environ[count]}"
            )
    return LightningEnvironment()


def is_first_process() -> bool:
    """Whether this process is the only one of a training, or the first of several: the one that goes on to write."""
    return not (dist.is_available() and dist.is_initialized()) or dist.get_rank() == 0


def set_up(fabric: Fabric, task: StageTask, config: TrainingConfig) -> tuple[Any, Any]:
    """The task's loss and its optimiser, as Fabric wraps them; the task's own module moves to the device.

    The optimiser comes second: where the module is sharded, its parameters are other ones afterwards.
    """
    module = fabric.setup_module(LossModule(task.module))
    groups = task.parameter_groups(config.weight_decay)
    return module, fabric.setup_optimizers(build_optimizer(groups, config, fabric.device))
