"""What is compared: methods, what they are taught, by how many pairs, and how large everything is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pacx.evaluation.probes.low_data import FRACTIONS
from pacx.evaluation.settings import SegmentationConfig
from pacx.models.encoders.names import MAE
from pacx.recipes.distill import DistillRun, distill_tiny
from pacx.recipes.distill_variants import distill_tiny_conditioned
from pacx.recipes.ecg import EcgRun
from pacx.recipes.ecg_measures import EcgMeasuresRun, ecg_measures_tiny
from pacx.recipes.labs import LabsRun
from pacx.recipes.mae import MAERun
from pacx.recipes.negative_controls import RandomTargetsRun, ShuffledPairsRun
from pacx.training.task_config import PatchDropout
from studies.illness.names import (
    AFTER,
    CLOSED_FORM,
    CONDITIONED,
    EQUALLY_ILL,
    OF_ECG_AND_MEASURES,
    OF_MEASURES,
    OF_MEASURES_AFTER,
    ORACLE,
    OWN,
    PAPER,
    RANDOM_VECTORS,
    READ_ACUITY,
)
from studies.simulated.design import BLIND, IN_LIFE, SIZES, Preset
from studies.stepwise.cohorts import ACUITY_TENTH, DOWNSTREAM, MASKED, PRETRAINING, TRIPLETS
from studies.stepwise.folders import Folders

WORLD, BLIND_WORLD = IN_LIFE.name, BLIND.name
"""Films as they are, and films that show nothing of the body and are taken alike of everybody."""
TOWARDS: Mapping[str, tuple[str, ...]] = {
    CLOSED_FORM: ("ecg", "labs"),
    OF_MEASURES: ("ecg-measures", "labs"),
    OF_ECG_AND_MEASURES: ("ecg", "ecg-measures", "labs"),
    AFTER: ("ecg", "labs"),
    OF_MEASURES_AFTER: ("ecg-measures", "labs"),
}
"""The runs whose frozen targets a closed form predicts; those of other methods only a simulation knows."""
CLOSED_FORMS: Mapping[str, tuple[str, ...]] = {
    CLOSED_FORM: (OWN, EQUALLY_ILL, RANDOM_VECTORS),
    OF_MEASURES: (OWN, EQUALLY_ILL),
    OF_ECG_AND_MEASURES: (OWN, EQUALLY_ILL),
    ORACLE: (OWN, EQUALLY_ILL),
    READ_ACUITY: (OWN,),
}
"""What each method in closed form is taught."""

TRAINED: Mapping[str, Callable[[], DistillRun]] = {PAPER: distill_tiny, CONDITIONED: distill_tiny_conditioned}
"""Recipes of what trains the encoder itself; each is run on any quarter of each film's patches, which costs a third."""

AFTER_TRAINING: Mapping[str, tuple[str, ...]] = {PAPER: (AFTER, OF_MEASURES_AFTER)}
"""Closed forms that are read off what is trained, taught alike."""

METHODS = (*CLOSED_FORMS, *TRAINED, *AFTER_TRAINING[PAPER])

TAUGHT: Mapping[str, Callable[[DistillRun], DistillRun]] = {
    OWN: lambda run: run,
    EQUALLY_ILL: lambda run: run.taught_otherwise(ShuffledPairsRun, within=(ACUITY_TENTH,)),
    RANDOM_VECTORS: lambda run: run.taught_otherwise(RandomTargetsRun),
}
"""What is changed in a run of Stage 2, so that it is taught that."""


@dataclass(frozen=True, kw_only=True)
class Trainings:
    """Trainings of Stage 2 by the same number of pairs: each method, taught each of these, from each Stage 1.

    Args:
        num_pairs: how many.
        methods: of ``TRAINED``.
        taught: what by.
        epochs: over those pairs; None = the recipe's.
        num_stage_1: the first so many Stage 1; None = all.
        num_seeds: so many trainings from each Stage 1.
        world: of the films that teach and of those that are probed.
    """

    num_pairs: int
    methods: tuple[str, ...]
    taught: tuple[str, ...] = (OWN, EQUALLY_ILL)
    epochs: int | None = None
    num_stage_1: int | None = None
    num_seeds: int = 1
    world: str = WORLD


@dataclass(frozen=True, kw_only=True)
class IllnessSizes:
    """How large the study is; the runs still lack their folders.

    Args:
        num_pretraining_patients: Stage 1 learns from.
        num_encoder_patients: the first so many patients with pairs, of whom ECG and laboratory encoders learn.
        pairs: numbers of pairs, ascending; each is the first so many patients.
        num_masked_patients: the first so many patients with labels, on whose films lungs and heart are outlined.
        num_outlined_pairs: Stage 2 by so many pairs is asked for outlines.
        decoder: of outlines.
        num_blind_pairs: one of ``pairs``, of which there are films that show nothing, too.
        num_blind_downstream_patients: the first so many patients with labels, likewise.
        trained: what Stage 2 itself is trained on, what decides most first.
        num_downstream_patients: with labels.
        num_probe_seeds: on each share of the labels; each has a subset of its own.
        num_draws: of the bootstrap.
    """

    num_pretraining_patients: int
    num_encoder_patients: int
    pairs: tuple[int, ...]
    num_masked_patients: int
    num_outlined_pairs: int
    decoder: SegmentationConfig
    num_blind_pairs: int
    num_blind_downstream_patients: int
    trained: tuple[Trainings, ...]
    num_downstream_patients: int
    image_size_px: int
    mae: MAERun
    ecg: EcgRun
    labs: LabsRun
    measures: EcgMeasuresRun
    num_probe_seeds: Mapping[float, int]
    num_draws: int
    is_rehearsal: bool

    def most_pairs(self, world: str) -> int:
        """Of how many patients with pairs there are films."""
        return self.num_blind_pairs if world == BLIND_WORLD else self.pairs[-1]

    def distill(self, method: str, epochs: int | None = None) -> DistillRun:
        """Stage 2 by one of ``TRAINED``, on a part of each film's patches."""
        run = TRAINED[method]()
        task = replace(run.task, patch_dropout=PatchDropout())
        length = epochs or run.training.epochs
        training = replace(run.training, epochs=length, validate_every_epochs=length)
        if self.is_rehearsal:
            training = SIZES[Preset.TINY]().rehearsal().distill.training
        return replace(run, task=task, training=training)


_TRAINED = (
    Trainings(num_pairs=3000, methods=(PAPER, CONDITIONED)),
    Trainings(num_pairs=10000, methods=(PAPER,), epochs=6),  # twice the steps of ten epochs of 3,000 pairs
    Trainings(num_pairs=3000, methods=(PAPER,), taught=(RANDOM_VECTORS,), num_stage_1=1),
    Trainings(num_pairs=10000, methods=(PAPER,), taught=(RANDOM_VECTORS,), epochs=6, num_stage_1=1),
    Trainings(num_pairs=900, methods=(PAPER,), num_stage_1=1, num_seeds=3, world=BLIND_WORLD),
    Trainings(num_pairs=900, methods=(CONDITIONED,), num_stage_1=1, world=BLIND_WORLD),
)
"""Some 80 processor minutes. Left out: 900 pairs, conditioned with 10,000 pairs, more than one Stage 2 of each Stage 1
where films show something, whole films, ten epochs of 10,000 pairs, and random vectors from other Stage 1."""


def sizes(*, is_rehearsal: bool) -> IllnessSizes:
    """As published, or so few patients and steps that every line runs and nothing is learnt."""
    tiny = SIZES[Preset.TINY]()
    if is_rehearsal:
        tiny = tiny.rehearsal()
    return IllnessSizes(
        num_pretraining_patients=tiny.num_pretraining_patients,
        num_encoder_patients=tiny.num_triplet_patients,
        pairs=(40, 60) if is_rehearsal else (900, 3000, 10000),
        num_masked_patients=tiny.num_masked_patients,
        num_outlined_pairs=60 if is_rehearsal else 3000,
        decoder=replace(tiny.decoder, num_seeds=2),
        num_blind_pairs=60 if is_rehearsal else 900,
        num_blind_downstream_patients=80 if is_rehearsal else 1000,
        trained=(Trainings(num_pairs=60, methods=(PAPER, CONDITIONED)),) if is_rehearsal else _TRAINED,
        num_downstream_patients=80 if is_rehearsal else 4000,
        image_size_px=tiny.image_size_px,
        mae=tiny.mae,
        ecg=tiny.ecg,
        labs=tiny.labs,
        measures=replace(ecg_measures_tiny(), training=tiny.labs.training),
        num_probe_seeds=dict(zip(FRACTIONS, (2, 2, 2) if is_rehearsal else (20, 10, 3), strict=True)),
        num_draws=20 if is_rehearsal else 500,
        is_rehearsal=is_rehearsal,
    )


@dataclass(frozen=True, kw_only=True)
class IllnessFolders(Folders):
    """Where the study keeps what."""

    most_pairs: int

    @property
    def pretraining(self) -> Path:
        """Films that Stage 1 learns from."""
        return self.pack(PRETRAINING, WORLD)

    def downstream(self, world: str = WORLD) -> Path:
        """Films with labels."""
        return self.pack(DOWNSTREAM, world)

    @property
    def masked(self) -> Path:
        """Films with outlines."""
        return self.pack(MASKED, WORLD)

    def pairs(self, number: int, world: str = WORLD) -> Path:
        """Films of the first so many patients with pairs."""
        return self.pack(TRIPLETS if number == self.most_pairs else f"{TRIPLETS}-{number}", world)

    def stage_1(self, seed: int) -> Path:
        """The run of a Stage 1."""
        return self.run(f"{MAE}-{seed}")
