"""Running means of a step's scalars, kept on the device so that training does not wait for them.

`loop -> Meter -> journal`. A number crosses to the host only when it is written down.
"""

import time
from collections.abc import Mapping, Sequence

import torch
from lightning_fabric import Fabric
from torch import Tensor

from pacx.training.task import StepLoss


class Meter:
    """Means over steps and devices since the last ``take``.

    Args:
        fabric: for the mean over devices.
        batch_size: samples per step over all devices, for the rate.
        totals: of an interrupted session, to go on from.
        count: its steps.
    """

    def __init__(self, fabric: Fabric, batch_size: int, totals: Mapping[str, float], count: int) -> None:
        self._fabric, self._batch_size = fabric, batch_size
        self._sums = {name: torch.tensor(total, device=fabric.device) for name, total in totals.items()}
        self._count = count
        self._count_here = 0  # in this session, for the rate
        self._since = time.monotonic()

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Add one step's scalars, the same names in every step."""
        for name, value in values.items():
            addend = value.detach().float().reshape(())
            self._sums[name] = self._sums[name] + addend if name in self._sums else addend
        self._count += 1
        self._count_here += 1

    def take(self) -> dict[str, float]:
        """The means, and ``samples_per_s``; one wait for the device. Starts over."""
        rate = self._count_here * self._batch_size / (time.monotonic() - self._since)
        count = self._count
        values = {name: total / count for name, total in self.totals().items()} | {"samples_per_s": rate}
        self._sums, self._count, self._count_here = {}, 0, 0
        self._since = time.monotonic()
        return values

    def totals(self) -> dict[str, float]:
        """Sums since the last ``take``, as a mean over devices: what a checkpoint in between has to keep."""
        if not self._sums:
            return {}
        stacked = torch.stack([value.to(self._fabric.device) for value in self._sums.values()])
        reduced = self._fabric.all_reduce(stacked, reduce_op="mean")
        assert isinstance(reduced, Tensor)
        return dict(zip(self._sums, reduced.tolist(), strict=True))

    @property
    def count(self) -> int:
        """Steps since the last ``take``."""
        return self._count


def mean_outcome(parts: Sequence[StepLoss]) -> StepLoss:
    """One step's loss and metrics from those of its equally large parts."""
    if len(parts) == 1:
        return parts[0]
    metrics = {name: torch.stack([part.metrics[name] for part in parts]).mean() for name in parts[0].metrics}
    return StepLoss(torch.stack([part.loss for part in parts]).mean(), metrics)
