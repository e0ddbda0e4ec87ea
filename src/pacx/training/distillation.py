"""What Stage 2 trains and towards what: its configuration, and the module that the configuration makes.

`encoder + widths of the targets -> adapted ViT, objectives with their heads, perhaps a teacher`. The module knows
nothing of packs, films' names or splits; ``tasks/distill.py`` brings those together with it.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from pacx.core.errors import UsageError
from pacx.data.augment import Augmentation
from pacx.models.adaptation import Adaptation, Adapters
from pacx.models.ema import follow, require_decay
from pacx.models.vit import Pooling, config_of, pooled, pooled_and_patches
from pacx.objectives.contrastive import ContrastiveConfig
from pacx.objectives.mixup import EmbeddingMixup
from pacx.objectives.objective import FilmFeatures, Objective, ObjectiveConfig, PairedTargets
from pacx.objectives.regression import RegressionConfig
from pacx.training.task import Selection, StepLoss

TEACHER = "teacher"


@dataclass(frozen=True, kw_only=True)
class WeightedObjective:
    """One term of the loss.

    Args:
        name: of its metrics.
        weight: its share of the loss.
        config: the objective.
    """

    name: str
    weight: float
    config: ObjectiveConfig


@dataclass(frozen=True, kw_only=True)
class MovingTeacher:
    """A teacher that is the moving average of the encoder being trained, and begins as the Stage 1 encoder.

    It sees the film as it is, the student an augmented one, and the student predicts the teacher's embedding (linear
    head, cosine distance, no gradient into the teacher).

    Args:
        decay: share of the teacher that stays at each step, in (0, 1).
        weight: this term's share of the loss.

    Raises:
        UsageError: decay or weight are out of range.

    Source: the paper names "teacher-student setups" among what was tried (author contributions) and nothing more; the
    form is Tarvainen and Valpola 2017 (mean teacher) with the prediction of Grill et al. 2020 (BYOL).
    """

    decay: float = 0.996
    weight: float = 1.0

    def __post_init__(self) -> None:
        require_decay(self.decay)
        if self.weight <= 0:
            raise UsageError(f"the teacher's weight is {self.weight}; give more than 0, or no teacher")


@dataclass(frozen=True, kw_only=True)
class DistillTaskConfig:
    """What Stage 2 trains, and towards what; the defaults are the paper's.

    Args:
        adaptation: which weights of the ViT move.
        contrastive: heads and temperature of the contrastive objective.
        regression: heads of the regression objective.
        contrastive_weight: its share of the loss; 0 leaves the objective out (ablation).
        regression_weight: the same for the regression objective.
        further: objectives beyond the paper's; a recipe names them.
        mixup: train on mixtures of two films' embeddings and targets; None trains on the films.
        teacher: let the encoder agree with its own moving average too; None has no teacher.
        augmentation: what happens to a film before the encoder sees it.
        pooling: which output of the ViT is the image's embedding.
        partial_pairs: train films that lack a target too: each term of the loss is taken over the films that have it.
            Otherwise a film without one of the targets is an error.
        selection: the validation metric that chooses the released epoch; None releases the last one.

    Source: paper section 3.3 and appendix A.1.2; released code for the augmentation.
    """

    adaptation: Adaptation = field(default_factory=Adapters)
    contrastive: ContrastiveConfig = field(default_factory=ContrastiveConfig)
    regression: RegressionConfig = field(default_factory=RegressionConfig)
    contrastive_weight: float = 0.5
    regression_weight: float = 1.0
    further: tuple[WeightedObjective, ...] = ()
    mixup: EmbeddingMixup | None = None
    teacher: MovingTeacher | None = None
    augmentation: Augmentation = Augmentation.DISTILLATION
    pooling: Pooling = Pooling.CLASS_TOKEN
    partial_pairs: bool = False
    selection: Selection | None = None

    def __post_init__(self) -> None:
        weights = [term.weight for term in self.objectives]
        if min(self.contrastive_weight, self.regression_weight, *weights, 0) < 0 or not weights:
            raise UsageError("distill: give loss weights of 0 or more, and not all 0")
        if len({term.name for term in self.objectives}) < len(weights):
            raise UsageError(f"distill: two objectives are called {self.further[-1].name}; name each once")

    @property
    def objectives(self) -> tuple[WeightedObjective, ...]:
        """The terms of the loss whose weight is not 0."""
        paper = (
            WeightedObjective(name="contrastive", weight=self.contrastive_weight, config=self.contrastive),
            WeightedObjective(name="regression", weight=self.regression_weight, config=self.regression),
        )
        return tuple(term for term in (*paper, *self.further) if term.weight)


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

    def features(self, images: Tensor) -> FilmFeatures:
        """Normalized films (B, C, S, S) to embeddings (B, D) and patch tokens (B, L, D)."""
        return FilmFeatures(*pooled_and_patches(cast("VisionTransformer", self.vit), images, self.pooling))

    def reading(self, films: FilmFeatures) -> dict[str, Tensor]:
        """Where each target is read, by modality (B, L), as far as an objective can say."""
        maps: dict[str, Tensor] = {}
        for objective in self.objectives.values():
            maps |= cast("Objective", objective).reading(films)
        return maps

    def score(self, films: FilmFeatures, targets: PairedTargets) -> StepLoss:
        """The weighted loss of some films against their targets, and every term."""
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
