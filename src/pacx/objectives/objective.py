"""What an image embedding is pulled towards.

Every objective is one file in this room: a module that owns the heads it needs, takes the image embedding and the
frozen targets of the same patients, and gives one loss. The heads die with training; nothing here reaches the
released encoder but through gradients. A patient may lack a modality; an objective refuses a batch that has never heard
of one of its modalities.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pacx.core.errors import TrainingError, UsageError


class FilmFeatures(NamedTuple):
    """What the encoder makes of a batch of films.

    Attributes:
        embedding: (B, D), what is released and probed; objectives get it whitened where a run whitens.
        patches: (B, L, D), the tokens of the patches, row by row.
    """

    embedding: Tensor
    patches: Tensor


class PairedTargets(NamedTuple):
    """The frozen targets of a batch of films, as far as the patients have them.

    Attributes:
        values: by modality (B, D_m), finite; rows without a target hold anything finite and count for nothing.
        observed: by modality bool (B,), true where the film's patient has the target.
        patients: int64 (B,), whose film it is; two films of one patient are never each other's negatives.
    """

    values: Mapping[str, Tensor]
    observed: Mapping[str, Tensor]
    patients: Tensor

    def at(self, positions: Tensor, device: torch.device) -> "PairedTargets":
        """The targets of some films, int64 (M,), on a device."""
        return PairedTargets(
            {name: table[positions].to(device) for name, table in self.values.items()},
            {name: rows[positions].to(device) for name, rows in self.observed.items()},
            self.patients[positions].to(device),
        )


def complete(values: Mapping[str, Tensor]) -> PairedTargets:
    """Targets that every film has, each film another patient's."""
    some = next(iter(values.values()))
    everyone = torch.ones(len(some), dtype=torch.bool, device=some.device)
    patients = torch.arange(len(some), device=some.device)
    return PairedTargets(values, dict.fromkeys(values, everyone), patients)


class ObjectiveOutput(NamedTuple):
    """What an objective says about one batch.

    Attributes:
        loss: scalar, unweighted, with gradient.
        metrics: scalars without gradient, for the journal.
    """

    loss: Tensor
    metrics: dict[str, Tensor]


class Objective(nn.Module, ABC):
    """One term of the Stage 2 loss, with its heads.

    Example:
        >>> from types import SimpleNamespace
        >>> import torch
        >>> from pacx.objectives import Objective
        >>> class SameLength(Objective):
        ...     def forward(self, films, targets):
        ...         lengths = [films.embedding.norm(dim=1) - each.norm(dim=1) for each in targets.values.values()]
        ...         return SimpleNamespace(loss=torch.stack(lengths).square().mean(), metrics={})
        >>> films = SimpleNamespace(embedding=torch.ones(4, 4))
        >>> SameLength()(films, SimpleNamespace(values={"ecg": torch.ones(4, 9)})).loss
        tensor(1.)
    """

    @abstractmethod
    def forward(self, films: FilmFeatures, targets: PairedTargets) -> ObjectiveOutput:
        """Score a batch; each modality over the films that have it, then the mean over the modalities that occur.

        While training on several devices the loss is such that its gradient, averaged over devices (DDP), is that of
        one device with the whole batch; every device then brings equally many films.

        Args:
            films: features of B films.
            targets: frozen embeddings of the same films; no gradient reaches them.
        """

    def reading(self, films: FilmFeatures) -> dict[str, Tensor]:
        """Where in each film each target is read: by modality (B, L), rows adding up to 1; nothing if it cannot say."""
        return {}

    def all_devices(self, rows: Tensor) -> Tensor:
        """Rows of all devices in rank order, with gradients, where a batch is shared; otherwise the rows themselves."""
        return _GatherRows.apply(rows) if self.is_shared else rows

    @property
    def is_shared(self) -> bool:
        """Whether a batch is spread over several devices."""
        return is_batch_shared(self)


def is_batch_shared(module: nn.Module) -> bool:
    """Whether the batches of a module are spread over several devices: it trains under ``torch.distributed``."""
    return module.training and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def mean_over_modalities(losses: Mapping[str, Tensor], num_observed: Mapping[str, Tensor]) -> Tensor:
    """The mean of the losses (scalars) of those modalities that at least one film of the batch has; 0 without any."""
    occurs = torch.stack([num_observed[name] > 0 for name in losses])  # (M,)
    stacked = torch.stack(list(losses.values()))  # (M,)
    return (stacked * occurs).sum() / occurs.sum().clamp_min(1)


class _GatherRows(torch.autograd.Function):
    """Concatenate every device's rows; backward sums every device's gradient of the rows this device sent."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:  # noqa: ANN401 - torch's context object
        """(B, S) on each of W devices to (W * B, S) on all."""
        gathered = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(gathered, rows.contiguous())
        ctx.num_rows = len(rows)
        return torch.cat(gathered)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ANN401 - torch's context object
        """(W * B, S) to this device's (B, S)."""
        summed = gradients[0].contiguous().clone()
        dist.all_reduce(summed)
        first = dist.get_rank() * ctx.num_rows
        return summed[first : first + ctx.num_rows]


def linear_head(in_dim: int, out_dim: int, *, dropout: float, use_layer_norm: bool) -> nn.Module:
    """The head both objectives use: linear in the paper; dropout, linear, LayerNorm in the authors' released code.

    Args:
        in_dim: input width.
        out_dim: output width.
        dropout: on the input while training, drawn from torch's default generator.
        use_layer_norm: norm the output.
    """
    layers: list[nn.Module] = [nn.Linear(in_dim, out_dim)]
    if dropout > 0:
        layers.insert(0, nn.Dropout(dropout))
    if use_layer_norm:
        layers.append(nn.LayerNorm(out_dim))
    return nn.Sequential(*layers)


def require_modalities(target_dims: Mapping[str, int]) -> None:
    """Refuse an objective that nothing is asked of.

    Raises:
        UsageError: no modality.
    """
    if not target_dims:
        raise UsageError("the objective has no modality to align with; name at least one, such as ecg or labs")


def require_targets(targets: PairedTargets, names: set[str]) -> None:
    """Refuse a batch without every target.

    Raises:
        TrainingError: names the missing modalities.
    """
    missing = sorted(names - targets.values.keys())
    if missing:
        raise TrainingError(
            f"the batch has targets {sorted(targets.values)} but the objective was made for {', '.join(missing)} as "
            "well; embed that modality first or leave it out of the run"
        )
