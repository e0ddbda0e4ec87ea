"""Stage 1b: learn what measurements of a panel say about one another, by restoring values that were hidden.

`percentiles + observed mask -> restored percentiles -> panel encoder folder`. Labs are the paper's panel; vital signs
are another. Which values are hidden from whom in which epoch is a function of the seed, the epoch and the sample id.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pacx.core.errors import UsageError
from pacx.core.provenance import provenance
from pacx.core.randomness import sample_keys, uniform
from pacx.modalities.panel.encoder import PanelEncoder
from pacx.modalities.panel.panels import PanelPercentiles, PanelTable, PercentileScaler
from pacx.models.panel.autoencoder import PanelAutoencoder, corrupt, dae_loss
from pacx.objectives.objective import is_batch_shared
from pacx.training.task import RowsTask, StepLoss, array_sha256
from pacx.training.task_config import PanelTaskConfig


class PanelTask(RowsTask):
    """The denoising autoencoder over a panel's percentiles; the stage is named after the panel.

    Args:
        measured: raw values, NaN where not measured; or percentiles that somebody else made from training patients.
        train_rows: patients to learn from; the percentiles are theirs.
        val_rows: patients to measure on, at least one; none of them in ``train_rows``.
        config: what is hidden.
        seed: of weights and of what is hidden; recipes pass the training seed.

    Raises:
        UsageError: the rows overlap or there is nobody to measure on.
        DataError: a patient has no value that can be ranked among the training patients'.

    Source: paper appendix A.1.1 and Eq. 2.
    """

    unit = "samples"

    def __init__(
        self,
        measured: PanelTable | PanelPercentiles,
        train_rows: NDArray[np.int64],
        val_rows: NDArray[np.int64],
        config: PanelTaskConfig,
        seed: int,
    ) -> None:
        self.name = measured.panel.name
        patients = [{measured.patient_ids[row] for row in rows} for rows in (train_rows, val_rows)]
        if len(val_rows) == 0 or patients[0] & patients[1]:
            raise UsageError(f"{self.name}: validation needs at least one patient, and none that is trained on")
        self.panel, self.ids, self.train_rows, self.val_rows = measured.panel, measured.sample_ids, train_rows, val_rows
        self.config, self.seed = config, seed
        self.keys = sample_keys(measured.sample_ids)
        self.scaler: PercentileScaler | None = None
        if isinstance(measured, PanelTable):
            self.scaler = PercentileScaler(measured.select(train_rows))
            measured = self.scaler.transform(measured)
        self._percentiles, self._observed = measured.percentiles, measured.observed  # (N, Q) each
        self.module: PanelAutoencoder = PanelAutoencoder(
            measured.panel, hidden_dim=config.hidden_dim, embedding_dim=config.embedding_dim, seed=seed
        )

    def loss(self, batch: NDArray[np.int64], epoch: int) -> StepLoss:
        """Error over everything measured, after hiding some of it from the encoder."""
        percentiles, observed = self._measured(batch)
        restored = self.module(*self._corrupted(percentiles, observed, "drop", epoch, batch))
        return StepLoss(dae_loss(restored, percentiles, observed, is_shared=is_batch_shared(self.module)), {})

    def validate(self) -> dict[str, float]:
        """Errors on held-out patients, what is hidden from each being fixed.

        Returns:
            Mean squared errors in squared percentiles: ``denoising_mse`` (the loss), ``reconstruction_mse`` (nothing
            hidden), ``imputation_mse`` on hidden values only, beside ``mean_imputation_mse`` of guessing each
            quantity's training mean; NaN where nothing was hidden. ``latent_std``: the embedding's standard deviation
            over samples, mean over dimensions; 0 = collapsed.
        """
        percentiles, observed = self._measured(self.val_rows)
        values, shown = self._corrupted(percentiles, observed, "validation-drop", 0, self.val_rows)
        is_hidden, ours, mean = self.hidden_errors()
        latent = self.module.encode(percentiles, observed).float()  # (V, D)
        return {
            "denoising_mse": dae_loss(self.module(values, shown).float(), percentiles, observed).item(),
            "reconstruction_mse": dae_loss(self.module(percentiles, observed).float(), percentiles, observed).item(),
            "imputation_mse": float(ours[is_hidden].mean()) if is_hidden.any() else float("nan"),
            "mean_imputation_mse": float(mean[is_hidden].mean()) if is_hidden.any() else float("nan"),
            "latent_std": latent.std(0, correction=0).mean().item(),
        }

    def hidden_errors(self) -> tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32]]:
        """Held-out samples value by value: which are hidden, and the squared errors of restoring and of the mean.

        Returns:
            Three arrays (V, Q); the mean is the training samples' mean percentile of each quantity.
        """
        percentiles, observed = self._measured(self.val_rows)
        values, shown = self._corrupted(percentiles, observed, "validation-drop", 0, self.val_rows)
        # as ``corrupt`` hides them; a value never measured has no error
        is_hidden = (self._noise("validation-drop", 0, self.val_rows) < self.config.drop_fraction) & (observed > 0)
        train, measured = self._percentiles[self.train_rows], self._observed[self.train_rows]
        means = torch.from_numpy((train * measured).sum(0) / np.maximum(measured.sum(0), 1)).to(self.device)  # (Q,)
        errors = [(guess - percentiles).square() for guess in (self.module(values, shown).float(), means)]
        ours, mean = (error.cpu().numpy() for error in errors)
        return is_hidden.cpu().numpy(), ours, mean

    def describe(self) -> dict[str, Any]:
        """Task configuration, and whose measurements."""
        return {
            "config": self.config,
            "seed": self.seed,
            "measured": array_sha256(self.keys, self._percentiles, self._observed, self.train_rows, self.val_rows),
            "num_train_samples": len(self.train_rows),
            "num_val_samples": len(self.val_rows),
        }

    def release(self, out: Path) -> None:
        """Write the folder that ``PanelEncoder.load`` reads, named after the panel (``labs/``)."""
        origin = provenance(f"train {self.name}", self.seed).to_json()
        PanelEncoder(self.module, self.scaler).save(out / self.name, provenance=origin)

    def _measured(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Percentiles and observed mask of some rows, (B, Q) each."""
        percentiles, observed = (torch.from_numpy(array[rows]) for array in (self._percentiles, self._observed))
        return percentiles.to(self.device), observed.to(self.device)

    def _noise(self, stream: str, epoch: int, rows: NDArray[np.int64]) -> Tensor:
        noise = uniform(self.seed, stream, epoch, self.keys[rows], len(self.panel))  # (B, Q)
        return torch.from_numpy(noise.astype(np.float32)).to(self.device)

    def _corrupted(
        self, percentiles: Tensor, observed: Tensor, stream: str, epoch: int, rows: NDArray[np.int64]
    ) -> tuple[Tensor, Tensor]:
        config = self.config
        noise = self._noise(stream, epoch, rows)
        return corrupt(percentiles, observed, noise, drop_fraction=config.drop_fraction, corruption=config.corruption)
