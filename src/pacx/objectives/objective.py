"""What an image embedding is pulled towards.

Every objective is one file in this room: a module that owns the heads it needs, takes the image embedding and the
frozen targets of the same patients, and gives one loss. The heads die with training; nothing here reaches the
released encoder but through gradients. An objective refuses a batch that lacks one of its targets.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from pacx.core.errors import TrainingError, UsageError


class ObjectiveOutput(NamedTuple):
    """What an objective says about one batch.

    Attributes:
        loss: scalar, unweighted, with gradient.
        metrics: scalars without gradient, for the journal.
    """

    loss: Tensor
    metrics: dict[str, Tensor]


class Objective(nn.Module, ABC):
    """One term of the Stage 2 loss, with its heads."""

    @abstractmethod
    def forward(self, embedding: Tensor, targets: Mapping[str, Tensor]) -> ObjectiveOutput:
        """Score a batch.

        Args:
            embedding: image embeddings (B, D).
            targets: frozen embeddings (B, D_m) of the same patients by modality, finite; no gradient reaches them.
        """


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


def require_targets(targets: Mapping[str, Tensor], names: set[str]) -> None:
    """Refuse a batch without every target.

    Raises:
        TrainingError: names the missing modalities.
    """
    missing = sorted(names - targets.keys())
    if missing:
        raise TrainingError(
            f"the batch has targets {sorted(targets)} but the objective was made for {', '.join(missing)} as well; "
            "embed that modality first or leave it out of the run"
        )
