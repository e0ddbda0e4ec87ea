"""The films of one split, epoch by epoch, on the device that trains.

`pack -> FilmStream -> batches of a task`. On a GPU with room for them, the films are put there whole, once, and a batch
is a gather in its memory: nothing is read, copied or awaited in training. Elsewhere they come from the pack's memory
map. The batches are the same either way. It decides nothing about order or content: ``pacx.data.batches`` does.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pacx.data.batches import Batch, epoch_batches, epoch_rows
from pacx.data.packs.pack import Pack, rows_of
from pacx.training.config import TrainingConfig

_LARGEST_RESIDENT_FRACTION = 0.5
"""Of the GPU's free memory: the rest is for weights and activations."""


class FilmStream:
    """Some rows of a pack, as batches.

    Args:
        pack: the films.
        rows: int64 (N,), which of them.
    """

    def __init__(self, pack: Pack, rows: NDArray[np.int64]) -> None:
        self._pack, self._rows = pack, rows
        self._resident: Tensor | None = None

    def batches(
        self, epoch: int, config: TrainingConfig, rank: int, world_size: int, device: torch.device
    ) -> Iterator[Batch]:
        """This rank's share of every whole global batch; a split smaller than a batch is one batch."""
        is_whole = len(self._rows) >= config.batch_size
        if not self._is_resident(device):
            yield from epoch_batches(
                self._pack,
                self._rows,
                batch_size=config.batch_size,
                seed=config.seed,
                epoch=epoch,
                shuffle=True,
                drop_last=is_whole,
                num_workers=config.num_workers,
                rank=rank,
                world_size=world_size,
            )
            return
        places = np.arange(len(self._rows))
        steps = epoch_rows(
            self._pack.keys[self._rows],
            places,
            batch_size=config.batch_size,
            seed=config.seed,
            epoch=epoch,
            shuffle=True,
            drop_last=is_whole,
            rank=rank,
            world_size=world_size,
        )
        films = self._on(device)
        for step in steps:
            rows = self._rows[step]
            images = films[torch.from_numpy(step).to(device, non_blocking=True)]  # (B, S, S)
            yield Batch(rows=torch.from_numpy(rows), keys=self._pack.keys[rows], images=images)

    def _is_resident(self, device: torch.device) -> bool:
        if self._resident is not None:
            return True
        if device.type != "cuda":
            return False
        size_bytes = len(self._rows) * int(np.prod(self._pack.images.shape[1:]))
        free_bytes, _ = torch.cuda.mem_get_info(device)
        return size_bytes <= _LARGEST_RESIDENT_FRACTION * free_bytes

    def _on(self, device: torch.device) -> Tensor:
        """All films of the split on the device, uint8 (N, S, S); filled piece by piece the first time."""
        if self._resident is None:
            resident = torch.empty((len(self._rows), *self._pack.images.shape[1:]), dtype=torch.uint8, device=device)
            for start in range(0, len(self._rows), 4096):
                part = self._rows[start : start + 4096]
                resident[start : start + len(part)] = torch.from_numpy(rows_of(self._pack.images, part)).to(device)
            self._resident = resident
        return self._resident
