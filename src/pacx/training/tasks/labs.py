"""Stage 1b: learn what blood tests say about one another, by restoring values that were hidden.

`percentiles + observed mask -> restored percentiles -> lab encoder folder`. Which values are hidden from whom in which
epoch is a function of the seed, the epoch and the sample id. It refuses tables that are not 50 tests wide.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pacx.core.errors import UsageError
from pacx.core.provenance import provenance
from pacx.core.randomness import sample_keys, uniform
from pacx.core.vocabulary import NUM_LABS
from pacx.modalities.labs import LabTable, PercentileScaler
from pacx.models.labs_dae import (
    DROP_FRACTION,
    LabCorruption,
    LabsDenoisingAutoencoder,
    corrupt,
    dae_loss,
    save_labs_dae,
)
from pacx.training.config import TrainingConfig
from pacx.training.task import StageTask, StepLoss, array_sha256, shuffled_rows


@dataclass(frozen=True, kw_only=True)
class LabsTaskConfig:
    """What Stage 1b hides; the defaults are the released code's, where the paper is silent or differs.

    Args:
        drop_fraction: expected share of observed values hidden from the encoder, in [0, 1).
        corruption: whether a hidden value still looks observed.

    Source: paper appendix A.1.1; specs of the lab autoencoder, section 3.2.
    """

    drop_fraction: float = DROP_FRACTION
    corruption: LabCorruption = LabCorruption.VALUE_AND_MASK


class LabsTask(StageTask[NDArray[np.int64]]):
    """The denoising autoencoder over lab percentiles.

    Args:
        table: raw lab values; NaN where a test was not ordered.
        train_rows: patients to learn from; the percentiles are theirs.
        val_rows: patients to measure on, at least one; none of them in ``train_rows``.
        config: what is hidden.
        seed: of weights and of what is hidden; recipes pass the training seed.

    Raises:
        UsageError: the rows overlap or there is nobody to measure on.
        DataError: a patient has no value that can be ranked among the training patients'.

    Source: paper appendix A.1.1 and Eq. 2.
    """

    name = "labs"
    unit = "patients"

    def __init__(
        self,
        table: LabTable,
        train_rows: NDArray[np.int64],
        val_rows: NDArray[np.int64],
        config: LabsTaskConfig,
        seed: int,
    ) -> None:
        if len(val_rows) == 0 or np.intersect1d(train_rows, val_rows).size:
            raise UsageError("labs: validation needs at least one patient, and none that is trained on")
        self.table, self.train_rows, self.val_rows = table, train_rows, val_rows
        self.config, self.seed = config, seed
        self.keys = sample_keys(table.sample_ids)
        self.scaler = PercentileScaler().fit(table.select(train_rows))
        labs = self.scaler.transform(table)
        self._percentiles, self._observed = labs.percentiles, labs.observed  # (N, 50) each
        self.module: LabsDenoisingAutoencoder = LabsDenoisingAutoencoder(seed=seed)

    @property
    def num_samples(self) -> int:
        """Patients in one epoch."""
        return len(self.train_rows)

    def batches(self, epoch: int, config: TrainingConfig, rank: int, world_size: int) -> Iterator[NDArray[np.int64]]:
        """Rows of this rank's patients."""
        for positions in shuffled_rows(self.keys[self.train_rows], config, epoch, rank, world_size):
            yield self.train_rows[positions]

    def sample_ids(self, batch: NDArray[np.int64]) -> Sequence[str]:
        """The patients' sample ids."""
        return [self.table.sample_ids[row] for row in batch]

    def loss(self, batch: NDArray[np.int64], epoch: int) -> StepLoss:
        """Error over everything measured, after hiding some of it from the encoder."""
        percentiles, observed = self._labs(batch)
        restored = self.module(*self._corrupted(percentiles, observed, "drop", epoch, batch))
        return StepLoss(dae_loss(restored, percentiles, observed), {})

    def validate(self) -> dict[str, float]:
        """Errors on held-out patients, what is hidden from each being fixed.

        Returns:
            Mean squared errors in squared percentiles: ``denoising_mse`` (the loss), ``reconstruction_mse`` (nothing
            hidden), ``imputation_mse`` on hidden values only, beside ``mean_imputation_mse`` of guessing each test's
            training mean; NaN where nothing was hidden.
        """
        percentiles, observed = self._labs(self.val_rows)
        values, shown = self._corrupted(percentiles, observed, "validation-drop", 0, self.val_rows)
        restored = self.module(values, shown).float()
        is_hidden = (self._noise("validation-drop", 0, self.val_rows) < self.config.drop_fraction) & (observed > 0)
        train, measured = self._percentiles[self.train_rows], self._observed[self.train_rows]
        means = torch.from_numpy((train * measured).sum(0) / np.maximum(measured.sum(0), 1)).to(self.device)  # (50,)
        return {
            "denoising_mse": dae_loss(restored, percentiles, observed).item(),
            "reconstruction_mse": dae_loss(self.module(percentiles, observed).float(), percentiles, observed).item(),
            "imputation_mse": (restored - percentiles)[is_hidden].square().mean().item(),
            "mean_imputation_mse": (means - percentiles)[is_hidden].square().mean().item(),
        }

    def describe(self) -> dict[str, Any]:
        """Task configuration, and whose labs."""
        return {
            "config": self.config,
            "seed": self.seed,
            "labs": array_sha256(self.keys, self.table.values, self.train_rows, self.val_rows),
            "num_train_patients": len(self.train_rows),
            "num_val_patients": len(self.val_rows),
        }

    def release(self, out: Path) -> None:
        """Write ``labs/`` for ``load_labs_dae`` and ``labs-percentiles.npz`` for ``PercentileScaler.load``."""
        self.scaler.save(out / "labs-percentiles.npz")
        save_labs_dae(self.module, out / "labs", provenance=provenance("train labs", self.seed).to_json())

    def _labs(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Percentiles and observed mask of some rows, (B, 50) each."""
        percentiles, observed = (torch.from_numpy(array[rows]) for array in (self._percentiles, self._observed))
        return percentiles.to(self.device), observed.to(self.device)

    def _noise(self, stream: str, epoch: int, rows: NDArray[np.int64]) -> Tensor:
        noise = uniform(self.seed, stream, epoch, self.keys[rows], NUM_LABS)  # (B, 50)
        return torch.from_numpy(noise.astype(np.float32)).to(self.device)

    def _corrupted(
        self, percentiles: Tensor, observed: Tensor, stream: str, epoch: int, rows: NDArray[np.int64]
    ) -> tuple[Tensor, Tensor]:
        config = self.config
        noise = self._noise(stream, epoch, rows)
        return corrupt(percentiles, observed, noise, drop_fraction=config.drop_fraction, corruption=config.corruption)
