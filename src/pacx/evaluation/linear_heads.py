"""Many linear probes as one batched problem: one weight tensor (H, D, L), one optimiser, one pass.

A head is one probe: its own training subset, initialisation and sample order. Seeds and label fractions are all just
heads. They share nothing but the arithmetic, so a head trained among others equals the same head trained alone.

Heads that take the same number of steps per epoch move together; shorter batches are padded and masked. Refuses empty
subsets, damaged features, and validation data on which no label can be scored.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from pacx.core.errors import DataError, ModelError
from pacx.core.progress import progress
from pacx.core.randomness import generator, order
from pacx.evaluation.metrics import auroc_points


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """How linear probes are trained.

    Args:
        learning_rate: Adam's peak rate; follows a cosine to 0, per step.
        epochs: passes over the training subset.
        batch_size: samples per step; a smaller subset is one whole batch.
        standardize: shift and scale every feature by mean and standard deviation of the head's own training subset.
            Off: the paper puts the linear layer straight on the frozen embedding, which the encoder's last LayerNorm
            has already brought to unit scale. Switch it on to compare encoders whose embeddings differ in scale.
        num_seeds: probes per training set, differing in initialisation, order and (low data) subset.
        seed: the run's seed; everything random follows from it and a head's own seed.

    Source: paper appendix A.2.2 (Adam, 3e-3, cosine, 40 epochs, 512; one run). Five seeds are ours: with few labels one
    run says little.
    """

    learning_rate: float = 3e-3
    epochs: int = 40
    batch_size: int = 512
    standardize: bool = False
    num_seeds: int = 5
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class LabelledFeatures:
    """Cached embeddings with their labels.

    Args:
        features: float32 (N, D), finite.
        labels: (N, L) 1 / 0 / NaN = unknown.
        keys: uint64 (N,) one per sample, from ``core.randomness.sample_keys``.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.float32]
    keys: NDArray[np.uint64]

    def __post_init__(self) -> None:
        if not np.isfinite(self.features).all():
            bad = int((~np.isfinite(self.features)).any(axis=1).sum())
            raise ModelError(f"{bad} of {len(self.features)} embeddings hold NaN or infinity; embed the pack again")
        if not len(self.features) == len(self.labels) == len(self.keys):
            raise DataError(
                f"{len(self.features)} embeddings, {len(self.labels)} label rows and {len(self.keys)} keys; "
                "expected one of each per sample, so embeddings and labels come from different packs"
            )


@dataclass(frozen=True, kw_only=True)
class LinearHeads:
    """Trained probes at their best validation epoch; they act on raw features, standardisation is folded in.

    Args:
        weight: float32 (H, D, L).
        bias: float32 (H, L).
        validation_auroc: (H,) macro over the labels that the validation split can score.
        best_epoch: (H,) counted from 1.
        is_multiclass: one class per sample (softmax) or independent labels (sigmoid).
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    validation_auroc: NDArray[np.float64]
    best_epoch: NDArray[np.int64]
    is_multiclass: bool

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Features (N, D) to probabilities (H, N, L); in float64, where far scores do not become ties."""
        logits = torch.from_numpy((features @ self.weight + self.bias[:, None]).astype(np.float64))  # (H, N, L)
        return (logits.softmax(dim=-1) if self.is_multiclass else logits.sigmoid()).numpy()


def train_heads(
    training: LabelledFeatures,
    validation: LabelledFeatures,
    *,
    subsets: NDArray[np.bool_],
    head_seeds: NDArray[np.int64],
    is_multiclass: bool,
    config: ProbeConfig,
    device: torch.device | str = "cpu",
) -> LinearHeads:
    """Train H linear heads at once and keep each at its own best validation epoch.

    Args:
        training: features of the whole training split, N samples.
        validation: features the checkpoint of every head is chosen on (macro AUROC, the earliest of equals).
        subsets: (H, N) which training samples each head may see.
        head_seeds: (H,) with the config's seed it fixes a head's initialisation and order; heads of different
            fractions or encoders that share it start alike, so that their differences are paired.
        is_multiclass: cross-entropy over mutually exclusive classes instead of binary cross-entropy per label.
        config: see ``ProbeConfig``.
        device: where the arithmetic runs.

    Raises:
        DataError: a subset is empty, or no validation label has both classes.
    """
    sizes = subsets.sum(axis=1)
    if (sizes == 0).any():
        raise DataError(f"training subset of head {int(np.argmin(sizes))} is empty, expected at least one sample")
    num_steps = np.ceil(sizes / config.batch_size).astype(int)
    num_heads, dim, num_labels = len(subsets), training.features.shape[1], training.labels.shape[1]
    heads = LinearHeads(
        weight=np.empty((num_heads, dim, num_labels), np.float32),
        bias=np.empty((num_heads, num_labels), np.float32),
        validation_auroc=np.full(num_heads, -np.inf),
        best_epoch=np.zeros(num_heads, np.int64),
        is_multiclass=is_multiclass,
    )
    groups = [np.flatnonzero(num_steps == steps) for steps in np.unique(num_steps)]
    with progress("linear probe", len(groups) * config.epochs, "epochs") as shown:
        for members in groups:
            rows = [np.flatnonzero(subsets[head]) for head in members]
            group = _Group(training, rows, head_seeds[members], is_multiclass, config, torch.device(device))
            for epoch in range(config.epochs):
                group.train_epoch(epoch)
                _keep_best(heads, members, group, validation, epoch + 1)
                shown.advance()
    return heads


def _keep_best(
    heads: LinearHeads,
    members: NDArray[np.int64],
    group: "_Group",
    validation: LabelledFeatures,
    epoch: int,
) -> None:
    weight, bias = group.folded()
    score = _validation_auroc(weight, bias, validation, is_multiclass=heads.is_multiclass)  # (h,)
    is_better = score > heads.validation_auroc[members]
    kept = members[is_better]
    heads.weight[kept], heads.bias[kept] = weight[is_better], bias[is_better]
    heads.validation_auroc[kept], heads.best_epoch[kept] = score[is_better], epoch


def _validation_auroc(
    weight: NDArray[np.float32], bias: NDArray[np.float32], validation: LabelledFeatures, *, is_multiclass: bool
) -> NDArray[np.float64]:
    num_heads, dim, num_labels = weight.shape
    flat = weight.transpose(1, 0, 2).reshape(dim, num_heads * num_labels)
    scores = validation.features @ flat + bias.reshape(-1)  # (N, H * L)
    if is_multiclass:
        # the logarithm of the probability ranks like the probability and does not saturate
        split = torch.from_numpy(scores.reshape(-1, num_heads, num_labels))
        scores = split.log_softmax(dim=-1).numpy().reshape(len(scores), -1)
    values = auroc_points(scores, np.tile(validation.labels, (1, num_heads))).reshape(num_heads, num_labels)
    if np.isnan(values).all():
        raise DataError(
            "no label of the validation split has both a positive and a negative, so no checkpoint can be chosen by "
            "AUROC; check the pack's split column and labels"
        )
    return np.nanmean(values, axis=1)


class _Group:
    """Heads with equally many steps per epoch, trained in lockstep."""

    def __init__(
        self,
        training: LabelledFeatures,
        rows: list[NDArray[np.int64]],
        head_seeds: NDArray[np.int64],
        is_multiclass: bool,
        config: ProbeConfig,
        device: torch.device,
    ) -> None:
        self._rows, self._head_seeds, self._keys = rows, head_seeds, training.keys
        self._is_multiclass, self._config, self._device = is_multiclass, config, device
        self._features = torch.from_numpy(training.features).to(device)
        self._labels = torch.from_numpy(training.labels.astype(np.float32)).to(device)
        mean, scale = _standardization(training.features, rows, use=config.standardize)
        self._mean, self._scale = torch.from_numpy(mean).to(device), torch.from_numpy(scale).to(device)  # (h, D)
        dim, num_labels = training.features.shape[1], training.labels.shape[1]
        # nn.Linear's default: uniform within 1 / sqrt(D), weights and bias
        draws = [
            generator(config.seed, "probe-init", int(seed)).uniform(-1, 1, (dim + 1, num_labels)) / math.sqrt(dim)
            for seed in head_seeds
        ]
        start = torch.from_numpy(np.stack(draws).astype(np.float32)).to(device)  # (h, D + 1, L)
        self._weight = start[:, :-1].clone().requires_grad_()
        self._bias = start[:, -1:].clone().requires_grad_()  # (h, 1, L)
        self._optimizer = torch.optim.Adam([self._weight, self._bias], lr=config.learning_rate)
        self._num_steps = math.ceil(max(map(len, rows)) / config.batch_size)
        self._step = 0

    def train_epoch(self, epoch: int) -> None:
        """One pass of every head over its own subset, in its own order."""
        batch_size, total = self._config.batch_size, self._config.epochs * self._num_steps
        positions = np.full((len(self._rows), self._num_steps * batch_size), -1)
        for head, rows in enumerate(self._rows):
            stream = f"probe-order/{int(self._head_seeds[head])}"
            positions[head, : len(rows)] = rows[order(self._config.seed, stream, epoch, self._keys[rows])]
        for begin in range(0, positions.shape[1], batch_size):
            chosen = positions[:, begin : begin + batch_size]
            width = int((chosen >= 0).sum(axis=1).max())
            self._optimizer.param_groups[0]["lr"] = (
                self._config.learning_rate * 0.5 * (1 + math.cos(math.pi * self._step / total))
            )
            self._optimizer.zero_grad(set_to_none=True)
            self._loss(torch.from_numpy(chosen[:, :width]).to(self._device)).backward()
            self._optimizer.step()
            self._step += 1

    def _loss(self, positions: Tensor) -> Tensor:
        """Sum over heads of the mean loss over the known labels of a head's batch; positions (h, B), -1 = padding."""
        is_sample = positions >= 0
        index = positions.clamp(min=0)
        features = self._features[index]  # (h, B, D)
        if self._config.standardize:
            features = (features - self._mean[:, None]) / self._scale[:, None]
        logits = torch.baddbmm(self._bias, features, self._weight)  # (h, B, L)
        labels = self._labels[index]
        if self._is_multiclass:
            known = is_sample & ~labels.isnan().any(dim=-1)  # (h, B)
            classes = labels.nan_to_num().argmax(dim=-1)
            losses = F.cross_entropy(logits.flatten(0, 1), classes.flatten(), reduction="none").view_as(known)
        else:
            known = is_sample[..., None] & ~labels.isnan()  # (h, B, L)
            losses = F.binary_cross_entropy_with_logits(logits, labels.nan_to_num(), reduction="none")
        known_per_head = known.flatten(1).sum(dim=1).clamp(min=1)
        return ((losses * known).flatten(1).sum(dim=1) / known_per_head).sum()

    def folded(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weights (h, D, L) and bias (h, L) that act on raw features."""
        with torch.no_grad():
            weight = self._weight / self._scale[..., None]
            bias = self._bias[:, 0] - torch.einsum("hd,hdl->hl", self._mean, weight)
        return weight.cpu().numpy(), bias.cpu().numpy()


def _standardization(
    features: NDArray[np.float32], rows: list[NDArray[np.int64]], *, use: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and scale (h, D) of every head's subset; 0 and 1 when not used, scale 1 where a feature is constant."""
    shape = (len(rows), features.shape[1])
    if not use:
        return np.zeros(shape, np.float32), np.ones(shape, np.float32)
    mean = np.stack([features[chosen].mean(axis=0, dtype=np.float64) for chosen in rows])
    scale = np.stack([features[chosen].std(axis=0, dtype=np.float64) for chosen in rows])
    return mean.astype(np.float32), np.where(scale > 0, scale, 1.0).astype(np.float32)
