"""An ECG encoder of one's own: a masked autoencoder, for those who cannot use ECGFounder's weights.

`prepared recordings -> patches of time x leads -> masked error -> ECG encoder folder`. Masks are a function of the
seed, the epoch and the recording's id. It refuses recordings that were not prepared as the model's input contract says.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pacx.core.errors import UsageError
from pacx.core.provenance import provenance
from pacx.core.randomness import sample_keys, uniform
from pacx.models.ecg.mae import EcgMaskedAutoencoder, save_ecg_mae
from pacx.training.task import ParameterGroup, RowsTask, StepLoss, array_sha256, decay_matrices_only
from pacx.training.task_config import EcgTaskConfig

_VALIDATION_BATCH = 64


class EcgSignals(Protocol):
    """Prepared recordings (N, leads, T) of which a few rows at a time are asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, leads, T)."""

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[np.float32]:
        """Some of them, (n, leads, T)."""


class EcgTask(RowsTask):
    """Masked autoencoding of ECG recordings.

    Args:
        sample_ids: N unique ids.
        signals: float32 (N, leads, T), prepared with ``config.model.preprocessing``, no NaN: an array, or a pack's.
        train_rows: recordings to learn from.
        val_rows: recordings to measure on, at least one; none of them in ``train_rows``.
        config: the model.
        seed: of weights and masks; recipes pass the training seed.
        content: what tells the recordings from others under the same ids, such as a pack's fingerprint.

    Raises:
        UsageError: the signals are not what the model takes, or the rows overlap.
    """

    name = "ecg"
    unit = "recordings"

    def __init__(
        self,
        sample_ids: Sequence[str],
        signals: EcgSignals,
        train_rows: NDArray[np.int64],
        val_rows: NDArray[np.int64],
        config: EcgTaskConfig,
        seed: int,
        content: str,
    ) -> None:
        expected = (len(sample_ids), config.model.num_leads, config.model.preprocessing.num_samples)
        if signals.shape != expected:
            raise UsageError(
                f"ecg: signals have shape {signals.shape}, expected {expected} (recordings, leads, samples); "
                "prepare the recordings with the model's own input contract"
            )
        if len(val_rows) == 0 or np.intersect1d(train_rows, val_rows).size:
            raise UsageError("ecg: validation needs at least one recording, and none that is trained on")
        self.ids, self.keys, self.signals = list(sample_ids), sample_keys(sample_ids), signals
        self.train_rows, self.val_rows = train_rows, val_rows
        self.config, self.seed, self.content = config, seed, content
        self.module: EcgMaskedAutoencoder = EcgMaskedAutoencoder(config.model, seed=seed)

    def loss(self, batch: NDArray[np.int64], epoch: int) -> StepLoss:
        """Mean squared error on the hidden patches."""
        return StepLoss(self.module(self._input(batch), self._mask_noise("mask", epoch, batch)).loss, {})

    def validate(self) -> dict[str, float]:
        """Masked error on held-out recordings, and that of the training recordings' mean recording, same masks."""
        sums = np.zeros(2)
        for start in range(0, len(self.val_rows), _VALIDATION_BATCH):
            rows = self.val_rows[start : start + _VALIDATION_BATCH]
            signals = self._input(rows)
            output = self.module(signals, self._mask_noise("validation-mask", 0, rows))
            target = self.module.patchify(signals)  # (B, L, P)
            for i, prediction in enumerate((output.prediction, self._mean_patches.to(self.device))):
                per_patch = (prediction.float() - target).square().mean(-1)  # (B, L)
                # mean over each recording's hidden patches first, so that every recording counts once
                sums[i] += ((per_patch * output.mask).sum(1) / output.mask.sum(1)).sum().item()
        masked, mean_recording = sums / len(self.val_rows)
        return {"masked_mse": masked, "mean_recording_mse": mean_recording}

    def parameter_groups(self, weight_decay: float) -> list[ParameterGroup]:
        """No decay on biases, norms and tokens."""
        return decay_matrices_only(self.module, weight_decay)

    def describe(self) -> dict[str, Any]:
        """Task configuration, and which recordings."""
        return {
            "config": self.config,
            "seed": self.seed,
            "recordings": array_sha256(self.keys, self.train_rows, self.val_rows),
            "content": self.content,
        }

    def release(self, out: Path) -> None:
        """Write ``ecg/``, the encoder folder that ``pacx.models.ecg.mae.load_ecg_mae`` reads."""
        starts = range(0, len(self.train_rows), _VALIDATION_BATCH)
        self.module.standardize(self._input(self.train_rows[start : start + _VALIDATION_BATCH]) for start in starts)
        save_ecg_mae(self.module, out / "ecg", provenance=provenance("train ecg", self.seed).to_json())

    def _input(self, rows: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(np.asarray(self.signals[rows], np.float32)).to(self.device, non_blocking=True)

    def _mask_noise(self, stream: str, epoch: int, rows: NDArray[np.int64]) -> Tensor:
        noise = uniform(self.seed, stream, epoch, self.keys[rows], self.config.model.num_patches)  # (B, L)
        return torch.from_numpy(noise.astype(np.float32)).to(self.device, non_blocking=True)

    @cached_property
    def _mean_patches(self) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for start in range(0, len(self.train_rows), _VALIDATION_BATCH):
            patches = self.module.patchify(self._input(self.train_rows[start : start + _VALIDATION_BATCH]))
            total = total + patches.sum(0, dtype=torch.float64).cpu()
        return (total / len(self.train_rows)).float()  # (L, P)
