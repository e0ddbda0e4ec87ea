"""How each protocol is set: plain values that a command line or a study reads before any heavy library is there."""

from dataclasses import dataclass

from pacx.core.errors import UsageError

FRACTIONS = (0.01, 0.1, 1.0)
"""Shares of the training labels in low data."""

NUM_DRAWS = 2000
"""Bootstrap draws of patients: the ends of a 95 % interval rest on fifty of them each."""


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """How linear probes are trained.

    Args:
        learning_rates: Adam's peak rates; each follows a cosine to 0. Given several, every head is trained at each of
            them and the one of highest validation AUROC is kept.
        epochs: passes over the training subset.
        batch_size: samples per step; a smaller subset is one whole batch.
        standardize: shift and scale every feature by mean and standard deviation of the head's own training subset.
            Off: the paper puts the linear layer straight on the frozen embedding, which the encoder's last LayerNorm
            has already brought to unit scale. Switch it on to compare encoders whose embeddings differ in scale.
        weight_decay: AdamW's, on the weights and not on the biases; without it AdamW is Adam.
        is_rate_per_epoch: hold the learning rate within an epoch, as the authors' code, instead of per step.
        num_seeds: probes per training set, differing in initialisation, order and (low data) subset.
        seed: the run's seed; everything random follows from it and a head's own seed.

    Raises:
        UsageError: a rate is not above 0, or a count is below 1.

    Source: paper appendix A.2.2 (Adam, 3e-3, cosine, 40 epochs, 512; one run). Five seeds are ours: with few labels one
    run says little.

    Example:
        >>> from pacx.evaluation import ProbeConfig
        >>> ProbeConfig(learning_rates=(1e-3, 3e-3), num_seeds=2).epochs
        40
    """

    learning_rates: tuple[float, ...] = (3e-3,)
    epochs: int = 40
    batch_size: int = 512
    standardize: bool = False
    weight_decay: float = 0.0
    is_rate_per_epoch: bool = False
    num_seeds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.learning_rates or min(self.learning_rates) <= 0:
            raise UsageError(f"learning rates are {self.learning_rates}, expected at least one above 0")
        if min(self.epochs, self.batch_size, self.num_seeds) < 1:
            raise UsageError(
                f"epochs {self.epochs}, batch size {self.batch_size} and seeds {self.num_seeds}: expected at least 1"
            )


@dataclass(frozen=True, kw_only=True)
class NeighbourConfig:
    """How neighbours vote.

    Args:
        neighbours: the k to choose from by validation AUROC (the first of equals); a k above the number of training
            films means all of them.
        temperature: of the vote.
        seed: of the bootstrap; nothing else is random.

    Source: Caron et al. 2021 (DINO), section 4.1 and its published evaluation: 10, 20, 100, 200 neighbours, 0.07 as in
    Wu et al. 2018.

    Example:
        >>> from pacx.evaluation import NeighbourConfig
        >>> NeighbourConfig(neighbours=(5, 10)).temperature
        0.07
    """

    neighbours: tuple[int, ...] = (10, 20, 100, 200)
    temperature: float = 0.07
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.neighbours or min(self.neighbours) < 1 or self.temperature <= 0:
            raise UsageError(
                f"neighbours {self.neighbours} and temperature {self.temperature}: expected numbers from 1, and above 0"
            )


@dataclass(frozen=True, kw_only=True)
class LogisticConfig:
    """How logistic regressions are fitted.

    Args:
        strengths: scikit-learn's C to choose from, one for all labels, by macro validation AUROC (the first of equals);
            the penalty is ``|w|^2 / 2`` against C times the summed loss, on features of unit variance.
        max_iterations: of L-BFGS; scikit-learn warns where it was not enough.
        seed: of the bootstrap; nothing else is random.

    Example:
        >>> from pacx.evaluation import LogisticConfig
        >>> LogisticConfig(strengths=(0.01, 0.1)).max_iterations
        2000
    """

    strengths: tuple[float, ...] = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
    max_iterations: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.strengths or min(self.strengths) <= 0:
            raise UsageError(f"strengths are {self.strengths}, expected at least one above 0")


@dataclass(frozen=True, kw_only=True)
class SegmentationConfig:
    """How the decoder is trained.

    Args:
        learning_rate: AdamW's peak rate, reached after the warm-up and then led to 0 by a cosine, per step.
        epochs: passes over the training films.
        batch_size: films per step.
        weight_decay: AdamW's.
        warmup_epochs: epochs of linear warm-up.
        seed: of the first decoder's initial weights and order, and of the bootstrap.
        num_seeds: decoders per encoder, each with the next seed; scores are their mean, intervals know of their spread.

    Source: paper appendix A.2.2 (50 epochs, 1e-4, Dice + BCE); optimiser, warm-up and batch size, which the paper
    leaves out, as the authors released them. They train one decoder.

    Example:
        >>> from pacx.evaluation import SegmentationConfig
        >>> list(SegmentationConfig(epochs=10, num_seeds=2).seeds)
        [0, 1]
    """

    learning_rate: float = 1e-4
    epochs: int = 50
    batch_size: int = 256
    weight_decay: float = 1e-4
    warmup_epochs: int = 5
    seed: int = 0
    num_seeds: int = 3

    def __post_init__(self) -> None:
        if self.num_seeds < 1:
            raise UsageError(f"num_seeds is {self.num_seeds}; at least one decoder is needed")

    @property
    def seeds(self) -> range:
        """The seeds of the decoders, one training each."""
        return range(self.seed, self.seed + self.num_seeds)


@dataclass(frozen=True, kw_only=True)
class AlignmentConfig:
    """The ridge probe.

    Args:
        alpha: ridge penalty on standardised image features; targets are left as they are.
        seed: of the bootstrap; the probe itself has no randomness.

    Source: paper appendix A.2.2 (alpha 10, svd solver).

    Example:
        >>> from pacx.evaluation import AlignmentConfig
        >>> AlignmentConfig().alpha
        10.0
    """

    alpha: float = 10.0
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class DeletionConfig:
    """How patches are removed.

    Args:
        steps: equal steps from the whole film to none of it.
        fill_blur: removed patches show the film blurred with this standard deviation, as a share of the side; 0 = they
            show the film's mean grey.
        num_films: at most so many test films, the first in the order of their random keys; 0 = all.
        seed: of the random order and the bootstrap.

    Example:
        >>> from pacx.evaluation import DeletionConfig
        >>> DeletionConfig(steps=5, num_films=100).fill_blur
        0.125
    """

    steps: int = 10
    fill_blur: float = 0.125
    num_films: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 2 or self.num_films < 0:
            raise UsageError(f"deletion: {self.steps} steps and {self.num_films} films; give 2 or more, and 0 or more")
        if not 0 <= self.fill_blur <= 1:
            raise UsageError(f"deletion: a blur of {self.fill_blur} of the side; give a share in [0, 1]")


@dataclass(frozen=True, kw_only=True)
class ReadoutConfig:
    """How read-outs are fitted.

    Args:
        alpha: ridge penalty on standardized embeddings.
        level: share of new patients whose value the interval is to cover, in (0, 1).
        abstain_above: a read-out abstains when its interval, in normal scores, is wider than this share of that of a
            guess without the film.
        seed: of the bootstrap; the fit has no randomness.
    """

    alpha: float = 10.0
    level: float = 0.9
    abstain_above: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.level < 1 or self.alpha <= 0:
            raise UsageError(
                f"readout: level {self.level} and alpha {self.alpha}; give a share in (0, 1), a penalty > 0"
            )


@dataclass(frozen=True, kw_only=True)
class DirectionsConfig:
    """How directions that films and targets share are counted.

    Args:
        most: directions that are looked at.
        folds: parts of the measured patients, each measured by what was fitted to everybody else.
        num_shuffles: times that pairs are exchanged, to say what chance gives.
        seed: of folds, shuffles and the bootstrap.

    Raises:
        UsageError: a number is too small.
    """

    most: int = 10
    folds: int = 5
    num_shuffles: int = 39
    seed: int = 0

    def __post_init__(self) -> None:
        if self.most < 1 or self.folds < 2 or self.num_shuffles < 19:
            raise UsageError(
                f"directions: most {self.most}, folds {self.folds}, shuffles {self.num_shuffles}; give at least 1, 2 "
                "and 19, without which one in twenty cannot be told"
            )
