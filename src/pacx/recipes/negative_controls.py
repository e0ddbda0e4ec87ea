"""Stage 2 towards nothing: negative controls, equal to the paper's recipe in all but what they are told."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.data.packs.pack import Pack
from pacx.modalities.targets import FrozenTargets
from pacx.recipes.distill import DistillRun, distill, distill_tiny
from pacx.recipes.taught import RandomTargets, ShuffledPairs


@dataclass(frozen=True, kw_only=True)
class ShuffledPairsRun(ShuffledPairs, DistillRun):
    """Distil towards the right targets of the wrong patients; validation patients keep their own."""


@dataclass(frozen=True, kw_only=True)
class RandomTargetsRun(RandomTargets, DistillRun):
    """Distil towards noise of the targets' width."""


@dataclass(frozen=True, kw_only=True)
class AgeAndSexRun(DistillRun):
    """Distil towards age and sex, from the pack's own table."""

    targets: tuple[Path, ...] = ()
    """Not needed: age and sex are columns of the pack's records."""

    def frozen_targets(self, pack: Pack, fitting: NDArray[np.int64]) -> Sequence[FrozenTargets]:
        """Two numbers per film."""
        from pacx.modalities.controls import age_and_sex

        return [age_and_sex(pack.table, pack.sample_ids[fitting].tolist())]


def distill_shuffled_pairs() -> ShuffledPairsRun:
    """Negative control: the training films' targets are exchanged among them."""
    return distill().taught_otherwise(ShuffledPairsRun, out=Path("runs/distill-shuffled-pairs"))


def distill_random_targets() -> RandomTargetsRun:
    """Negative control: noise in the place of every target."""
    return distill().taught_otherwise(RandomTargetsRun, out=Path("runs/distill-random-targets"))


def distill_age_and_sex() -> AgeAndSexRun:
    """Control: nothing but age and sex is taught."""
    paper = distill()
    return AgeAndSexRun(
        encoder=paper.encoder, pack=paper.pack, training=paper.training, out=Path("runs/distill-age-and-sex")
    )


def distill_tiny_shuffled_pairs() -> ShuffledPairsRun:
    """The same for two CPU cores: distill-tiny with the training films' targets exchanged among them."""
    return distill_tiny().taught_otherwise(ShuffledPairsRun, out=Path("runs/distill-tiny-shuffled-pairs"))


def distill_tiny_random_targets() -> RandomTargetsRun:
    """The same for two CPU cores: distill-tiny towards noise."""
    return distill_tiny().taught_otherwise(RandomTargetsRun, out=Path("runs/distill-tiny-random-targets"))


RECIPES = (
    distill_shuffled_pairs,
    distill_random_targets,
    distill_age_and_sex,
    distill_tiny_shuffled_pairs,
    distill_tiny_random_targets,
)
