"""Token-level distillation: let each modality's target be read from the patches, so that *where* can be shown.

One learnt query per modality attends to the patch tokens (a single cross-attention), and what it gathers predicts the
frozen target. The attention is a distribution over the film's patches: a map of where this physiology was read. The
gradient reaches the patches directly, which the class token's objectives do only through attention inside the encoder.

Source: the paper's future work (section 6); our own form of it.
"""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from pacx.core.randomness import seed_of
from pacx.models.initialization import seeded_rng
from pacx.objectives.cosine import observed_distances
from pacx.objectives.objective import (
    FilmFeatures,
    Objective,
    ObjectiveOutput,
    PairedTargets,
    mean_over_modalities,
    require_modalities,
)
from pacx.objectives.token_regression_config import TokenRegressionConfig


class TargetReader(nn.Module):
    """Reads one target from the patches of a film.

    Args:
        token_dim: width of a patch token.
        attention_dim: width of query and keys.
        target_dim: width of the target.
    """

    def __init__(self, token_dim: int, attention_dim: int, target_dim: int) -> None:
        super().__init__()
        # so small that the first attention is almost even: no patch is preferred before anything is learnt
        self.query = nn.Parameter(torch.randn(attention_dim) * 0.02)
        self.key = nn.Linear(token_dim, attention_dim)
        self.head = nn.Linear(token_dim, target_dim)

    def attention(self, patches: Tensor) -> Tensor:
        """Where it reads: patches (B, L, D) to (B, L), each row adding up to 1."""
        return (self.key(patches) @ self.query / len(self.query) ** 0.5).softmax(dim=1)

    def forward(self, patches: Tensor) -> Tensor:
        """Patches (B, L, D) to predicted targets (B, D_m)."""
        return self.head((self.attention(patches)[..., None] * patches).sum(1))


class TokenRegressionObjective(Objective):
    """Cosine distance between each frozen target and what was read from the patches; mean over the modalities.

    Args:
        config: the objective.
        image_dim: width of a patch token.
        target_dims: width of each modality's target.
        seed: fixes the initial readers.

    Raises:
        UsageError: no modality.
    """

    def __init__(
        self, config: TokenRegressionConfig, image_dim: int, target_dims: Mapping[str, int], *, seed: int
    ) -> None:
        super().__init__()
        require_modalities(target_dims)
        with seeded_rng(seed_of(seed, "token-regression")):
            self.readers = nn.ModuleDict(
                {name: TargetReader(image_dim, config.attention_dim, width) for name, width in target_dims.items()}
            )

    def forward(self, films: FilmFeatures, targets: PairedTargets) -> ObjectiveOutput:
        """Score a batch; see ``Objective``. Metrics: each modality's loss.

        Raises:
            TrainingError: a modality's target is missing.
        """
        predictions = {name: reader(films.patches) for name, reader in self.readers.items()}
        losses, num_observed = observed_distances(predictions, targets, is_shared=self.is_shared)
        metrics = {f"token_regression_{name}": loss.detach() for name, loss in losses.items()}
        return ObjectiveOutput(mean_over_modalities(losses, num_observed), metrics)

    def reading(self, films: FilmFeatures) -> dict[str, Tensor]:
        """The readers' attention over the patches."""
        return {name: cast("TargetReader", reader).attention(films.patches) for name, reader in self.readers.items()}
