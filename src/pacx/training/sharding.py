"""Weights, gradients and moments in pieces, one for each process (FSDP): for models that fill a device.

`module -> cut -> loop -> whole -> checkpoint, validation, release`. A piece is one of torch's DTensors. ``whole`` and
``piece_like`` leave plain tensors as they are, so that their callers need not know which they have; every process has
to take part in ``whole``. Files, and whatever looks at the model from outside of a training step, know whole tensors
only.
"""

import contextlib
import copy
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from lightning_fabric.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from pacx.training.task import StageTask


def sharding_strategy(units: Sequence[nn.Module], num_processes: int) -> ModelParallelStrategy:
    """The strategy with which Fabric cuts a module into as many pieces as there are processes.

    Args:
        units: parts of the module that are gathered one at a time, in forward and in backward; what is in none of them
            stays whole from the beginning of a step to its end.
        num_processes: on all nodes together.
    """
    return ModelParallelStrategy(partial(_cut, units), data_parallel_size=num_processes, tensor_parallel_size=1)


def _cut(units: Sequence[nn.Module], module: nn.Module, mesh: DeviceMesh) -> nn.Module:
    for unit in (*units, module):
        fully_shard(unit, mesh=mesh["data_parallel"])
    return module


def whole(tensor: Tensor) -> Tensor:
    """The tensor gathered from all processes, detached; a plain one as it is."""
    tensor = tensor.detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def piece_like(tensor: Tensor, like: Tensor) -> Tensor:
    """Of a whole tensor that every process has, the piece of it that ``like`` is of its own; nothing is sent.

    What has another shape than ``like``, such as an optimiser's count of steps, is never in pieces.
    """
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


class WholeModule:
    """The module of a task for what is no training step: itself, or a copy filled from the pieces when it is wanted.

    Args:
        task: its module is not cut yet.
        is_sharded: it will be; the copy waits in host memory.
    """

    def __init__(self, task: StageTask, *, is_sharded: bool) -> None:
        self._task = task
        self._copy = copy.deepcopy(task.module) if is_sharded else None

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the task have the whole module for the length of the block; every process has to enter it."""
        if self._copy is None:
            yield
            return
        cut = self._task.module
        pieces, copied = cut.state_dict(), self._copy.to(self._task.device)
        with torch.no_grad():
            for name, tensor in copied.state_dict().items():
                tensor.copy_(whole(pieces[name]))
        self._task.module = copied
        try:
            yield
        finally:
            self._task.module = cut
            self._copy.to("cpu")
