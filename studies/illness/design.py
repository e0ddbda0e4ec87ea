"""What is compared: methods, what they are taught, by how many pairs, and how large everything is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pacx.evaluation.probes.low_data import FRACTIONS
from pacx.models.encoders.names import MAE
from pacx.recipes.distill import DistillRun, distill_tiny
from pacx.recipes.distill_variants import distill_sparse, distill_tiny_conditioned
from pacx.recipes.ecg import EcgRun
from pacx.recipes.labs import LabsRun
from pacx.recipes.mae import MAERun
from pacx.recipes.negative_controls import RandomTargetsRun, ShuffledPairsRun
from studies.illness.names import (
    CLOSED_FORM,
    CONDITIONED,
    EQUALLY_ILL,
    ORACLE,
    OWN,
    PAPER,
    RANDOM_VECTORS,
    READ_ACUITY,
)
from studies.simulated.design import IN_LIFE, SIZES, Preset
from studies.stepwise.cohorts import ACUITY_TENTH, DOWNSTREAM, PRETRAINING, TRIPLETS
from studies.stepwise.folders import Folders

WORLD = IN_LIFE.name
CLOSED_FORMS: Mapping[str, tuple[str, ...]] = {
    CLOSED_FORM: (OWN, EQUALLY_ILL, RANDOM_VECTORS),
    ORACLE: (OWN, EQUALLY_ILL),
    READ_ACUITY: (OWN,),
}
"""What each method in closed form is taught."""

TRAINED: Mapping[str, Callable[[], DistillRun]] = {PAPER: distill_tiny, CONDITIONED: distill_tiny_conditioned}
"""Recipes of what trains the encoder itself; each is run on a part of each film's patches, which costs a third."""

METHODS = (*CLOSED_FORMS, *TRAINED)

TAUGHT: Mapping[str, Callable[[DistillRun], DistillRun]] = {
    OWN: lambda run: run,
    EQUALLY_ILL: lambda run: run.taught_otherwise(ShuffledPairsRun, within=(ACUITY_TENTH,)),
    RANDOM_VECTORS: lambda run: run.taught_otherwise(RandomTargetsRun),
}
"""What is changed in a run of Stage 2, so that it is taught that."""


@dataclass(frozen=True, kw_only=True)
class IllnessSizes:
    """How large the study is; the runs still lack their folders.

    Args:
        num_pretraining_patients: Stage 1 learns from.
        num_encoder_patients: the first so many patients with pairs, of whom ECG and laboratory encoders learn.
        pairs: numbers of pairs, ascending; each is the first so many patients.
        trained_pairs: numbers of pairs by which Stage 2 itself is trained.
        num_downstream_patients: with labels.
        num_probe_seeds: on each share of the labels; each has a subset of its own.
        num_draws: of the bootstrap.
    """

    num_pretraining_patients: int
    num_encoder_patients: int
    pairs: tuple[int, ...]
    trained_pairs: tuple[int, ...]
    num_downstream_patients: int
    image_size_px: int
    mae: MAERun
    ecg: EcgRun
    labs: LabsRun
    num_probe_seeds: Mapping[float, int]
    num_draws: int
    is_rehearsal: bool

    def distill(self, method: str) -> DistillRun:
        """Stage 2 by one of ``TRAINED``, on a part of each film's patches."""
        run = TRAINED[method]()
        task = replace(run.task, patch_dropout=distill_sparse().task.patch_dropout)
        training = replace(run.training, validate_every_epochs=run.training.epochs)
        if self.is_rehearsal:
            training = SIZES[Preset.TINY]().rehearsal().distill.training
        return replace(run, task=task, training=training)


def sizes(*, is_rehearsal: bool) -> IllnessSizes:
    """As published, or so few patients and steps that every line runs and nothing is learnt."""
    tiny = SIZES[Preset.TINY]()
    if is_rehearsal:
        tiny = tiny.rehearsal()
    return IllnessSizes(
        num_pretraining_patients=tiny.num_pretraining_patients,
        num_encoder_patients=tiny.num_triplet_patients,
        pairs=(40, 60) if is_rehearsal else (900, 3000, 10000),
        trained_pairs=(60,) if is_rehearsal else (3000,),
        num_downstream_patients=80 if is_rehearsal else 4000,
        image_size_px=tiny.image_size_px,
        mae=tiny.mae,
        ecg=tiny.ecg,
        labs=tiny.labs,
        num_probe_seeds=dict(zip(FRACTIONS, (2, 2, 2) if is_rehearsal else (20, 10, 3), strict=True)),
        num_draws=20 if is_rehearsal else 500,
        is_rehearsal=is_rehearsal,
    )


@dataclass(frozen=True, kw_only=True)
class IllnessFolders(Folders):
    """Where the study keeps what."""

    most_pairs: int

    @property
    def simulated(self) -> Path:
        """The hospital."""
        return self.hospital(WORLD)

    @property
    def pretraining(self) -> Path:
        """Films that Stage 1 learns from."""
        return self.pack(PRETRAINING, WORLD)

    @property
    def downstream(self) -> Path:
        """Films with labels."""
        return self.pack(DOWNSTREAM, WORLD)

    def pairs(self, number: int) -> Path:
        """Films of the first so many patients with pairs."""
        return self.pack(TRIPLETS if number == self.most_pairs else f"{TRIPLETS}-{number}", WORLD)

    def stage_1(self, seed: int) -> Path:
        """The run of a Stage 1."""
        return self.run(f"{MAE}-{seed}")
