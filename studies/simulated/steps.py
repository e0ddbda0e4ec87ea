"""The study's steps: train and probe an encoder, decode its masks. Each is done in its own process and leaves one file.

A file of draws holds, for every group of labels and view of the encoder, the AUROC of its probes under every draw of
test patients, (F, R, L) for F shares of the labels, R draws and L labels, already the mean over probe seeds and label
subsets drawn anew in every draw. Equal seeds draw equally for every encoder, so whatever is subtracted is paired.
"""

import json
import resource
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pacx.core.artifacts import staged_file
from pacx.core.host import processor_lines
from pacx.core.provenance import provenance
from pacx.data.packs.pack import Pack
from pacx.evaluation.embeddings import embed_pack
from pacx.evaluation.masks.segmentation import decode_test_films
from pacx.evaluation.probes.classification import ClassificationData
from pacx.evaluation.probes.linear_heads import ProbeConfig
from pacx.evaluation.probes.low_data import FRACTIONS, train_low_data
from pacx.evaluation.statistics.bootstrap import mean_over_seeds, patient_bootstrap
from pacx.evaluation.statistics.metrics import auroc
from pacx.models.device import chosen_device
from pacx.models.encoders.by_name import NamedEncoder, random_like
from pacx.models.encoders.folder import LoadedEncoder, load_encoder
from pacx.models.encoders.names import MAE, PACX, RANDOM
from pacx.models.vit_config import Pooling
from pacx.simulation.patients.labels import ANATOMICAL, PHYSIOLOGY_DENSE
from studies.simulated.cohorts import DOWNSTREAM, ELSEWHERE, MASKED, TRIPLETS
from studies.simulated.design import CONDITIONS, IN_LIFE, NO_WIRES, WORLDS, Condition, StudyFolders, StudySizes, World
from studies.simulated.names import STANDARDIZED

GROUPS: Mapping[str, tuple[str, ...]] = {"physiology-dense": PHYSIOLOGY_DENSE, "anatomical": ANATOMICAL}
AWAY = "at the other site"
PROBE_SEEDS: Mapping[float, int] = {0.01: 20, 0.1: 10, 1.0: 5}
"""Probes per share of the labels, each with a subset of its own: a hundredth is a dozen films, hence a lottery."""
ABOUT = "about"


def chip() -> str:
    """The processor that does the arithmetic, by name."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    named = processor_lines("model name")
    return f"{named[0].partition(':')[2].strip()}, CPU" if named else "CPU"


def view(pooling: Pooling, *, standardize: bool = False) -> str:
    """How an encoder is looked at: "token" or "mean", perhaps standardized."""
    return f"{pooling.value}{f' {STANDARDIZED}' * standardize}"


def _carried(home: ClassificationData, away: Pack, dataset: str) -> ClassificationData:
    """Probes that learn and choose at home and are tested on the other site's films."""
    columns = [away.label_names.index(name) for name in home.label_names]
    return replace(
        home,
        dataset=dataset,
        labels=np.concatenate([home.labels, away.labels[:, columns]]),
        patient_ids=np.concatenate([home.patient_ids, away.patient_ids]),
        keys=np.concatenate([home.keys, away.keys]),
        test=len(home.keys) + np.arange(len(away)),
    )


@dataclass(frozen=True, kw_only=True)
class Study:
    """What all steps share."""

    folders: StudyFolders
    sizes: StudySizes
    seed: int


def probe_draws(
    study: Study, data: ClassificationData, features: NDArray[np.float32], *, standardize: bool
) -> NDArray[np.float32]:
    """AUROC of the probes on each share of the labels, (F, 1 + num_draws, L)."""
    seed, num_draws = study.seed, study.sizes.num_draws
    draws = patient_bootstrap(data.patient_ids[data.test], num_draws=num_draws, seed=seed)
    found = []
    for fraction in FRACTIONS:
        config = ProbeConfig(seed=seed, num_seeds=PROBE_SEEDS[fraction], standardize=standardize)
        heads = train_low_data(data, features, (fraction,), config=config, device=chosen_device())
        scores = [auroc(chance, data.labels[data.test], draws) for chance in heads.probabilities(features[data.test])]
        found.append(mean_over_seeds(np.stack(scores), seed=seed))
    return np.stack(found).astype(np.float32)


def probed(
    study: Study,
    encoder: LoadedEncoder,
    world: World,
    *,
    poolings: tuple[Pooling, ...],
    is_followed: bool,
) -> dict[str, NDArray[np.float32]]:
    """Draws by "group|view"; in life at the other site too, followed encoders with standardized features as well."""
    pack = Pack.open(study.folders.pack(DOWNSTREAM, world.name))
    away = Pack.open(study.folders.pack(DOWNSTREAM, ELSEWHERE)) if world == IN_LIFE else None
    found: dict[str, NDArray[np.float32]] = {}
    for pooling in poolings:
        pooled = encoder.pooled_by(pooling)
        home = embed_pack(pooled, pack, device=chosen_device())
        both = None if away is None else np.concatenate([home, embed_pack(pooled, away, device=chosen_device())])
        for group, names in GROUPS.items():
            data = ClassificationData.from_pack(pack, dataset=group, label_names=names)
            for standardize in (False, True) if is_followed else (False,):
                key = f"{group}|{view(pooling, standardize=standardize)}"
                found[key] = probe_draws(study, data, home, standardize=standardize)
            if away is not None and both is not None:
                carried = _carried(data, away, f"{group} {AWAY}")
                key = f"{carried.dataset}|{view(pooling)}"
                found[key] = probe_draws(study, carried, both, standardize=False)
    return found


@dataclass(frozen=True, kw_only=True)
class StudyStep(ABC):
    """Something that leaves one file of arrays; done once."""

    name: str
    study: Study

    @property
    def file(self) -> Path:
        """Where its arrays are."""
        return self.study.folders.scores(self.name)

    def is_of(self, encoders: Sequence[str]) -> bool:
        """Whether it is about one of these encoders, or about the MAE; about anything if none is named."""
        return not encoders or self.named.startswith(MAE) or self.named in encoders

    @property
    @abstractmethod
    def named(self) -> str:
        """The encoder it is about, as in result rows."""

    @abstractmethod
    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        """Do the step's work and return the arrays to keep."""

    def run(self) -> str:
        """Do it unless it is done, in one thread; returns its name."""
        if self.file.exists():
            return self.name
        began, used = time.monotonic(), _processor_seconds()
        arrays = self.arrays()
        about = {
            "seconds": round(time.monotonic() - began, 1),
            "processor_seconds": round(_processor_seconds() - used, 1),
            "commit": provenance("study", self.study.seed).commit,
            "chip": chip(),
        }
        with staged_file(self.file) as partial, partial.open("wb") as stream:
            kept: dict[str, Any] = {**arrays, ABOUT: np.array(json.dumps(about))}
            np.savez(stream, **kept)
        return self.name


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@dataclass(frozen=True, kw_only=True)
class BaselineStep(StudyStep):
    """Probe an encoder that no Stage 2 has seen, on both poolings, in one world."""

    encoder: str
    world: World

    @property
    def named(self) -> str:
        """The encoder it is about, as in result rows."""
        return str(self.world.subject(self.encoder))

    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        """The bootstrap draws of every probe of the encoder."""
        return probed(
            self.study,
            open_baseline(self.study, self.encoder),
            self.world,
            poolings=tuple(Pooling),
            is_followed=self.world == IN_LIFE,
        )


def open_baseline(study: Study, name: str) -> LoadedEncoder:
    """The Stage 1 encoder, or one of its shape that has seen nothing."""
    stage_1 = load_encoder(study.folders.mae)
    if name == MAE:
        return stage_1
    untrained = random_like(NamedEncoder(name=MAE, encoder=stage_1), study.seed).encoder
    assert isinstance(untrained, LoadedEncoder)
    return untrained


@dataclass(frozen=True, kw_only=True)
class Stage2Step(StudyStep):
    """Train one condition with one seed and probe what it releases."""

    condition_number: int
    seed: int

    @property
    def condition(self) -> Condition:
        """The Stage 2 that this step trains."""
        return CONDITIONS[self.condition_number]

    @property
    def named(self) -> str:
        """The encoder it is about, as in result rows."""
        return str(self.condition.subject)

    @property
    def out(self) -> Path:
        """The folder in which the step trains."""
        return self.study.folders.stage_2(self.condition, self.seed)

    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        """Train, go on with a run that was killed, then draws."""
        sizes, folders, condition = self.study.sizes, self.study.folders, self.condition
        run = replace(
            sizes.distill,
            encoder=folders.mae,
            pack=folders.pack(TRIPLETS, condition.world.name),
            targets=tuple(folders.run(name) / "targets" for name in ("ecg", "labs")),
            out=self.out,
            training=replace(sizes.distill.training, seed=self.seed),
            resume=True,
        )
        condition.adapted(run).run()
        encoder = load_encoder(self.out / "encoder")
        is_whole = condition.is_followed
        poolings = tuple(Pooling) if is_whole else (encoder.pooling,)
        found = probed(self.study, encoder, condition.world, poolings=poolings, is_followed=is_whole)
        if condition.name == PACX and condition.world == IN_LIFE:  # the same encoder where wires are taken away
            without = probed(self.study, encoder, NO_WIRES, poolings=(encoder.pooling,), is_followed=False)
            found |= {f"{NO_WIRES.name}|{key}": draws for key, draws in without.items()}
        return found


@dataclass(frozen=True, kw_only=True)
class MaskStep(StudyStep):
    """Train decoders on an encoder's patch tokens and count pixels on the test films.

    Args:
        encoder: the MAE, random weights, or PaCX.
        decoder_seeds: one decoder each; arrays are stacked in this order.
        seed: of Stage 2, where there was one.
    """

    encoder: str
    decoder_seeds: tuple[int, ...]
    seed: int = 0

    @property
    def named(self) -> str:
        """The encoder it is about, as in result rows."""
        return self.encoder

    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        """Counts, each (D, N, K) for D decoders."""
        folders = self.study.folders
        if self.encoder == PACX:
            encoder = load_encoder(folders.stage_2(CONDITIONS[0], self.seed) / "encoder")
        else:
            encoder = open_baseline(self.study, self.encoder)
        counts = decode_test_films(
            Pack.open(folders.pack(MASKED, IN_LIFE.name)),
            encoder,
            name=self.encoder,
            config=self.study.sizes.decoder,
            seeds=[self.study.seed + seed for seed in self.decoder_seeds],
            device=chosen_device(),
        )
        names = ("intersection", "predicted", "inside", "judged")
        return {name: np.stack([getattr(count, name) for count in counts]) for name in names}


def all_steps(study: Study, stage_2_seeds: tuple[int, ...]) -> list[StudyStep]:
    """Every step, what decides most first; a step of masks comes after the run it decodes.

    The MAE and random weights get every decoder seed; PaCX's runs share them out, so that pairs of equal decoder seed
    resample decoders and Stage 2 at once.
    """
    steps: list[StudyStep] = [
        BaselineStep(name=str(world.subject(MAE)), encoder=MAE, world=world, study=study) for world in WORLDS
    ]
    steps += [BaselineStep(name=RANDOM, encoder=RANDOM, world=IN_LIFE, study=study)]
    decoders = tuple(study.sizes.decoder.seeds)
    steps += [
        MaskStep(name=f"masks {name}", encoder=name, decoder_seeds=decoders, study=study) for name in (MAE, RANDOM)
    ]
    for number_of_seed, one in enumerate(stage_2_seeds):
        steps += [
            Stage2Step(name=f"{condition.subject} seed {one}", condition_number=number, seed=one, study=study)
            for number, condition in enumerate(CONDITIONS)
        ]
        shared = decoders[number_of_seed :: len(stage_2_seeds)]
        if shared:
            steps += [
                MaskStep(name=f"masks {PACX} seed {one}", encoder=PACX, decoder_seeds=shared, seed=one, study=study)
            ]
    return steps
