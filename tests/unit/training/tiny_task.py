"""A stage small enough to train in milliseconds: linear regression with noise on the inputs and dropout."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from pacx.core.artifacts import staged_file
from pacx.core.randomness import generator, sample_keys, uniform
from pacx.training.config import TrainingConfig
from pacx.training.engine import seeded
from pacx.training.task import Selection, StageTask, StepLoss, shuffled_rows

CONFIG = TrainingConfig(
    epochs=4, batch_size=8, learning_rate=0.01, warmup_steps=3, log_every_steps=2, accelerator="cpu", seed=3
)


@dataclass(frozen=True, kw_only=True)
class TinyTaskConfig:
    noise: float = 0.1


class TinyTask(StageTask[NDArray[np.int64]]):
    name = "tiny"

    def __init__(
        self,
        *,
        noise: float = 0.1,
        dropout: float = 0.1,
        num_samples: int = 37,
        poison: int | None = None,
        selection: Selection | None = None,
    ) -> None:
        rng = generator(0, "tiny")
        self.config = TinyTaskConfig(noise=noise)
        self.ids = [f"case-{i}" for i in range(num_samples)]
        self.keys = sample_keys(self.ids)
        self.x = torch.from_numpy(rng.normal(size=(num_samples, 5)).astype(np.float32))
        self.y = self.x @ torch.arange(5.0)[:, None]
        if poison is not None:
            self.x[poison, 0] = torch.nan
        with seeded(3, "init"):
            self.module = nn.Sequential(nn.Linear(5, 16), nn.LayerNorm(16), nn.Dropout(dropout), nn.Linear(16, 1))
        self._selection = selection
        self.validations = iter([3.0, 1.0, 2.0, 4.0])

    @property
    def num_samples(self) -> int:
        return len(self.ids)

    @property
    def selection(self) -> Selection | None:
        return self._selection

    def batches(self, epoch: int, config: TrainingConfig, rank: int, world_size: int) -> Iterator[NDArray[np.int64]]:
        return shuffled_rows(self.keys, config, epoch, rank, world_size)

    def sample_ids(self, batch: NDArray[np.int64]) -> Sequence[str]:
        return [self.ids[row] for row in batch]

    def loss(self, batch: NDArray[np.int64], epoch: int) -> StepLoss:
        noise = torch.from_numpy(uniform(3, "noise", epoch, self.keys[batch], 5)).float()
        prediction = self.module(self.x[batch] + self.config.noise * noise)
        loss = (prediction - self.y[batch]).square().mean()
        return StepLoss(loss, {"root": loss.detach().sqrt()})

    def validate(self) -> dict[str, float]:
        return {"mse": (self.module(self.x) - self.y).square().mean().item(), "scripted": next(self.validations, 9.0)}

    def describe(self) -> dict[str, Any]:
        return {"config": self.config, "data": f"tiny-{self.num_samples}"}

    def release(self, out: Path) -> None:
        with staged_file(out / "tiny.safetensors") as partial:
            save_file(self.module.state_dict(), partial)
