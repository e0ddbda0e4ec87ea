"""The study on a simulated hospital: which worlds, which Stage 2, and how large; what an unfriendly reader asks for.

A *world* is how much films show and how they are taken; patients, ECGs, labs and labels are the same in every world. A
*condition* is one Stage 2 in one world: the method, its ablations, what it is told instead (controls), what it lacks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacx.core.randomness import order, sample_keys
from pacx.data.packs.pack import Pack
from pacx.evaluation.results import Subject
from pacx.evaluation.settings import SegmentationConfig
from pacx.modalities.targets import FrozenTargets
from pacx.models.encoders.names import CONTRASTIVE_ONLY, ECG_ONLY, LABS_ONLY, MAE, PACX, REGRESSION_ONLY
from pacx.recipes import distill_variants
from pacx.recipes.distill import DistillRun, distill, distill_tiny
from pacx.recipes.ecg import EcgRun, ecg, ecg_tiny
from pacx.recipes.labs import LabsRun, labs, labs_tiny
from pacx.recipes.mae import MAERun, mae, mae_tiny
from pacx.recipes.negative_controls import AgeAndSexRun, RandomTargetsRun, ShuffledPairsRun
from pacx.simulation.patients.acquisition import Circumstances
from pacx.simulation.patients.physiology import Visibility
from pacx.training.config import TrainingConfig
from studies.simulated import names
from studies.simulated.names import AGE_AND_SEX, RANDOM_TARGETS, SHUFFLED, WITHIN_ACUITY, WITHIN_VIEW
from studies.stepwise.cohorts import ACUITY_TENTH
from studies.stepwise.folders import Folders


@dataclass(frozen=True, kw_only=True)
class World:
    """How much films show of their patients.

    Args:
        name: for folders and, as the condition, for result rows.
        visibility: share of every mechanism that the body puts on the film.
        circumstances: what the taking of the film tells.
    """

    name: str
    visibility: float = 1.0
    circumstances: Circumstances = field(default_factory=Circumstances)

    @property
    def seen(self) -> Visibility:
        """The same visibility for every mechanism."""
        return Visibility(**dict.fromkeys(Visibility.__dataclass_fields__, self.visibility))

    def subject(self, encoder: str, pooling: str = "") -> Subject:
        """An encoder in result rows about films of this world."""
        return Subject(encoder, pooling, "" if self == IN_LIFE else self.name)


IN_LIFE = World(name="in life")
HALF = World(name=names.HALF_VISIBLE, visibility=0.5)
NOT_VISIBLE = World(name=names.NOT_VISIBLE, visibility=0.0)
NO_WIRES = World(name=names.NO_WIRES, circumstances=Circumstances(wires=0.0))
BLIND = World(name=names.BLIND, visibility=0.0, circumstances=Circumstances(acuity=0.0))
WORLDS = (IN_LIFE, NOT_VISIBLE, NO_WIRES, BLIND, HALF)


@dataclass(frozen=True, kw_only=True)
class HalfMissingRun(DistillRun):
    """Each modality is missing for half of the training films, drawn for each by itself."""

    def frozen_targets(self, pack: Pack, fitting: NDArray[np.int64]) -> Sequence[FrozenTargets]:
        """Targets without the missing ones."""
        ids, seed = pack.sample_ids[fitting].tolist(), self.training.seed
        return [_without_half(target, ids, seed) for target in super().frozen_targets(pack, fitting)]


def _without_half(target: FrozenTargets, ids: Sequence[str], seed: int) -> FrozenTargets:
    drawn = order(seed, f"half-missing/{target.modality}", 0, sample_keys(ids))
    gone = {ids[row] for row in drawn[: len(ids) // 2]}
    kept = np.array([sample not in gone for sample in target.sample_ids])
    names = tuple(np.array(target.sample_ids)[kept])
    fingerprint = f"half-missing-{seed}-{target.fingerprint}"
    return replace(target, sample_ids=names, embeddings=np.array(target.embeddings)[kept], fingerprint=fingerprint)


Adapt = Callable[[DistillRun], DistillRun]


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One Stage 2.

    Args:
        name: for result rows and folders.
        adapted: what it does to the full method's run.
        world: of the films it is taught and judged on.
        is_followed: probed on both poolings and with standardized features too.
    """

    name: str
    adapted: Adapt
    world: World = IN_LIFE
    is_followed: bool = False

    @property
    def subject(self) -> Subject:
        """Its encoder in result rows."""
        return self.world.subject(self.name)


def _as_is(run: DistillRun) -> DistillRun:
    return run


def _told(kind: type[DistillRun], **more: Any) -> Adapt:  # noqa: ANN401 - the class's own fields
    """The same run as another class, which changes what is taught."""
    return lambda run: run.taught_otherwise(kind, **more)


def _one_modality(name: str) -> Adapt:
    return lambda run: replace(run, targets=tuple(at for at in run.targets if at.parent.name == name))


def _taught_by(recipe: Callable[[], DistillRun]) -> Adapt:
    return lambda run: replace(run, task=recipe().task)


def _half_missing(run: DistillRun) -> DistillRun:
    return _told(HalfMissingRun)(replace(run, task=replace(run.task, partial_pairs=True)))


_SHUFFLED, _RANDOM = _told(ShuffledPairsRun), _told(RandomTargetsRun)
_VIEW = _told(ShuffledPairsRun, within=("view",))
_ACUITY = _told(ShuffledPairsRun, within=(ACUITY_TENTH,))
CONDITIONS = (
    Condition(name=PACX, adapted=_as_is, is_followed=True),
    Condition(name=SHUFFLED, adapted=_SHUFFLED, is_followed=True),
    Condition(name=RANDOM_TARGETS, adapted=_RANDOM, is_followed=True),
    Condition(name=PACX, adapted=_as_is, world=NOT_VISIBLE),
    Condition(name=SHUFFLED, adapted=_SHUFFLED, world=NOT_VISIBLE),
    Condition(name=WITHIN_VIEW, adapted=_VIEW, world=NOT_VISIBLE),
    Condition(name=WITHIN_VIEW, adapted=_VIEW),
    Condition(name=WITHIN_ACUITY, adapted=_ACUITY, is_followed=True),
    Condition(name=ECG_ONLY, adapted=_one_modality("ecg")),
    Condition(name=LABS_ONLY, adapted=_one_modality("labs")),
    Condition(name=PACX, adapted=_as_is, world=BLIND),
    Condition(name=SHUFFLED, adapted=_SHUFFLED, world=BLIND),
    Condition(name=CONTRASTIVE_ONLY, adapted=_taught_by(distill_variants.distill_contrastive_only)),
    Condition(name=REGRESSION_ONLY, adapted=_taught_by(distill_variants.distill_regression_only)),
    Condition(name=AGE_AND_SEX, adapted=_told(AgeAndSexRun)),
    Condition(name=names.HALF_MISSING, adapted=_half_missing),
    Condition(name=names.TOKENS, adapted=_taught_by(distill_variants.distill_tokens)),
    Condition(name=PACX, adapted=_as_is, world=HALF),
    Condition(name=names.SPARSE, adapted=_taught_by(distill_variants.distill_sparse)),
)
"""In the order in which they are run: what decides most comes first."""


class Preset(Enum):
    """How large a study is."""

    TINY = "tiny"
    """Films of 64 pixels and a small ViT, for two CPU cores."""

    BASE = "base"
    """ViT-B/16 at 224 pixels, 50,000 films to pretrain on, for one GPU."""


_PROBE_SEEDS: Mapping[float, int] = {0.01: 20, 0.1: 10, 1.0: 5}
"""Probes per share of the labels, each with a subset of its own: a hundredth is a dozen films, hence a lottery."""


@dataclass(frozen=True, kw_only=True)
class StudySizes:
    """What a preset stands for; the runs still lack their folders."""

    num_pretraining_patients: int
    num_triplet_patients: int
    num_downstream_patients: int
    num_elsewhere_patients: int
    num_masked_patients: int
    mae: MAERun
    ecg: EcgRun
    labs: LabsRun
    distill: DistillRun
    decoder: SegmentationConfig
    num_probe_seeds: Mapping[float, int] = field(default_factory=lambda: _PROBE_SEEDS)
    num_draws: int = 1000

    @property
    def image_size_px(self) -> int:
        """The film encoder's input size."""
        return self.mae.task.model.img_size

    def rehearsal(self) -> "StudySizes":
        """So few patients and steps that every line runs and nothing is learnt."""

        def shortened(training: TrainingConfig) -> TrainingConfig:
            short = replace(training, epochs=1, batch_size=8, warmup_epochs=0.0, warmup_steps=None)
            return replace(short, validate_every_epochs=1, checkpoint_every_epochs=1)

        return StudySizes(
            num_pretraining_patients=20,
            num_triplet_patients=60,
            num_downstream_patients=60,
            num_elsewhere_patients=20,
            num_masked_patients=16,
            mae=replace(self.mae, training=shortened(self.mae.training)),
            ecg=replace(self.ecg, training=shortened(self.ecg.training)),
            labs=replace(self.labs, training=shortened(self.labs.training)),
            distill=replace(self.distill, training=shortened(self.distill.training)),
            decoder=replace(self.decoder, epochs=1, warmup_epochs=0, num_seeds=2),
            num_probe_seeds=dict.fromkeys(_PROBE_SEEDS, 2),
            num_draws=50,
        )


def _tiny() -> StudySizes:
    stage_2 = distill_tiny()
    return StudySizes(
        num_pretraining_patients=1600,
        num_triplet_patients=900,
        num_downstream_patients=2000,
        num_elsewhere_patients=1000,
        num_masked_patients=500,
        mae=mae_tiny(),
        ecg=ecg_tiny(),
        labs=labs_tiny(),
        distill=replace(stage_2, training=replace(stage_2.training, validate_every_epochs=stage_2.training.epochs)),
        decoder=SegmentationConfig(learning_rate=2e-3, batch_size=32, warmup_epochs=1, num_seeds=5),
    )


def _base() -> StudySizes:
    """Sizes chosen on paper; not measured on a GPU yet (docs/experiments.md)."""
    stage_1, stage_2, heart = mae(), distill(), ecg()

    def fast(training: TrainingConfig, **changed: Any) -> TrainingConfig:  # noqa: ANN401 - its own fields
        return replace(training, precision="bf16-mixed", **changed)

    return StudySizes(
        num_pretraining_patients=42000,  # a fifth has two films: 50,400
        num_triplet_patients=5000,
        num_downstream_patients=5000,
        num_elsewhere_patients=1500,
        num_masked_patients=800,
        mae=replace(stage_1, training=fast(stage_1.training, epochs=40, warmup_epochs=2)),
        ecg=replace(heart, training=fast(heart.training, epochs=60)),
        labs=labs(),
        distill=replace(
            stage_2,
            training=fast(
                stage_2.training,
                epochs=8,
                warmup_epochs=1,
                learning_rate=5e-4,
                validate_every_epochs=8,
                checkpoint_every_epochs=4,
            ),
        ),
        decoder=SegmentationConfig(learning_rate=1e-3, batch_size=64, warmup_epochs=1),
    )


SIZES: Mapping[Preset, Callable[[], StudySizes]] = {Preset.TINY: _tiny, Preset.BASE: _base}


@dataclass(frozen=True, kw_only=True)
class StudyFolders(Folders):
    """Where the study keeps what."""

    @property
    def mae(self) -> Path:
        """The Stage 1 encoder that everything starts from."""
        return self.run(MAE) / "encoder"

    def stage_2(self, condition: Condition, seed: int) -> Path:
        """The run of a condition."""
        return self.run(f"{condition.subject}-seed-{seed}")
