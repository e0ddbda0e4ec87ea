"""Packs to batches: which films come together in a step, and fetching them.

The global order of an epoch is a pure function of the seed, the epoch and the sample ids. Every device computes the
same global batches and takes its own slice of each, so that a run on eight devices sees the batches of a run on one.
Worker processes only fetch pixels: nothing random happens in them, and no global generator is touched.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from pacx.core.errors import UsageError
from pacx.core.randomness import order
from pacx.core.workers import end_with_parent, signals_held
from pacx.data.packs.pack import Pack, rows_of


@dataclass(frozen=True)
class Batch:
    """One device's share of one step.

    Args:
        rows: int64 (B,), the films' rows in the pack.
        keys: uint64 (B,), what stateless randomness knows them by.
        images: uint8 (B, S, S) on the CPU.
    """

    rows: torch.Tensor
    keys: NDArray[np.uint64]
    images: torch.Tensor

    def __len__(self) -> int:
        return len(self.rows)


def epoch_batches(
    pack: Pack,
    rows: NDArray[np.int64],
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    shuffle: bool,
    drop_last: bool,
    num_workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[Batch]:
    """One epoch of a pack's films, as seen by one device.

    Args:
        pack: where the pixels come from.
        rows: int64 (N,), which films.
        batch_size: films per step on all devices together; a multiple of ``world_size``.
        seed: of the run.
        epoch: which order, if shuffled.
        shuffle: in the order of (seed, epoch); otherwise in the order of ``rows``.
        drop_last: leave out the last step if it is not full. Without it, the shares of an unfull step differ in size
            between devices and may be empty.
        num_workers: processes that fetch ahead; 0 fetches in this one. The batches are the same.
        rank: which device this is.
        world_size: how many there are.

    Raises:
        UsageError: the batch cannot be divided among the devices, or there are fewer films than one full batch.
    """
    steps = epoch_rows(
        pack.keys, rows, batch_size=batch_size, seed=seed, epoch=epoch, shuffle=shuffle, drop_last=drop_last,
        rank=rank, world_size=world_size,
    )  # fmt: skip
    return _fetched(pack, steps, num_workers)


def epoch_rows(
    keys: NDArray[np.uint64],
    rows: NDArray[np.int64],
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    shuffle: bool,
    drop_last: bool,
    rank: int = 0,
    world_size: int = 1,
) -> list[NDArray[np.int64]]:
    """The rows one device takes in each step of an epoch, without fetching them: what ``epoch_batches`` follows.

    For whoever keeps a whole pack in a device's memory. ``keys`` are the pack's, one per film; the other arguments are
    those of ``epoch_batches``. The devices' parts of a global batch lie side by side, in the order of their ranks.

    Raises:
        UsageError: as ``epoch_batches``.
    """
    if batch_size < 1 or batch_size % world_size:
        raise UsageError(f"a batch of {batch_size} cannot be divided among {world_size} devices; give a multiple of it")
    if drop_last and len(rows) < batch_size:
        raise UsageError(f"{len(rows)} films do not fill one batch of {batch_size}; give a smaller batch size")
    in_order = rows[order(seed, "order", epoch, keys[rows])] if shuffle else rows
    end = len(rows) - len(rows) % batch_size if drop_last else len(rows)
    steps = [in_order[start : min(start + batch_size, end)] for start in range(0, end, batch_size)]
    return [np.array_split(step, world_size)[rank] for step in steps]


def _fetched(pack: Pack, steps: list[NDArray[np.int64]], num_workers: int) -> Iterator[Batch]:
    loader = DataLoader(
        _Steps(pack, steps),
        batch_size=None,  # each item already is a batch
        shuffle=False,
        num_workers=num_workers,
        generator=torch.Generator(),  # otherwise the loader draws its workers' seeds from the global one
        worker_init_fn=_end_with_training if num_workers else None,
    )
    with signals_held():
        fetched = iter(loader)
    for rows, images in fetched:
        yield Batch(rows=rows, keys=pack.keys[rows.numpy()], images=images)


def _end_with_training(worker: int) -> None:
    """Torch's own watch over a killed trainer fails where a fork server stands between the two.

    And a signal to the whole job is for the trainer, which saves before it lets its workers go.
    """
    end_with_parent()


class _Steps(TorchDataset[tuple[torch.Tensor, torch.Tensor]]):
    """Item i is step i: rows and pixels."""

    def __init__(self, pack: Pack, steps: list[NDArray[np.int64]]) -> None:
        self._pack, self._steps = pack, steps

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        rows = self._steps[step]
        images = np.empty((len(rows), *self._pack.images.shape[1:]), np.uint8)
        by_place = np.argsort(rows)  # read the file forwards, so that the disk's read-ahead helps
        images[by_place] = rows_of(self._pack.images, rows[by_place])
        return torch.from_numpy(rows.copy()), torch.from_numpy(images)
