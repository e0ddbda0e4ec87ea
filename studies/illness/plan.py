"""Which steps the study consists of, in which order."""

from collections.abc import Mapping, Sequence

import numpy as np

from pacx.models.encoders.names import MAE
from studies.illness.design import AFTER_TRAINING, BLIND_WORLD, CLOSED_FORMS, WORLD, Trainings
from studies.illness.knowledge import KnowledgeStep
from studies.illness.masks import mask_steps
from studies.illness.names import ACUITY, CLOSED_FORM, EQUALLY_ILL, OF_ECG_AND_MEASURES, OF_MEASURES, OWN
from studies.illness.steps import (
    AcuityStep,
    BaselineStep,
    ClosedFormStep,
    IllnessStep,
    IllnessStudy,
    in_world,
)
from studies.illness.training import AfterTrainingStep, TrainedStep

FILMS = "films"
SOURCES: Mapping[str, tuple[str, ...]] = {
    "ECG": ("ecg",),
    "ECG measures": ("ecg-measures",),
    "labs": ("labs",),
    "ECG and labs": ("ecg", "labs"),
}
"""Whose knowledge beyond acuity is asked for, films apart."""
_ONE_EXCHANGE = (OF_MEASURES, OF_ECG_AND_MEASURES)
"""Methods whose pairs are exchanged once for each Stage 1."""


def all_steps(study: IllnessStudy, stage_1_seeds: Sequence[int], stage_2_seeds: Sequence[int]) -> list[IllnessStep]:
    """Every step that leaves draws, what decides most first."""
    steps: list[IllnessStep] = [AcuityStep(name=ACUITY, study=study)]
    for one in stage_1_seeds:
        steps.append(BaselineStep(name=f"{MAE} {one}", study=study, method=MAE, stage_1=one))
    steps += [
        KnowledgeStep(name=f"knowledge {called}", study=study, source=called, modalities=modalities)
        for called, modalities in SOURCES.items()
    ]
    steps += [
        KnowledgeStep(name=f"knowledge films {one}", study=study, source=FILMS, stage_1=one) for one in stage_1_seeds
    ]
    steps += _in_closed_form(study, stage_1_seeds, stage_2_seeds)
    steps += _blind(study, stage_1_seeds[0], stage_2_seeds)
    for trainings in study.sizes.trained:
        steps += _trained(study, trainings, stage_1_seeds, stage_2_seeds)
    return [*steps, *_after_training(steps), *mask_steps(steps)]


def _in_closed_form(
    study: IllnessStudy, stage_1_seeds: Sequence[int], stage_2_seeds: Sequence[int]
) -> list[ClosedFormStep]:
    """Most pairs are exchanged with every seed for each Stage 1; random vectors have one, own pairs need none."""
    return [
        _closed_form(study, method, taught, number, one, seed)
        for place, seed in enumerate(stage_2_seeds)
        for one in stage_1_seeds
        for number in reversed(study.sizes.pairs)
        for method, kinds in CLOSED_FORMS.items()
        for taught in kinds
        if place == 0 or (taught == EQUALLY_ILL and method not in _ONE_EXCHANGE)
    ]


def _blind(study: IllnessStudy, stage_1: int, stage_2_seeds: Sequence[int]) -> list[IllnessStep]:
    """One Stage 1 and its closed form where films show nothing."""
    number = study.sizes.num_blind_pairs
    return [
        BaselineStep(
            name=f"{MAE} {stage_1}{in_world(BLIND_WORLD)}",
            study=study,
            method=MAE,
            stage_1=stage_1,
            world=BLIND_WORLD,
        ),
        *(
            _closed_form(study, CLOSED_FORM, taught, number, stage_1, seed, BLIND_WORLD)
            for place, seed in enumerate(stage_2_seeds)
            for taught in (OWN, EQUALLY_ILL)
            if place == 0 or taught == EQUALLY_ILL
        ),
    ]


def _closed_form(
    study: IllnessStudy, method: str, taught: str, number: int, stage_1: int, seed: int, world: str = WORLD
) -> ClosedFormStep:
    return ClosedFormStep(
        name=f"{method} {number} {taught} mae {stage_1} seed {seed}{in_world(world)}",
        study=study,
        method=method,
        taught=taught,
        num_pairs=number,
        stage_1=stage_1,
        seed=seed,
        world=world,
    )


def _after_training(steps: Sequence[IllnessStep]) -> list[AfterTrainingStep]:
    """Closed forms of what those of the steps leave that train."""
    return [
        AfterTrainingStep(
            name=step.name.replace(step.method, method, 1),
            study=step.study,
            method=method,
            taught=step.taught,
            num_pairs=step.num_pairs,
            stage_1=step.stage_1,
            seed=step.seed,
            world=step.world,
            after=step,
        )
        for step in steps
        if isinstance(step, TrainedStep)
        for method in AFTER_TRAINING.get(step.method, ())
    ]


def _trained(
    study: IllnessStudy, trainings: Trainings, stage_1_seeds: Sequence[int], stage_2_seeds: Sequence[int]
) -> list[TrainedStep]:
    """Each Stage 1 begins with another seed of Stage 2, so that trainings differ by both; no seed comes twice."""
    return [
        TrainedStep(
            name=f"{method} {trainings.num_pairs} {taught} mae {one} seed {seed}{in_world(trainings.world)}",
            study=study,
            method=method,
            taught=taught,
            num_pairs=trainings.num_pairs,
            world=trainings.world,
            epochs=trainings.epochs,
            stage_1=one,
            seed=seed,
        )
        for method in trainings.methods
        for place, one in enumerate(stage_1_seeds[: trainings.num_stage_1])
        for seed in np.roll(stage_2_seeds, -place).tolist()[: trainings.num_seeds]
        for taught in trainings.taught
    ]
