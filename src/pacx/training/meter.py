"""Running means of a step's scalars, kept on the device so that training does not wait for them.

`loop -> Meter -> journal`. A number crosses to the host only when it is written down.
"""

import time
from collections.abc import Mapping

import torch
from lightning_fabric import Fabric
from torch import Tensor


class Meter:
    """Means over steps and devices since the last ``take``.

    Args:
        fabric: for the mean over devices.
        batch_size: samples per step over all devices, for the rate.
    """

    def __init__(self, fabric: Fabric, batch_size: int) -> None:
        self._fabric, self._batch_size = fabric, batch_size
        self._reset()

    def _reset(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._count = 0
        self._since = time.monotonic()

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Add one step's scalars, the same names in every step."""
        for name, value in values.items():
            addend = value.detach().float().reshape(())
            self._sums[name] = self._sums[name] + addend if name in self._sums else addend
        self._count += 1

    def take(self) -> dict[str, float]:
        """The means, and ``samples_per_s``; one wait for the device. Starts over."""
        stacked = torch.stack([value.to(self._fabric.device) for value in self._sums.values()]) / self._count
        reduced = self._fabric.all_reduce(stacked, reduce_op="mean")
        assert isinstance(reduced, Tensor)
        rate = self._count * self._batch_size / (time.monotonic() - self._since)
        values = dict(zip(self._sums, reduced.tolist(), strict=True)) | {"samples_per_s": rate}
        self._reset()
        return values
