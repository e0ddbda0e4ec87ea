"""Stage 2 towards nothing: negative controls, equal to the paper's recipe in all but what they are told."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.core.errors import UsageError
from pacx.data.packs.pack import Pack
from pacx.modalities.targets import FrozenTargets
from pacx.recipes.distill import DistillRun, distill, distill_tiny


@dataclass(frozen=True, kw_only=True)
class ShuffledPairsRun(DistillRun):
    """Distil towards the right targets of the wrong patients; validation patients keep their own."""

    within: tuple[str, ...] = ()
    """Columns of the pack's records, such as view: only films equal in all of them exchange targets. What a run then
    gains over this control is more than these columns tell."""

    def frozen_targets(self, pack: Pack, fitting: NDArray[np.int64]) -> Sequence[FrozenTargets]:
        """Targets exchanged among the training films."""
        from pacx.modalities.controls import with_shuffled_pairs

        rows = pack.table.iloc[fitting]
        if missing := [name for name in self.within if name not in rows.columns]:
            raise UsageError(
                f"{self.pack} has no column {' and '.join(missing)} to exchange within; it has "
                f"{', '.join(map(str, rows.columns))}"
            )
        strata = rows[list(self.within)].astype(str).agg(", ".join, axis=1).tolist() if self.within else None
        ids, seed = rows["sample_id"].tolist(), self.training.seed
        opened = super().frozen_targets(pack, fitting)
        return [with_shuffled_pairs(target, ids, seed=seed, strata=strata) for target in opened]


@dataclass(frozen=True, kw_only=True)
class RandomTargetsRun(DistillRun):
    """Distil towards noise of the targets' width."""

    def frozen_targets(self, pack: Pack, fitting: NDArray[np.int64]) -> Sequence[FrozenTargets]:
        """Noise for every sample that has a target."""
        from pacx.modalities.controls import random_targets

        opened = super().frozen_targets(pack, fitting)
        return [random_targets(target, seed=self.training.seed) for target in opened]


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
