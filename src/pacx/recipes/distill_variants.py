"""Stage 2 otherwise: the ablations of Table 3, the released code's settings, what its authors also tried.

One modality alone is no recipe of its own: name one folder after ``--targets``.
"""

from dataclasses import replace
from pathlib import Path

from pacx.models.adaptation import Adapters, LastBlocks
from pacx.models.adapters_config import NormsTrained
from pacx.objectives.contrastive_config import ContrastiveConfig
from pacx.objectives.mixup import EmbeddingMixup
from pacx.objectives.multilinear_config import MultilinearConfig
from pacx.objectives.regression_config import RegressionConfig
from pacx.objectives.token_regression_config import TokenRegressionConfig
from pacx.objectives.whitening_config import FilmWhitening
from pacx.recipes.distill import DistillRun, distill, distill_tiny
from pacx.training.task_config import MovingTeacher, PatchDropout, WeightedObjective

_RELEASED_DROPOUT = 0.2


def distill_contrastive_only() -> DistillRun:
    """Table 3: the contrastive objective alone."""
    paper = distill()
    return replace(paper, task=replace(paper.task, regression_weight=0.0), out=Path("runs/distill-contrastive-only"))


def distill_regression_only() -> DistillRun:
    """Table 3: the regression objective alone."""
    paper = distill()
    return replace(paper, task=replace(paper.task, contrastive_weight=0.0), out=Path("runs/distill-regression-only"))


def distill_released_code() -> DistillRun:
    """As the authors' code runs: alpha 16, dropout, last norm, epsilon 1e-5, normed heads (docs/architecture.md)."""
    paper = distill()
    task = replace(
        paper.task,
        adaptation=Adapters(alpha=16, dropout=0.1, norms=NormsTrained.FINAL, norm_eps=1e-5),
        contrastive=ContrastiveConfig(head_dropout=_RELEASED_DROPOUT, use_head_layer_norm=True),
        regression=RegressionConfig(head_dropout=_RELEASED_DROPOUT, use_head_layer_norm=True),
    )
    return replace(paper, task=task, out=Path("runs/distill-released-code"))


def distill_fixed_temperature() -> DistillRun:
    """The temperature stays at 0.07 instead of being learnt."""
    paper = distill()
    task = replace(paper.task, contrastive=ContrastiveConfig(learn_temperature=False))
    return replace(paper, task=task, out=Path("runs/distill-fixed-temperature"))


def distill_last_blocks() -> DistillRun:
    """The last four blocks are fine-tuned instead of adapted."""
    paper = distill()
    task = replace(paper.task, adaptation=LastBlocks(num_blocks=4))
    return replace(paper, task=task, out=Path("runs/distill-last-blocks"))


def distill_full() -> DistillRun:
    """Every weight is fine-tuned."""
    paper = distill()
    return replace(paper, task=replace(paper.task, adaptation=LastBlocks()), out=Path("runs/distill-full"))


def distill_mixup() -> DistillRun:
    """Mixtures of two films' embeddings learn mixtures of their targets, as the authors also tried."""
    paper = distill()
    return replace(paper, task=replace(paper.task, mixup=EmbeddingMixup()), out=Path("runs/distill-mixup"))


def distill_teacher_student() -> DistillRun:
    """The encoder also agrees with its own moving average, which begins as the Stage 1 encoder."""
    paper = distill()
    return replace(paper, task=replace(paper.task, teacher=MovingTeacher()), out=Path("runs/distill-teacher-student"))


def distill_sparse() -> DistillRun:
    """Each step looks at a random quarter of a film's patches: a third of the time, for a point or two of AUROC."""
    paper = distill()
    task = replace(paper.task, patch_dropout=PatchDropout(is_even=True))
    return replace(paper, task=task, out=Path("runs/distill-sparse"))


def distill_tiny_sparse() -> DistillRun:
    """As distill-tiny, but each step looks at a random quarter of a film's patches: as good in two thirds of the time.

    That takes twice the epochs and twice the rate; without them it costs a point (docs/experiments.md).
    """
    tiny = distill_tiny()
    task = replace(tiny.task, patch_dropout=PatchDropout(is_even=True))
    training = replace(tiny.training, epochs=20, learning_rate=4e-3, warmup_epochs=2)
    return replace(tiny, task=task, training=training, out=Path("runs/distill-tiny-sparse"))


def distill_conditioned() -> DistillRun:
    """Objectives read the embedding through a shrunk whitening, so that its weak directions count as well.

    With adapters in the encoder it gained next to nothing, and with 900 pairs it cost (docs/experiments.md).
    """
    paper = distill()
    return replace(paper, task=replace(paper.task, whitening=FilmWhitening()), out=Path("runs/distill-conditioned"))


def distill_tiny_conditioned() -> DistillRun:
    """As distill-tiny, but objectives read the embedding through a shrunk whitening."""
    tiny = distill_tiny()
    task = replace(tiny.task, whitening=FilmWhitening())
    return replace(tiny, task=task, out=Path("runs/distill-tiny-conditioned"))


def distill_tokens() -> DistillRun:
    """Each target is also read from the patches by a cross-attention, which shows where (the paper's future work)."""
    paper = distill()
    term = WeightedObjective(name="token_regression", weight=1.0, config=TokenRegressionConfig())
    return replace(paper, task=replace(paper.task, further=(term,)), out=Path("runs/distill-tokens"))


def distill_symile() -> DistillRun:
    """Symile's objective over film, ECG and labs at once in the place of the pairwise contrastive one."""
    paper = distill()
    term = WeightedObjective(name="multilinear", weight=0.5, config=MultilinearConfig())
    task = replace(paper.task, contrastive_weight=0.0, further=(term,))
    return replace(paper, task=task, out=Path("runs/distill-symile"))


RECIPES = (
    distill_contrastive_only,
    distill_regression_only,
    distill_released_code,
    distill_fixed_temperature,
    distill_last_blocks,
    distill_full,
    distill_mixup,
    distill_teacher_student,
    distill_sparse,
    distill_tiny_sparse,
    distill_conditioned,
    distill_tiny_conditioned,
    distill_tokens,
    distill_symile,
)
