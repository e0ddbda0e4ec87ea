"""Outlines: does an encoder that Stage 2 has changed still show where lungs and heart are, as its MAE does?

Decoders with the same seeds on the patch tokens of either are compared. A closed form leaves patch tokens as they are,
so nothing has to be asked of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pacx.core.randomness import seed_of
from pacx.data.packs.pack import Pack
from pacx.evaluation.masks.overlap import MaskOverlap
from pacx.evaluation.masks.segmentation import PROTOCOL as SEGMENTATION
from pacx.evaluation.masks.segmentation import decode_test_films
from pacx.evaluation.results import ResultRow, Subject
from pacx.evaluation.statistics.bootstrap import (
    Float,
    PatientDraws,
    RowMaker,
    mean_over_seeds,
    patient_bootstrap,
    with_differences,
)
from pacx.models.device import chosen_device
from pacx.models.encoders.folder import load_encoder
from studies.illness.names import HOSPITAL, baseline, subject
from studies.illness.steps import BaselineStep, IllnessStep, IllnessStudy
from studies.illness.training import TrainedStep
from studies.stepwise.finished import Finished, origin

_COUNTS = ("intersection", "predicted", "inside", "judged")


@dataclass(frozen=True, kw_only=True)
class MaskStep(IllnessStep):
    """Train decoders on an encoder's patch tokens and count pixels of the test films.

    Args:
        of: the step that leaves the encoder, which is done before.
    """

    of: BaselineStep | TrainedStep

    @property
    def subject(self) -> Subject:
        """The encoder in result rows."""
        return subject(self.of.method, self.of.num_pairs, self.of.taught) if self.of.taught else baseline()

    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        """Counts, each (D, N, K) for D decoders, N films and K masks."""
        study = self.study
        counts = decode_test_films(
            Pack.open(study.folders.masked),
            load_encoder(self.of.encoder),
            name=self.of.name,
            config=study.sizes.decoder,
            seeds=list(study.sizes.decoder.seeds),
            device=chosen_device(),
        )
        return {name: np.stack([getattr(count, name) for count in counts]) for name in _COUNTS}


def mask_steps(steps: Sequence[IllnessStep]) -> list[MaskStep]:
    """One for every Stage 1, and for every Stage 2 that was taught own pairs on films as they are."""
    return [
        MaskStep(name=f"masks {step.name}", study=step.study, of=step)
        for step in steps
        if isinstance(step, BaselineStep | TrainedStep) and step.is_outlined
    ]


def _iou(arrays: Mapping[str, NDArray[np.generic]], draws: PatientDraws) -> Float:
    """(R, K), mean over decoders."""
    num_decoders = len(arrays[_COUNTS[0]])
    counts = [
        MaskOverlap(**{name: arrays[name][place].astype(np.int64) for name in _COUNTS}) for place in range(num_decoders)
    ]
    return np.stack([draws.weighted_mean(count.iou()) for count in counts]).mean(axis=0)


def mask_rows(done: Finished[IllnessStudy], remark: str) -> list[ResultRow]:
    """IoU of every encoder and, less the MAE's, over the Stage 1 seeds that all have, which are drawn anew."""
    steps = [step for step in done.steps if isinstance(step, MaskStep)]
    if not steps:
        return []
    study = done.study
    pack = Pack.open(study.folders.masked)
    test = pack.rows("test")
    draws = patient_bootstrap(pack.patient_ids[test], num_draws=study.num_draws, seed=study.seed)
    each: dict[Subject, dict[int, Float]] = {}
    for step in steps:
        each.setdefault(step.subject, {})[step.of.stage_1] = _iou(done.files[step.name], draws)
    common = sorted(set.intersection(*(set(found) for found in each.values())))
    if not common:
        return []
    values = {
        str(name): mean_over_seeds(np.stack([found[one] for one in common]), seed=seed_of(study.seed, "stage 1"))
        for name, found in each.items()
    }
    maker = RowMaker(
        protocol=SEGMENTATION,
        dataset=HOSPITAL,
        seed=study.seed,
        provenance=origin(remark, [done.about(step) for step in steps]),
        subjects={str(name): name for name in each},
        num_trainings=len(common),
    )
    said = f"{len(common)} Stage 1 seeds, {study.sizes.decoder.num_seeds} decoder seeds"
    return [
        maker.row(column, column.draws[:, k], label=mask, n=len(test), remark=said)
        for column in with_differences(values, "iou", str(baseline()) if baseline() in each else None)
        for k, mask in enumerate(pack.mask_names)
    ]
