"""Contrastive alignment: a film should know its own patient's ECG and labs among everybody else's.

The image embedding and each frozen target are projected linearly into one shared space, where a symmetric InfoNCE
loss tells the pairs of a batch apart. While training on several devices, everybody's pairs are negatives. It refuses
nothing but missing targets; collapse would show in its metrics.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pacx.core.randomness import seed_of
from pacx.models.initialization import seeded_rng
from pacx.objectives.contrastive_config import ContrastiveConfig
from pacx.objectives.objective import (
    FilmFeatures,
    Objective,
    ObjectiveOutput,
    PairedTargets,
    linear_head,
    mean_over_modalities,
    require_modalities,
    require_targets,
)
from pacx.objectives.temperature import bounded_scale, log_scale_of


def info_nce(
    image: Tensor,
    target: Tensor,
    log_scale: Tensor,
    *,
    label_smoothing: float,
    observed: Tensor | None = None,
    patients: Tensor | None = None,
) -> Tensor:
    """Symmetric InfoNCE between two sets of paired vectors: row i of one belongs to row i of the other.

    A film without the target asks nothing and is nobody's answer, but is one of the films among which a target has to
    find its own. Two films of one patient, and their targets, are never each other's negatives.

    Args:
        image: (B, S), not normalized.
        target: (B, S), not normalized.
        log_scale: scalar, logarithm of the inverse temperature; the scale is clamped to [1, 100].
        label_smoothing: in [0, 1), spread evenly over the candidates of a row.
        observed: bool (B,), which films have the target; None = all.
        patients: int64 (B,), whose film it is; None = all different.

    Returns:
        Scalar: the mean of image-to-target and target-to-image cross-entropy over the observed rows; ln B when all
        pairs look alike, 0 when nothing is observed or nobody has a negative.

    Source: paper equation 3 and appendix A.1.2; van den Oord et al. 2018; Radford et al. 2021 (CLIP).
    """
    if observed is None:
        observed = torch.ones(len(image), dtype=torch.bool, device=image.device)
    if patients is None:
        patients = torch.arange(len(image), device=image.device)
    with torch.autocast(image.device.type, enabled=False):  # the temperature makes half precision too coarse
        image, target = (F.normalize(_at_least_float32(x), dim=-1) for x in (image, target))
        scale = bounded_scale(log_scale.to(image.dtype))
        logits = scale * image @ target.T  # (B, B)
        # a patient's other films are no negatives: their targets are right as well, or nearly; one's own stays
        is_candidate = (patients[:, None] != patients) | torch.eye(len(image), dtype=torch.bool, device=image.device)
        to_target = _cross_entropy(logits, is_candidate & observed, label_smoothing)  # (B,)
        # not masked by observed: films without the target are still films that a target could be mistaken for
        to_image = _cross_entropy(logits.T, is_candidate, label_smoothing)  # (B,)
        # without any observed film 0 / 1: a loss of 0 with a gradient, which DDP waits for
        return ((to_target + to_image) * observed).sum() / (2 * observed.sum().clamp_min(1))


def _cross_entropy(logits: Tensor, is_candidate: Tensor, label_smoothing: float) -> Tensor:
    """Cross-entropy (B,) of each row's own column among its candidates and itself, both (B, B)."""
    # a row whose own target is not observed keeps it here: without any candidate its loss is NaN, also times 0
    is_candidate = is_candidate | torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    log_chance = logits - logits.masked_fill(~is_candidate, -torch.inf).logsumexp(1, keepdim=True)  # (B, B)
    # smoothing spreads over the candidates of the row, not over those that it may not be compared with
    spread = (log_chance * is_candidate).sum(1) / is_candidate.sum(1)
    return -(1 - label_smoothing) * log_chance.diagonal() - label_smoothing * spread


class ContrastiveObjective(Objective):
    """InfoNCE between the image and each modality, averaged over the modalities.

    While training on several devices the projections of all are gathered, with gradients, so every device scores the
    whole batch. In eval mode every device scores its own samples.

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
        self.log_scale = nn.Parameter(log_scale_of(config.temperature), requires_grad=config.learn_temperature)

    def forward(self, films: FilmFeatures, targets: PairedTargets) -> ObjectiveOutput:
        """Score a batch; see ``Objective``. Metrics: each modality's loss, and the temperature.

        Raises:
            TrainingError: a modality's target is missing.
        """
        require_targets(targets, set(self.target_projections))
        image = self.all_devices(self.image_projection(films.embedding))  # (B, S)
        patients = self.all_devices(targets.patients)
        observed = {name: self.all_devices(targets.observed[name]) for name in self.target_projections}
        losses = {
            name: info_nce(
                image,
                self.all_devices(projection(targets.values[name].detach())),
                self.log_scale,
                label_smoothing=self.config.label_smoothing,
                observed=observed[name],
                patients=patients,
            )
            for name, projection in self.target_projections.items()
        }
        metrics = {f"contrastive_{name}": loss.detach() for name, loss in losses.items()}
        metrics["temperature"] = 1 / bounded_scale(self.log_scale.detach())
        num_observed = {name: rows.sum() for name, rows in observed.items()}
        return ObjectiveOutput(mean_over_modalities(losses, num_observed), metrics)


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
