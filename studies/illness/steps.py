"""The study's steps: embed films once, fit closed forms and probe what they predict, train Stage 2 and probe it.

A file of draws holds by "group|view|measure" what ``probe_draws`` returns. Whatever is compared has the same patients,
draws, label subsets and probe seeds, so every difference is paired.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pacx.data.packs.pack import Pack
from pacx.evaluation.embeddings import embed_each, embed_pack
from pacx.evaluation.probes.classification import ClassificationData
from pacx.evaluation.probes.low_data import FRACTIONS
from pacx.evaluation.statistics.bootstrap import patient_bootstrap
from pacx.evaluation.statistics.metrics import auroc, auroc_within
from pacx.modalities.controls import random_targets, with_shuffled_pairs
from pacx.modalities.targets import FrozenTargets, open_targets
from pacx.models.device import chosen_device
from pacx.models.encoders.folder import load_encoder
from pacx.models.encoders.names import MAE
from pacx.models.linear.ridge import design, ridge
from pacx.models.linear.whitening import principal_whitening
from pacx.models.vit_config import Pooling
from studies.illness.cohorts import tenths_of_films, true_acuity, true_physiology, variables
from studies.illness.design import CLOSED_FORMS, TAUGHT, TRAINED, IllnessFolders, IllnessSizes
from studies.illness.knowledge import errors_beyond, r2_draws
from studies.illness.names import (
    ACUITY,
    AREA,
    BOTH,
    CLOSED_FORM,
    EQUALLY_ILL,
    ORACLE,
    OWN,
    PAPERS_PROBE,
    R2,
    RANDOM_VECTORS,
    WITHIN,
)
from studies.stepwise.cohorts import ACUITY_TENTH, physiology_of
from studies.stepwise.probing import GROUPS, Measure, Reader, papers_probe, probe_draws, ridge_probe
from studies.stepwise.step import Study, StudyStep

MODALITIES = ("ecg", "labs")
FILMS = "films"
SOURCES: Mapping[str, tuple[str, ...]] = {"ECG": ("ecg",), "labs": ("labs",), "ECG and labs": MODALITIES}
"""Whose knowledge beyond acuity is asked for, films apart."""
_TRIPLETS, _DOWNSTREAM = "triplets", "downstream"


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


def _asked(study: IllnessStudy) -> _Asked:
    pack = Pack.open(study.folders.downstream)
    tenths = tenths_of_films(pack.patient_ids.tolist(), study.seed)[pack.rows("test")]
    return _Asked(
        data={
            group: ClassificationData.from_pack(pack, dataset=group, label_names=names)
            for group, names in GROUPS.items()
        },
        measures={AREA: auroc, WITHIN: lambda scores, labels, draws: auroc_within(scores, labels, tenths, draws)},
    )


def probed(
    study: IllnessStudy, features: Mapping[str, NDArray[np.float32]], readers: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """Draws of features of the labelled films, (N, D) by name, in which "" is a single one."""
    asked = _asked(study)
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


def key(group: str, reader: str, measure: str, name: str = "") -> str:
    """The name of an array of draws."""
    return "|".join([group, reader, measure, *([name] if name else [])])


@dataclass(frozen=True, kw_only=True)
class IllnessStep(StudyStep):
    """A step of this study."""

    study: IllnessStudy


@dataclass(frozen=True, kw_only=True)
class FilmsStep(IllnessStep):
    """Embed all films with a Stage 1 encoder: class token beside the mean of patches, (N, 2 D)."""

    stage_1: int

    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        """Features of the films with pairs, and of those with labels."""
        folders, encoder = self.study.folders, load_encoder(self.study.folders.stage_1(self.stage_1) / "encoder")
        packs = {_TRIPLETS: folders.pairs(folders.most_pairs), _DOWNSTREAM: folders.downstream}
        read = {each.value: encoder.pooled_by(each) for each in Pooling}
        return {
            name: np.concatenate(list(dict(embed_each(read, Pack.open(path), device=chosen_device())).values()), axis=1)
            for name, path in packs.items()
        }


def films_step(study: IllnessStudy, stage_1: int) -> FilmsStep:
    """The step that embeds with this Stage 1."""
    return FilmsStep(name=f"films mae {stage_1}", study=study, stage_1=stage_1)


def films(study: IllnessStudy, stage_1: int, name: str) -> NDArray[np.float32]:
    """What that step left of "triplets" or "downstream"."""
    with np.load(films_step(study, stage_1).file) as arrays:
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
    """

    method: str
    taught: str = ""
    num_pairs: int = 0
    stage_1: int
    seed: int = 0
    readers: tuple[str, ...] = (RIDGE,)

    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        """The bootstrap draws of every probe."""
        return probed(self.study, self.features(), self.readers)

    @abstractmethod
    def features(self) -> Mapping[str, NDArray[np.float32]]:
        """Features of the labelled films by pooling."""


@dataclass(frozen=True, kw_only=True)
class BaselineStep(ProbedStep):
    """A Stage 1 encoder, and both its poolings beside each other, which is what closed forms read."""

    readers: tuple[str, ...] = tuple(READERS)

    def features(self) -> Mapping[str, NDArray[np.float32]]:
        """By pooling; "" = the class token, as it is released."""
        array = films(self.study, self.stage_1, _DOWNSTREAM)
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

    def features(self) -> Mapping[str, NDArray[np.float32]]:
        """Predicted targets of the labelled films."""
        study, folders = self.study, self.study.folders
        whole, pack = (Pack.open(folders.pairs(number)) for number in (folders.most_pairs, self.num_pairs))
        fitting = pack.rows("train")
        ids = pack.sample_ids[fitting].tolist()
        row_of = {sample: row for row, sample in enumerate(whole.sample_ids)}
        known = films(study, self.stage_1, _TRIPLETS)[[row_of[sample] for sample in ids]]
        told = [self.taught_targets(each, pack, fitting).for_samples(ids) for each in self._targets(pack)]
        whitened = np.concatenate([principal_whitening(each)(each) for each in told], axis=1)
        fitted = ridge(design(known, pack.patient_ids[fitting]), whitened)
        kept = fitted.predict(films(study, self.stage_1, _DOWNSTREAM))[:, fitted.is_predicted]
        # nothing can be predicted: one feature that is the same for everybody
        return {"": kept.astype(np.float32) if kept.shape[1] else np.zeros((len(kept), 1), np.float32)}

    def _targets(self, pack: Pack) -> list[FrozenTargets]:
        if self.method == CLOSED_FORM:
            return open_targets([self.study.folders.targets(name) for name in MODALITIES])
        return [(true_physiology if self.method == ORACLE else true_acuity)(pack, self.study.seed)]

    def taught_targets(self, target: FrozenTargets, pack: Pack, fitting: NDArray[np.int64]) -> FrozenTargets:
        """Targets as this step is taught them; ``fitting`` are the pack's training rows."""
        if self.taught == EQUALLY_ILL:
            tenths = pack.table[ACUITY_TENTH].to_numpy()[fitting].tolist()
            return with_shuffled_pairs(target, pack.sample_ids[fitting].tolist(), seed=self.seed, strata=tenths)
        return random_targets(target, seed=self.seed) if self.taught == RANDOM_VECTORS else target


@dataclass(frozen=True, kw_only=True)
class TrainedStep(ProbedStep):
    """Train Stage 2 and probe what it releases."""

    readers: tuple[str, ...] = tuple(READERS)

    def features(self) -> Mapping[str, NDArray[np.float32]]:
        """Embeddings of the labelled films, class token."""
        folders = self.study.folders
        run = self.study.sizes.distill(self.method)
        run = replace(
            run,
            encoder=folders.stage_1(self.stage_1) / "encoder",
            pack=folders.pairs(self.num_pairs),
            targets=tuple(map(folders.targets, MODALITIES)),
            out=folders.run(self.name),
            training=replace(run.training, seed=self.seed),
            resume=True,
        )
        TAUGHT[self.taught](run).run()
        encoder = load_encoder(run.out / "encoder")
        return {"": embed_pack(encoder, Pack.open(folders.downstream), device=chosen_device())}


@dataclass(frozen=True, kw_only=True)
class KnowledgeStep(IllnessStep):
    """What one source knows of each variable of the body beyond acuity, over the patients with pairs.

    Args:
        source: in words.
        modalities: whose embeddings; none = films.
        stage_1: seed of the MAE that reads the films.
    """

    source: str
    modalities: tuple[str, ...] = ()
    stage_1: int | None = None

    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        """Draws (R, V) of R2."""
        study = self.study
        pack = Pack.open(study.folders.pairs(study.folders.most_pairs))
        physiology = physiology_of(pack.patient_ids.tolist(), study.seed)
        told, untold = errors_beyond(
            self._features(pack),
            np.stack(list(variables(physiology).values()), axis=1),
            physiology.acuity,
            pack.patient_ids.astype(str),
            seed=study.seed,
        )
        draws = patient_bootstrap(pack.patient_ids, num_draws=study.num_draws, seed=study.seed)
        return {R2: r2_draws(told, untold, draws).astype(np.float32), "n": np.array(len(pack))}

    def _features(self, pack: Pack) -> NDArray[np.generic]:
        if self.stage_1 is not None:
            return films(self.study, self.stage_1, _TRIPLETS)
        targets = open_targets([self.study.folders.targets(name) for name in self.modalities])
        return np.concatenate([each.for_samples(pack.sample_ids.tolist()) for each in targets], axis=1)


def all_steps(study: IllnessStudy, stage_1_seeds: Sequence[int], stage_2_seeds: Sequence[int]) -> list[IllnessStep]:
    """Every step that leaves draws, what decides most first.

    What is exchanged has every seed of Stage 2 with every Stage 1, random vectors have one, a closed form of own pairs
    needs none. What is trained takes every seed with another Stage 1 first: trainings differ by both.
    """
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
    for place, seed in enumerate(stage_2_seeds):
        for one in stage_1_seeds:
            steps += [
                ClosedFormStep(
                    name=f"{method} {number} {taught} mae {one} seed {seed}",
                    study=study, method=method, taught=taught, num_pairs=number, stage_1=one, seed=seed,
                )
                for number in reversed(study.sizes.pairs)
                for method, kinds in CLOSED_FORMS.items()
                for taught in kinds
                if place == 0 or taught == EQUALLY_ILL
            ]  # fmt: skip
    for shift in range(len(stage_2_seeds)):
        for place, one in enumerate(stage_1_seeds):
            seed = stage_2_seeds[(place + shift) % len(stage_2_seeds)]
            steps += [
                TrainedStep(
                    name=f"{method} {number} {taught} mae {one} seed {seed}",
                    study=study, method=method, taught=taught, num_pairs=number, stage_1=one, seed=seed,
                )
                for number in study.sizes.trained_pairs
                for method in TRAINED
                for taught in (OWN, EQUALLY_ILL)
            ]  # fmt: skip
    return steps
