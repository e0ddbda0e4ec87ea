"""Contrastive alignment: a film should know its own patient's ECG and labs among everybody else's.

The image embedding and each frozen target are projected linearly into one shared space, where a symmetric InfoNCE
loss tells the pairs of a batch apart. While training on several devices, everybody's pairs are negatives. It refuses
nothing but missing targets; collapse would show in its metrics.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from pacx.core.randomness import seed_of
from pacx.models.initialization import seeded_rng
from pacx.objectives.objective import Objective, ObjectiveOutput, linear_head, require_modalities, require_targets

SMALLEST_SCALE, LARGEST_SCALE = 1.0, 100.0
"""Bounds of the inverse temperature, applied in the forward pass."""


@dataclass(frozen=True, kw_only=True)
class ContrastiveConfig:
    """The contrastive objective; the defaults are the paper's.

    Args:
        shared_dim: width of the shared space.
        temperature: where the learnable temperature starts.
        label_smoothing: share of the target distribution spread over the whole batch.
        head_dropout: released code 0.2.
        use_head_layer_norm: released code True.

    Source: paper appendix A.1.2.
    """

    shared_dim: int = 256
    temperature: float = 0.07
    label_smoothing: float = 0.02
    head_dropout: float = 0.0
    use_head_layer_norm: bool = False


def info_nce(image: Tensor, target: Tensor, log_scale: Tensor, *, label_smoothing: float) -> Tensor:
    """Symmetric InfoNCE between two sets of paired vectors: row i of one belongs to row i of the other.

    Args:
        image: (B, S), not normalized.
        target: (B, S), not normalized.
        log_scale: scalar, logarithm of the inverse temperature; the scale is clamped to [1, 100].
        label_smoothing: in [0, 1).

    Returns:
        Scalar: the mean of image-to-target and target-to-image cross-entropy; ln B when all pairs look alike.

    Source: paper equation 3 and appendix A.1.2; van den Oord et al. 2018; Radford et al. 2021 (CLIP).
    """
    with torch.autocast(image.device.type, enabled=False):  # the temperature makes half precision too coarse
        image, target = (F.normalize(_at_least_float32(x), dim=-1) for x in (image, target))
        scale = log_scale.to(image.dtype).exp().clamp(SMALLEST_SCALE, LARGEST_SCALE)
        logits = scale * image @ target.T  # (B, B)
        pairs = torch.arange(len(logits), device=logits.device)
        to_target = F.cross_entropy(logits, pairs, label_smoothing=label_smoothing)
        to_image = F.cross_entropy(logits.T, pairs, label_smoothing=label_smoothing)
        return (to_target + to_image) / 2


class ContrastiveObjective(Objective):
    """InfoNCE between the image and each modality, averaged over the modalities.

    While training under ``torch.distributed`` the projections of all devices are gathered, with gradients, so every
    device scores the whole batch; each device must then bring equally many samples. Averaging gradients over devices
    (DDP) gives the gradient of one device with the whole batch. In eval mode every device scores its own samples.

    Args:
        config: the objective.
        image_dim: width of the image embedding.
        target_dims: width of each modality's target.
        seed: fixes the initial heads; torch's global generator is left alone.

    Raises:
        UsageError: no modality.
    """

    def __init__(
        self, config: ContrastiveConfig, image_dim: int, target_dims: Mapping[str, int], *, seed: int = 0
    ) -> None:
        super().__init__()
        require_modalities(target_dims)
        self.config = config
        options: dict[str, Any] = {"dropout": config.head_dropout, "use_layer_norm": config.use_head_layer_norm}
        with seeded_rng(seed_of(seed, "contrastive")):
            self.image_projection = linear_head(image_dim, config.shared_dim, **options)
            self.target_projections = nn.ModuleDict(
                {name: linear_head(width, config.shared_dim, **options) for name, width in target_dims.items()}
            )
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / config.temperature)))

    def forward(self, embedding: Tensor, targets: Mapping[str, Tensor]) -> ObjectiveOutput:
        """Score a batch; see ``Objective``. Metrics: each modality's loss, and the temperature.

        Raises:
            TrainingError: a modality's target is missing.
        """
        require_targets(targets, set(self.target_projections))
        image = self._all_devices(self.image_projection(embedding))  # (B, S)
        smoothing = self.config.label_smoothing
        losses = {
            name: info_nce(
                image,
                self._all_devices(projection(targets[name].detach())),
                self.log_scale,
                label_smoothing=smoothing,
            )
            for name, projection in self.target_projections.items()
        }
        metrics = {f"contrastive_{name}": loss.detach() for name, loss in losses.items()}
        metrics["temperature"] = 1 / self.log_scale.detach().exp().clamp(SMALLEST_SCALE, LARGEST_SCALE)
        return ObjectiveOutput(torch.stack(list(losses.values())).mean(), metrics)

    def _all_devices(self, projected: Tensor) -> Tensor:
        """Rows of all devices in rank order while training on several, otherwise the rows themselves."""
        if self.training and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            return _GatherRows.apply(projected)
        return projected


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


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
