"""Physiology prediction: read each modality's frozen embedding out of the image embedding.

Telling pairs apart can be done with shortcuts; predicting the whole unprojected target cannot. One linear head per
modality, cosine distance, no gradient into the targets. It refuses nothing but missing targets.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pacx.core.randomness import seed_of
from pacx.models.initialization import seeded_rng
from pacx.models.linear.ridge import design, ridge
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

Array = NDArray[np.float64]


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

    @torch.no_grad()
    def start_in_closed_form(
        self,
        embeddings: Array,
        targets: Mapping[str, Array],
        observed: Mapping[str, NDArray[np.bool_]],
        patients: NDArray[np.int64],
    ) -> dict[str, float]:
        """Let each head predict what a ridge does; of what cannot be predicted, the mean.

        Args:
            embeddings: (N, D), as the heads will read them.
            targets: by modality (N, T_m).
            observed: by modality bool (N,), which films have the target.
            patients: (N,), whose film it is; all films of a patient are left out together.

        Returns:
            By modality, the share of its targets' variance that is predicted for patients left out.

        Raises:
            DataError: fewer than two patients have a target of some modality, or something is not finite.
        """
        explained = {}
        for name, head in self.heads.items():
            values = targets[name][observed[name]]
            fitted = ridge(design(embeddings[observed[name]], patients[observed[name]]), values)
            (linear,) = (each for each in head.modules() if isinstance(each, nn.Linear))
            linear.weight.copy_(torch.from_numpy(fitted.weight.T))
            linear.bias.copy_(torch.from_numpy(fitted.bias))
            variances = values.var(axis=0)
            share = np.where(fitted.is_predicted, fitted.explained, 0.0) @ variances / max(variances.sum(), 1e-12)
            explained[name] = float(share)
        return explained

    def forward(self, films: FilmFeatures, targets: PairedTargets) -> ObjectiveOutput:
        """Score a batch; see ``Objective``. Metrics: each modality's loss.

        Raises:
            TrainingError: a modality's target is missing.
        """
        predictions = {name: head(films.embedding) for name, head in self.heads.items()}
        losses, num_observed = observed_distances(predictions, targets, is_shared=self.is_shared)
        metrics = {f"regression_{name}": loss.detach() for name, loss in losses.items()}
        return ObjectiveOutput(mean_over_modalities(losses, num_observed), metrics)
