"""Many linear probes as one batched problem: all heads and learning rates, one optimiser, one pass.

A head is one probe: its own training subset, initialisation and sample order. Seeds and label fractions are all just
heads. They share nothing but the arithmetic, so a head trained among others equals the same head trained alone. The
learning rates tried for a head share its batches; validation decides among them.

Heads that take the same number of steps per epoch move together. The gradient of a linear layer is written out, because
three thin matrix products per step are all there is to do. Refuses empty subsets, damaged features, and validation data
on which no label can be scored.
"""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pacx.core.errors import DataError, ModelError
from pacx.core.progress import progress
from pacx.core.randomness import generator, order, uniform
from pacx.evaluation.settings import ProbeConfig
from pacx.evaluation.statistics.metrics import auroc_points
from pacx.models.onednn import linear


@dataclass(frozen=True, kw_only=True)
class LabelledFeatures:
    """Cached embeddings with their labels.

    Args:
        features: float32 (N, D), finite.
        labels: (N, L) 1 / 0 / NaN = unknown.
        keys: uint64 (N,) one per sample, from ``core.randomness.sample_keys``.
        mirrored: float32 (N, D), embeddings of the films flipped left to right. Given, each sample is taken from them
            with probability 1/2, anew in every epoch; None = never.

    Raises:
        ModelError: an embedding is not finite.
        DataError: the arrays do not fit each other.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.float32]
    keys: NDArray[np.uint64]
    mirrored: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        for array in (self.features, self.mirrored):
            if array is not None and not np.isfinite(array).all():
                bad = int((~np.isfinite(array)).any(axis=1).sum())
                raise ModelError(f"{bad} of {len(array)} embeddings hold NaN or infinity; embed the pack again")
        if self.mirrored is not None and self.mirrored.shape != self.features.shape:
            raise DataError(
                f"mirrored embeddings {self.mirrored.shape}, expected one for each of {self.features.shape}"
            )
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
        best_epoch: (H,) counted from 1; 0 for a fit without epochs.
        learning_rate: (H,) the rate that validation chose; NaN for a fit without one.
        is_multiclass: one class per sample (softmax) or independent labels (sigmoid).
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    validation_auroc: NDArray[np.float64]
    best_epoch: NDArray[np.int64]
    learning_rate: NDArray[np.float64]
    is_multiclass: bool

    @classmethod
    def of_one_fit(
        cls, weight: NDArray[np.float64], bias: NDArray[np.float64], *, is_multiclass: bool
    ) -> "LinearHeads":
        """A single head (D, L) and (L,) that came of a fit without epochs and rates."""
        return cls(
            weight=weight[None].astype(np.float32),
            bias=bias[None].astype(np.float32),
            validation_auroc=np.array([np.nan]),
            best_epoch=np.zeros(1, np.int64),
            learning_rate=np.array([np.nan]),
            is_multiclass=is_multiclass,
        )

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
        validation: features the checkpoint of every head is chosen on (macro AUROC; of equals the earliest epoch, then
            the first rate).
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
        learning_rate=np.full(num_heads, np.nan),
        is_multiclass=is_multiclass,
    )
    groups = [np.flatnonzero(num_steps == steps) for steps in np.unique(num_steps)]
    with _one_thread(), progress("linear probe", len(groups) * config.epochs, "epochs") as shown:
        for members in groups:
            rows = [np.flatnonzero(subsets[head]) for head in members]
            group = _Group(training, rows, head_seeds[members], is_multiclass, config, torch.device(device))
            for epoch in range(config.epochs):
                group.train_epoch(epoch)
                _keep_best(heads, members, group, validation, epoch + 1)
                shown.advance()
    return heads


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch work in one thread: a step's products take 0.1 ms, and threads that share them wait for each other."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


def _keep_best(
    heads: LinearHeads, members: NDArray[np.int64], group: "_Group", validation: LabelledFeatures, epoch: int
) -> None:
    for rate, (weight, bias) in zip(group.rates, group.folded(), strict=True):
        score = _validation_auroc(weight, bias, validation, is_multiclass=heads.is_multiclass)  # (h,)
        is_better = score > heads.validation_auroc[members]
        kept = members[is_better]
        heads.weight[kept] = weight[torch.from_numpy(is_better)].transpose(1, 2).numpy()
        heads.bias[kept] = bias[torch.from_numpy(is_better)].numpy()
        heads.validation_auroc[kept], heads.best_epoch[kept], heads.learning_rate[kept] = score[is_better], epoch, rate


def _validation_auroc(
    weight: Tensor, bias: Tensor, validation: LabelledFeatures, *, is_multiclass: bool
) -> NDArray[np.float64]:
    """Macro AUROC (h,) of weights (h, L, D) and biases (h, L)."""
    num_heads, num_labels = bias.shape
    scores = linear(torch.from_numpy(validation.features), weight.flatten(0, 1), bias.flatten())  # (N, h * L)
    if is_multiclass:
        # the logarithm of the probability ranks like the probability and does not saturate
        scores = scores.unflatten(1, (num_heads, num_labels)).log_softmax(dim=-1).flatten(1)
    values = auroc_points(scores.numpy(), validation.labels).reshape(num_heads, num_labels)
    if np.isnan(values).all():
        raise DataError(
            "no label of the validation split has both a positive and a negative, so no checkpoint can be chosen by "
            "AUROC; check the pack's split column and labels"
        )
    return np.nanmean(values, axis=1)


class _Group:
    """Heads with equally many steps per epoch, trained in lockstep, at every learning rate."""

    def __init__(
        self,
        training: LabelledFeatures,
        rows: list[NDArray[np.int64]],
        head_seeds: NDArray[np.int64],
        is_multiclass: bool,
        config: ProbeConfig,
        device: torch.device,
    ) -> None:
        self._rows, self._head_seeds, self._training = rows, head_seeds, training
        self._is_multiclass, self._config, self._device = is_multiclass, config, device
        self.rates = config.learning_rates
        views = [training.features] if training.mirrored is None else [training.features, training.mirrored]
        stacked = views[0] if len(views) == 1 else np.concatenate(views)
        self._features = torch.from_numpy(stacked).to(device)  # (N or 2 N, D)
        labels = torch.from_numpy(np.concatenate([training.labels] * len(views)).astype(np.float32)).to(device)
        self._known = (~labels.isnan()).float()
        if is_multiclass:  # a film without a class trains nothing
            self._known = self._known.amin(dim=1, keepdim=True)
        self._labels = labels.nan_to_num_()
        mean, scale = _standardization(training.features, rows, use=config.standardize)
        self._mean, self._scale = torch.from_numpy(mean).to(device), torch.from_numpy(scale).to(device)  # (h, D)
        dim, num_labels = training.features.shape[1], training.labels.shape[1]
        # nn.Linear's default: uniform within 1 / sqrt(D), weights and bias
        draws = [
            generator(config.seed, "probe-init", int(seed)).uniform(-1, 1, (dim + 1, num_labels)) / math.sqrt(dim)
            for seed in head_seeds
        ]
        start = torch.from_numpy(np.stack(draws).astype(np.float32)).transpose(1, 2).to(device)  # (h, L, D + 1)
        self._weights = [start[..., :-1].clone() for _ in self.rates]  # (h, L, D) each
        self._biases = [start[..., -1].clone() for _ in self.rates]  # (h, L) each
        for parameter in (*self._weights, *self._biases):
            parameter.grad = torch.empty_like(parameter)
        self._optimizer = torch.optim.AdamW(
            [
                {"params": [parameter], "lr": rate, "weight_decay": decay}
                for parameters, decay in ((self._weights, config.weight_decay), (self._biases, 0.0))
                for parameter, rate in zip(parameters, self.rates, strict=True)
            ]
        )
        self._num_steps = math.ceil(max(map(len, rows)) / config.batch_size)
        self._step = 0
        self._batch = torch.empty(config.batch_size, dim, device=device)  # one for all: it stays in the cache

    def train_epoch(self, epoch: int) -> None:
        """One pass of every head over its own subset, in its own order."""
        orders = [torch.from_numpy(self._order(head, epoch)).to(self._device) for head in range(len(self._rows))]
        for begin in range(0, self._num_steps * self._config.batch_size, self._config.batch_size):
            done = epoch * self._num_steps if self._config.is_rate_per_epoch else self._step
            factor = 0.5 * (1 + math.cos(math.pi * done / (self._config.epochs * self._num_steps)))
            for group, rate in zip(self._optimizer.param_groups, self.rates * 2, strict=True):
                group["lr"] = rate * factor
            for head, positions in enumerate(orders):
                self._set_gradients(head, positions[begin : begin + self._config.batch_size])
            self._optimizer.step()
            self._step += 1

    def _order(self, head: int, epoch: int) -> NDArray[np.int64]:
        """Positions in the features, as one head meets them in one epoch."""
        rows, seed, name = self._rows[head], self._config.seed, int(self._head_seeds[head])
        keys = self._training.keys[rows]
        if self._training.mirrored is not None:
            is_mirrored = uniform(seed, f"probe-mirror/{name}", epoch, keys, 1)[:, 0] < 0.5
            rows = rows + len(self._training.keys) * is_mirrored
        return rows[order(seed, f"probe-order/{name}", epoch, keys)]

    def _set_gradients(self, head: int, positions: Tensor) -> None:
        """Gradient of the mean loss over the known labels of one head's batch, for every learning rate."""
        features = torch.index_select(self._features, 0, positions, out=self._batch[: len(positions)])  # (B, D)
        if self._config.standardize:
            features = features.sub_(self._mean[head]).div_(self._scale[head])
        labels, known = (array.index_select(0, positions) for array in (self._labels, self._known))
        known /= known.sum().clamp(min=1)
        for weights, biases in zip(self._weights, self._biases, strict=True):
            logits = linear(features, weights[head], biases[head])  # (B, L)
            # of (binary) cross-entropy: what was said minus what is true
            probabilities = logits.softmax(dim=1) if self._is_multiclass else logits.sigmoid_()
            above = probabilities.sub_(labels).mul_(known).t().contiguous()  # (L, B)
            if weights.grad is not None and biases.grad is not None:
                weights.grad[head] = linear(above, features.t())
                biases.grad[head] = above.sum(dim=1)

    def folded(self) -> list[tuple[Tensor, Tensor]]:
        """Per learning rate weights (h, L, D) and biases (h, L) that act on raw features, in host memory."""
        result = []
        for weights, biases in zip(self._weights, self._biases, strict=True):
            weight = weights / self._scale[:, None]
            bias = biases - torch.einsum("hd,hld->hl", self._mean, weight)
            result.append((weight.cpu(), bias.cpu()))
        return result


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
