"""What Stage 2 trains and towards what: its configuration, and the module that the configuration makes.

`encoder + widths of the targets -> adapted ViT, objectives with their heads, perhaps a teacher`. The module knows
nothing of packs, films' names or splits; ``tasks/distill.py`` brings those together with it.
"""

import copy
import math
from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from pacx.models.ema import follow
from pacx.models.vit import config_of, pooled, pooled_and_patches
from pacx.objectives.objective import FilmFeatures, Objective, PairedTargets
from pacx.objectives.regression_config import RegressionConfig
from pacx.objectives.whitening import Whitening
from pacx.training.task import StepLoss
from pacx.training.task_config import DistillTaskConfig

TEACHER = "teacher"


class DistillModule(nn.Module):
    """The adapted ViT and the objectives' heads: everything Stage 2 trains or holds frozen.

    Args:
        encoder: the Stage-1 encoder; copied, never changed.
        target_dims: width of each modality's target.
        config: adapters, heads, weights.
        seed: of adapters and heads.
    """

    def __init__(
        self, encoder: VisionTransformer, target_dims: Mapping[str, int], config: DistillTaskConfig, *, seed: int
    ) -> None:
        super().__init__()
        width = config_of(encoder).embed_dim
        self.pooling = config.pooling
        self.whitening = None if config.whitening is None else Whitening(width)
        self.weights: dict[str, float] = {}
        self.vit = config.adaptation.adapted(encoder, seed=seed)
        self.objectives = nn.ModuleDict()
        for term in config.objectives:
            self.objectives[term.name] = term.config.build(width, target_dims, seed=seed)
            self.weights[term.name] = term.weight
        self._taught_by, self.teacher = config.teacher, None
        if config.teacher is not None:
            self.teacher = copy.deepcopy(self.vit).requires_grad_(False).eval()
            self.objectives[TEACHER] = RegressionConfig().build(width, {TEACHER: width}, seed=seed)
            self.weights[TEACHER] = config.teacher.weight

    def train(self, mode: bool = True) -> "DistillModule":
        """As torch's; the teacher stays in eval mode."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    def features(self, images: Tensor, seen: Tensor | None = None) -> FilmFeatures:
        """Normalized films (B, C, S, S) to embeddings (B, D) and patch tokens (B, L, D).

        Args:
            images: the films.
            seen: places of the patches that are looked at, (B, K); then there are K tokens. None looks at all.
        """
        return FilmFeatures(*pooled_and_patches(cast("VisionTransformer", self.vit), images, self.pooling, seen))

    def heard(self, embedding: Tensor) -> Tensor:
        """What the objectives make of embeddings (B, D): whitened ones, where the run whitens, else the embeddings."""
        return embedding if self.whitening is None else self.whitening(embedding)

    def reading(self, films: FilmFeatures) -> dict[str, Tensor]:
        """Where each target is read, by modality (B, L), as far as an objective can say."""
        maps: dict[str, Tensor] = {}
        for objective in self.objectives.values():
            maps |= cast("Objective", objective).reading(films)
        return maps

    def score(self, films: FilmFeatures, targets: PairedTargets) -> StepLoss:
        """The weighted loss of some films against their targets, and every term."""
        films = films._replace(embedding=self.heard(films.embedding))
        total = films.embedding.new_zeros(())
        metrics: dict[str, Tensor] = {}
        for name, weight in self.weights.items():
            output = cast("Objective", self.objectives[name])(films, targets)
            total = total + weight * output.loss
            metrics |= {name: output.loss.detach(), **output.metrics}
        return StepLoss(total, metrics)

    def advance_teacher(self) -> None:
        """Let the teacher take in the student's weights, once a step; nothing without a teacher."""
        if self.teacher is not None and self._taught_by is not None:
            follow(self.teacher, self.vit, self._taught_by.decay)

    @torch.no_grad()
    def with_teacher(self, targets: PairedTargets, images: Tensor) -> PairedTargets:
        """Targets and the teacher's embeddings of the films (B, C, S, S) as one more; without a teacher as they are."""
        if self.teacher is None:
            return targets
        taught = pooled(cast("VisionTransformer", self.teacher), images, self.pooling)
        everyone = torch.ones_like(targets.patients, dtype=torch.bool)
        return targets._replace(
            values={**targets.values, TEACHER: taught}, observed={**targets.observed, TEACHER: everyone}
        )


def drawn_evenly(noise: NDArray[np.float64], num_drawn: int) -> NDArray[np.int64]:
    """Places of some patches of a square grid, one out of each of as many groups of neighbours.

    Args:
        noise: (B, L), by which a film's patch is drawn in each group: the smallest.
        num_drawn: K, from 1 to L. Where it is a quarter of the patches of a grid of even sides, groups are two by two;
            where it divides nothing, they differ by one patch.

    Returns:
        (B, K).
    """
    row, column = np.divmod(np.arange(noise.shape[1]), math.isqrt(noise.shape[1]))
    by_neighbours = np.lexsort((column % 2, row % 2, column // 2, row // 2))  # two by two, row by row of such squares
    groups = np.array_split(by_neighbours, num_drawn)
    drawn = [group[noise[:, group].argmin(axis=1)] for group in groups]  # K times (B,)
    return np.stack(drawn, axis=1)
