"""What each stage trains: the part of a recipe that differs from stage to stage.

Imports no torch, so that help is instant; ``tasks/`` holds what these settings start.
"""

from dataclasses import dataclass, field

from pacx.core.discovery import like
from pacx.core.errors import UsageError
from pacx.data.augment_config import Augmentation
from pacx.models.adaptation import Adaptation, Adapters
from pacx.models.ecg.mae_config import EcgMAEConfig
from pacx.models.ema_config import require_decay
from pacx.models.mae.config import MAEConfig
from pacx.models.panel.config import DROP_FRACTION, Corruption
from pacx.models.vit_config import Pooling
from pacx.objectives.config import ObjectiveConfig, objectives
from pacx.objectives.contrastive_config import ContrastiveConfig
from pacx.objectives.mixup import EmbeddingMixup
from pacx.objectives.regression_config import RegressionConfig
from pacx.objectives.whitening_config import FilmWhitening


@dataclass(frozen=True, kw_only=True)
class MAETaskConfig:
    """What Stage 1a trains.

    Args:
        model: sizes, mask ratio and target of the autoencoder.
        augmentation: what happens to a film before it is masked.
    """

    model: MAEConfig = field(default_factory=MAEConfig)
    augmentation: Augmentation = Augmentation.STAGE1


@dataclass(frozen=True, kw_only=True)
class EcgTaskConfig:
    """What the ECG stage trains.

    Args:
        model: sizes, mask ratio and input contract.
    """

    model: EcgMAEConfig = field(default_factory=EcgMAEConfig)


@dataclass(frozen=True, kw_only=True)
class PanelTaskConfig:
    """What Stage 1b trains and hides; the defaults are the paper's labs, and the released code's where they differ.

    Args:
        hidden_dim: width of the autoencoder between panel and embedding.
        embedding_dim: width of the embedding.
        drop_fraction: expected share of observed values hidden from the encoder, in [0, 1).
        corruption: whether a hidden value still looks observed.

    Source: paper appendix A.1.1; specs of the lab autoencoder, section 3.2.
    """

    hidden_dim: int = 512
    embedding_dim: int = 256
    drop_fraction: float = DROP_FRACTION
    corruption: Corruption = Corruption.VALUE_AND_MASK


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The validation metric by which the released weights are chosen; without one the last weights are."""

    metric: str
    is_higher_better: bool

    def is_improvement(self, value: float, best: float | None) -> bool:
        """Whether ``value`` beats ``best``; NaN never does."""
        if best is None:
            return value == value
        return value > best if self.is_higher_better else value < best


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
class PatchDropout:
    """Look at a random part of each film's patches in a step, other ones in every epoch; the class token always is in.

    Every encoder measured or released sees whole films.

    Args:
        mask_ratio: share of the patches that a step leaves out, in (0, 1); at least one patch stays.
        is_even: draw one patch of each group of neighbours, such as one of two by two where a quarter stays, so that
            every step looks everywhere; otherwise any patches together.

    Raises:
        UsageError: the share is out of range.

    Source: Liu et al. 2023 (PatchDropout, arXiv:2208.07220); for contrastive pairs Li et al. 2023 (FLIP,
    arXiv:2212.00794). Neither is in the paper.
    """

    mask_ratio: float = 0.75
    is_even: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.mask_ratio < 1:
            raise UsageError(f"patch dropout: mask_ratio is {self.mask_ratio}; give a share between 0 and 1, or none")

    def num_seen(self, num_patches: int) -> int:
        """Patches of a film that a step sees."""
        return max(1, round(num_patches * (1 - self.mask_ratio)))


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
        whitening: let the objectives read the embedding through a fixed whitening; None lets them read it as it is.
        mixup: train on mixtures of two films' embeddings and targets; None trains on the films.
        teacher: let the encoder agree with its own moving average too; None has no teacher.
        patch_dropout: leave out patches of the films in training, for speed; None looks at whole films, as the paper.
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
    whitening: FilmWhitening | None = None
    mixup: EmbeddingMixup | None = None
    teacher: MovingTeacher | None = None
    patch_dropout: PatchDropout | None = None
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


@dataclass(frozen=True, kw_only=True)
class ClosedFormConfig:
    """What Stage 2 in closed form predicts, and what it holds for predicted.

    Args:
        most_components: principal components of each modality to predict, at most; smaller ones hold little.
        standard_errors: by how many standard errors R2 of patients left out has to be above 0 for a direction to be
            kept; at 0, chance lets about half of the directions pass that have nothing to do with the films.
        canonical: predict this many canonical directions of all modalities together instead of their components; they
            are found on the films that are fitted, so that R2 of patients left out flatters them.
        partial_pairs: fit films that lack a target too: each modality is fitted to the films that have it. Otherwise a
            film without one of the targets is an error.

    Raises:
        UsageError: a number is out of range.
    """

    most_components: int = 256
    standard_errors: float = 1.0
    canonical: int | None = None
    partial_pairs: bool = False

    def __post_init__(self) -> None:
        if self.most_components < 1 or self.standard_errors < 0 or (self.canonical is not None and self.canonical < 1):
            raise UsageError(
                f"closed form: components {self.most_components}, standard errors {self.standard_errors}, canonical "
                f"{self.canonical}; give at least 1, 0 and 1"
            )


def objective_by_name(word: str) -> WeightedObjective:
    """An objective with its default settings, from NAME=WEIGHT.

    Raises:
        UsageError: there is no objective of that name, or the weight is no number above 0.
        PluginError: an installed package's objective cannot be imported.
    """
    known = objectives()
    name, _, weight = word.partition("=")
    if name not in known:
        raise UsageError(f"there is no objective '{name}', only {', '.join(known)}{like(name, known)}")
    try:
        share = float(weight or 1)
    except ValueError:
        share = 0.0
    if not share > 0:
        raise UsageError(f"'{word}' gives an objective no weight above 0; write {name}=0.5")
    return WeightedObjective(name=name.replace("-", "_"), weight=share, config=known[name])
