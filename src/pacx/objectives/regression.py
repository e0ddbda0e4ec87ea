"""Physiology prediction: read each modality's frozen embedding out of the image embedding.

Telling pairs apart can be done with shortcuts; predicting the whole unprojected target cannot. One linear head per
modality, cosine distance, no gradient into the targets. It refuses nothing but missing targets.
"""

from collections.abc import Mapping

from torch import nn

from pacx.core.randomness import seed_of
from pacx.models.initialization import seeded_rng
from pacx.objectives.cosine import observed_distances
from pacx.objectives.objective import (
    FilmFeatures,
    Objective,
    ObjectiveOutput,
    PairedTargets,
    linear_head,
    mean_over_modalities,
    require_modalities,
)
from pacx.objectives.regression_config import RegressionConfig


class RegressionObjective(Objective):
    """Cosine distance to each modality's frozen embedding, averaged over the modalities.

    For two modalities the average is the paper's sum of halves. With one modality (an ablation) the paper's formula
    would halve the term; the authors' code, and we, keep it whole, so that the balance with the contrastive term is
    the same in every ablation.

    Args:
        config: the objective.
        image_dim: width of the image embedding.
        target_dims: width of each modality's target.
        seed: fixes the initial heads; torch's global generator is left alone.

    Raises:
        UsageError: no modality.

    Source: paper equation 4.
    """

    def __init__(
        self, config: RegressionConfig, image_dim: int, target_dims: Mapping[str, int], *, seed: int = 0
    ) -> None:
        super().__init__()
        require_modalities(target_dims)
        with seeded_rng(seed_of(seed, "regression")):
            self.heads = nn.ModuleDict(
                {
                    name: linear_head(
                        image_dim, width, dropout=config.head_dropout, use_layer_norm=config.use_head_layer_norm
                    )
                    for name, width in target_dims.items()
                }
            )

    def forward(self, films: FilmFeatures, targets: PairedTargets) -> ObjectiveOutput:
        """Score a batch; see ``Objective``. Metrics: each modality's loss.

        Raises:
            TrainingError: a modality's target is missing.
        """
        predictions = {name: head(films.embedding) for name, head in self.heads.items()}
        losses, num_observed = observed_distances(predictions, targets, is_shared=self.is_shared)
        metrics = {f"regression_{name}": loss.detach() for name, loss in losses.items()}
        return ObjectiveOutput(mean_over_modalities(losses, num_observed), metrics)
