"""The study's steps: embed films once, fit closed forms and probe what they predict.

A file of draws holds by "group|view|measure" what ``probe_draws`` returns. Whatever is compared has the same patients,
draws, label subsets and probe seeds, so every difference is paired.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.data.packs.pack import Pack
from pacx.evaluation.embeddings import embed_each
from pacx.evaluation.probes.classification import ClassificationData
from pacx.evaluation.probes.low_data import FRACTIONS
from pacx.evaluation.statistics.bootstrap import patient_bootstrap
from pacx.evaluation.statistics.metrics import auroc, auroc_within
from pacx.modalities.controls import random_targets, with_shuffled_pairs
from pacx.modalities.targets import FrozenTargets, open_targets
from pacx.models.device import chosen_device
from pacx.models.encoders.folder import load_encoder
from pacx.models.linear.ridge import design, ridge
from pacx.models.linear.whitening import principal_whitening
from pacx.models.vit_config import Pooling
from pacx.simulation.patients.labels import LABEL_GROUPS
from studies.illness.cohorts import tenths_of_films, true_acuity, true_physiology
from studies.illness.design import TOWARDS, WORLD, IllnessFolders, IllnessSizes
from studies.illness.names import (
    AREA,
    BOTH,
    EQUALLY_ILL,
    ORACLE,
    PAPERS_PROBE,
    RANDOM_VECTORS,
    WITHIN,
)
from studies.stepwise.cohorts import ACUITY_TENTH, DOWNSTREAM, TRIPLETS, physiology_of
from studies.stepwise.probing import Measure, Reader, papers_probe, probe_draws, ridge_probe
from studies.stepwise.step import Study, StudyStep


@dataclass(frozen=True, kw_only=True)
class IllnessStudy(Study):
    """What all steps share, with the sizes that the steps are of."""

    folders: IllnessFolders
    sizes: IllnessSizes


RIDGE = "ridge"
READERS: Mapping[str, Reader] = {RIDGE: ridge_probe, PAPERS_PROBE: papers_probe()}


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """The labelled films, and what probes are asked of them."""

    data: Mapping[str, ClassificationData]
    measures: Mapping[str, Measure]


def _asked(study: IllnessStudy, world: str = WORLD) -> _Asked:
    pack = Pack.open(study.folders.downstream(world))
    tenths = tenths_of_films(pack.patient_ids.tolist(), study.seed)[pack.rows("test")]
    return _Asked(
        data={
            group: ClassificationData.from_pack(pack, dataset=group, label_names=names)
            for group, names in LABEL_GROUPS.items()
        },
        measures={AREA: auroc, WITHIN: lambda scores, labels, draws: auroc_within(scores, labels, tenths, draws)},
    )


def probed(
    study: IllnessStudy, features: Mapping[str, NDArray[np.float32]], readers: Sequence[str], world: str = WORLD
) -> dict[str, NDArray[np.float32]]:
    """Draws of features of the labelled films, (N, D) by name, in which "" is a single one."""
    asked = _asked(study, world)
    found: dict[str, NDArray[np.float32]] = {}
    for group, data in asked.data.items():
        for name, array in features.items():
            for reader in readers:
                draws = probe_draws(
                    study,
                    data,
                    array,
                    read=READERS[reader],
                    measures=asked.measures,
                    num_seeds=study.sizes.num_probe_seeds,
                )
                found |= {key(group, reader, measure, name): values for measure, values in draws.items()}
    return found


def in_world(world: str) -> str:
    """The end of a step's name: nothing where films are as they are."""
    return "" if world == WORLD else f" {world}"


def key(group: str, reader: str, measure: str, name: str = "") -> str:
    """The name of an array of draws."""
    return "|".join([group, reader, measure, *([name] if name else [])])


@dataclass(frozen=True, kw_only=True)
class IllnessStep(StudyStep):
    """A step of this study."""

    study: IllnessStudy


@dataclass(frozen=True, kw_only=True)
class FilmsStep(IllnessStep):
    """Embed films with an encoder: class token beside the mean of patches, (N, 2 D).

    Args:
        encoder: its folder.
        num_pairs: of which films with pairs are embedded.
        world: of all films.
    """

    encoder: Path
    num_pairs: int
    world: str = WORLD

    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        """Features of the films with pairs, and of those with labels."""
        folders, encoder = self.study.folders, load_encoder(self.encoder)
        packs = {TRIPLETS: folders.pairs(self.num_pairs, self.world), DOWNSTREAM: folders.downstream(self.world)}
        read = {each.value: encoder.pooled_by(each) for each in Pooling}
        return {
            name: np.concatenate(list(dict(embed_each(read, Pack.open(path), device=chosen_device())).values()), axis=1)
            for name, path in packs.items()
        }


def films_step(study: IllnessStudy, stage_1: int, world: str = WORLD) -> FilmsStep:
    """The step that embeds all of a world's films with this Stage 1."""
    return FilmsStep(
        name=f"films mae {stage_1}{in_world(world)}",
        study=study,
        encoder=study.folders.stage_1(stage_1) / "encoder",
        num_pairs=study.sizes.most_pairs(world),
        world=world,
    )


def films(study: IllnessStudy, stage_1: int, name: str, world: str = WORLD) -> NDArray[np.float32]:
    """What that step left of "triplets" or "downstream"."""
    return embedded(films_step(study, stage_1, world), name)


def embedded(step: FilmsStep, name: str) -> NDArray[np.float32]:
    """What a step left of "triplets" or "downstream"."""
    with np.load(step.file) as arrays:
        return np.asarray(arrays[name])


@dataclass(frozen=True, kw_only=True)
class ProbedStep(IllnessStep):
    """A step that leaves draws of one encoder.

    Args:
        method: in the words of ``names``.
        taught: what by.
        num_pairs: how many; 0 where there are none.
        stage_1: seed of the MAE behind it.
        seed: of Stage 2, of the exchange and of random vectors.
        readers: by which probes it is read; the paper's is for embeddings of encoders.
        world: of all films.
    """

    method: str
    taught: str = ""
    num_pairs: int = 0
    stage_1: int
    seed: int = 0
    readers: tuple[str, ...] = (RIDGE,)
    world: str = WORLD

    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        """The bootstrap draws of every probe."""
        return probed(self.study, self.features(), self.readers, self.world)

    @abstractmethod
    def features(self) -> Mapping[str, NDArray[np.float32]]:
        """Features of the labelled films by pooling."""


@dataclass(frozen=True, kw_only=True)
class BaselineStep(ProbedStep):
    """A Stage 1 encoder, and both its poolings beside each other, which is what closed forms read."""

    readers: tuple[str, ...] = tuple(READERS)

    @property
    def encoder(self) -> Path:
        """The folder of the encoder."""
        return self.study.folders.stage_1(self.stage_1) / "encoder"

    @property
    def is_outlined(self) -> bool:
        """Whether its patch tokens are asked for outlines."""
        return self.world == WORLD

    def features(self) -> Mapping[str, NDArray[np.float32]]:
        """By pooling; "" = the class token, as it is released."""
        array = films(self.study, self.stage_1, DOWNSTREAM, self.world)
        return {"": np.split(array, len(Pooling), axis=1)[list(Pooling).index(Pooling.CLASS_TOKEN)], BOTH: array}


@dataclass(frozen=True, kw_only=True)
class AcuityStep(IllnessStep):
    """How ill a test patient truly is, as the score of every label: a number that no probe has to read."""

    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        """Draws as of probes, the same for every share of the labels."""
        asked, found = _asked(self.study), {}
        for group, data in asked.data.items():
            patients, truth = data.patient_ids[data.test], data.labels[data.test]
            acuity = physiology_of(patients.tolist(), self.study.seed).acuity
            scores = np.repeat(acuity[:, None], truth.shape[1], axis=1)
            draws = patient_bootstrap(patients, num_draws=self.study.num_draws, seed=self.study.seed)
            for name, measure in asked.measures.items():
                values = measure(scores, truth, draws).astype(np.float32)
                found[key(group, RIDGE, name)] = np.stack([values] * len(FRACTIONS))
        return found


@dataclass(frozen=True, kw_only=True)
class ClosedFormStep(ProbedStep):
    """Ridge from frozen films to targets, penalties by leaving patients out; probes see the targets it predicts."""

    @property
    def read(self) -> FilmsStep:
        """The step that leaves the films' embeddings."""
        return films_step(self.study, self.stage_1, self.world)

    def features(self) -> Mapping[str, NDArray[np.float32]]:
        """Predicted targets of the labelled films."""
        read, folders = self.read, self.study.folders
        whole, pack = (Pack.open(folders.pairs(number, self.world)) for number in (read.num_pairs, self.num_pairs))
        fitting = pack.rows("train")
        ids = pack.sample_ids[fitting].tolist()
        row_of = {sample: row for row, sample in enumerate(whole.sample_ids)}
        known = embedded(read, TRIPLETS)[[row_of[sample] for sample in ids]]
        told = [self.taught_targets(each, pack, fitting).for_samples(ids) for each in self._targets(pack)]
        whitened = np.concatenate([principal_whitening(each)(each) for each in told], axis=1)
        fitted = ridge(design(known, pack.patient_ids[fitting]), whitened)
        return {"": fitted.read(embedded(read, DOWNSTREAM))}

    def _targets(self, pack: Pack) -> list[FrozenTargets]:
        if self.method in TOWARDS:
            return open_targets([self.study.folders.targets(name) for name in TOWARDS[self.method]])
        return [(true_physiology if self.method == ORACLE else true_acuity)(pack, self.study.seed)]

    def taught_targets(self, target: FrozenTargets, pack: Pack, fitting: NDArray[np.int64]) -> FrozenTargets:
        """Targets as this step is taught them; ``fitting`` are the pack's training rows."""
        if self.taught == EQUALLY_ILL:
            tenths = pack.table[ACUITY_TENTH].to_numpy()[fitting].tolist()
            ids, patients = pack.sample_ids[fitting].tolist(), pack.patient_ids[fitting].tolist()
            return with_shuffled_pairs(target, ids, patients, seed=self.seed, strata=tenths)
        return random_targets(target, seed=self.seed) if self.taught == RANDOM_VECTORS else target
