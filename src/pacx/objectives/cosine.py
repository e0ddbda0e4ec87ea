"""Cosine distance between predicted and frozen targets, over the films that have them: what regressions share."""

from collections.abc import Mapping

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from pacx.objectives.objective import PairedTargets, require_targets


def cosine_distance(predictions: Tensor, targets: Tensor) -> Tensor:
    """Cosine distance 1 - cos of each row, (B,) in [0, 2]; no gradient reaches the targets.

    Args:
        predictions: (B, D).
        targets: (B, D).

    Returns:
        0 where a prediction points along its target, 1 where they are orthogonal.

    Source: paper equation 4.
    """
    dtype = torch.promote_types(predictions.dtype, torch.float32)
    with torch.autocast(predictions.device.type, enabled=False):
        return 1 - F.cosine_similarity(predictions.to(dtype), targets.detach().to(dtype), dim=-1)


def observed_distances(
    predictions: Mapping[str, Tensor], targets: PairedTargets, *, is_shared: bool
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Mean cosine distance of each modality over the films that have it, and how many do.

    Args:
        predictions: by modality (B, D_m).
        targets: of the same films.
        is_shared: the batch is spread over devices: each one's loss is then its share of the whole batch's, times the
            number of devices, so that the mean over devices is the loss.

    Returns:
        By modality: scalar losses, 0 where nobody has it, and the number of films of the whole batch that have it.

    Raises:
        TrainingError: a modality's target is missing.
    """
    require_targets(targets, set(predictions))
    counts = torch.stack([targets.observed[name].sum() for name in predictions])  # (M,)
    num_devices = 1
    if is_shared:
        dist.all_reduce(counts)
        num_devices = dist.get_world_size()
    num_observed = dict(zip(predictions, counts, strict=True))
    losses = {}
    for name, predicted in predictions.items():
        distances = cosine_distance(predicted, targets.values[name]) * targets.observed[name]  # (B,)
        # DDP takes the mean over devices, so each gives its share of the sum times their number
        losses[name] = num_devices * distances.sum() / num_observed[name].clamp_min(1)
    return losses, num_observed
