"""The study's steps: train and probe an encoder, decode its masks. Each is done in its own process and leaves one file.

A file of draws holds, for every group of labels and view of the encoder, the AUROC of its probes under every draw of
test patients, (F, R, L) for F shares of the labels, R draws and L labels, already the mean over probe seeds and label
subsets drawn anew in every draw. Equal seeds draw equally for every encoder, so whatever is subtracted is paired.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.data.packs.pack import Pack
from pacx.evaluation.embeddings import embed_pack
from pacx.evaluation.masks.segmentation import decode_test_films
from pacx.evaluation.probes.classification import ClassificationData
from pacx.models.device import chosen_device
from pacx.models.encoders.by_name import NamedEncoder, random_like
from pacx.models.encoders.folder import LoadedEncoder, load_encoder
from pacx.models.encoders.names import MAE, PACX, RANDOM
from pacx.models.vit_config import Pooling
from pacx.simulation.patients.labels import LABEL_GROUPS
from studies.simulated.cohorts import ELSEWHERE
from studies.simulated.design import CONDITIONS, IN_LIFE, NO_WIRES, WORLDS, Condition, StudyFolders, StudySizes, World
from studies.simulated.names import STANDARDIZED
from studies.stepwise.cohorts import DOWNSTREAM, MASKED, TRIPLETS
from studies.stepwise.probing import papers_probe, probe_draws
from studies.stepwise.step import Study, StudyStep

AWAY = "at the other site"


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
class HospitalStudy(Study):
    """What all steps share, with the sizes that the steps are of."""

    folders: StudyFolders
    sizes: StudySizes


@dataclass(frozen=True, kw_only=True)
class HospitalStep(StudyStep):
    """A step about one encoder."""

    study: HospitalStudy

    @property
    @abstractmethod
    def named(self) -> str:
        """The encoder it is about, as in result rows."""

    def is_of(self, encoders: Sequence[str]) -> bool:
        """Whether it is about one of these encoders, or about the MAE; about anything if none is named."""
        return not encoders or self.named.startswith(MAE) or self.named in encoders


def probed(
    study: HospitalStudy,
    encoder: LoadedEncoder,
    world: World,
    *,
    poolings: tuple[Pooling, ...],
    is_followed: bool,
) -> dict[str, NDArray[np.float32]]:
    """Draws by "group|view"; in life at the other site too, followed encoders with standardized features as well."""
    pack = Pack.open(study.folders.pack(DOWNSTREAM, world.name))
    away = Pack.open(study.folders.pack(DOWNSTREAM, ELSEWHERE)) if world == IN_LIFE else None
    num_seeds = study.sizes.num_probe_seeds
    found: dict[str, NDArray[np.float32]] = {}
    for pooling in poolings:
        pooled = encoder.pooled_by(pooling)
        home = embed_pack(pooled, pack, device=chosen_device())
        both = None if away is None else np.concatenate([home, embed_pack(pooled, away, device=chosen_device())])
        for group, names in LABEL_GROUPS.items():
            data = ClassificationData.from_pack(pack, dataset=group, label_names=names)
            for standardize in (False, True) if is_followed else (False,):
                key = f"{group}|{view(pooling, standardize=standardize)}"
                read = papers_probe(standardize=standardize)
                found[key] = probe_draws(study, data, home, read=read, num_seeds=num_seeds)["auroc"]
            if away is not None and both is not None:
                carried = _carried(data, away, f"{group} {AWAY}")
                key = f"{carried.dataset}|{view(pooling)}"
                read = papers_probe()
                found[key] = probe_draws(study, carried, both, read=read, num_seeds=num_seeds)["auroc"]
    return found


@dataclass(frozen=True, kw_only=True)
class BaselineStep(HospitalStep):
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


def open_baseline(study: HospitalStudy, name: str) -> LoadedEncoder:
    """The Stage 1 encoder, or one of its shape that has seen nothing."""
    stage_1 = load_encoder(study.folders.mae)
    if name == MAE:
        return stage_1
    untrained = random_like(NamedEncoder(name=MAE, encoder=stage_1), study.seed).encoder
    assert isinstance(untrained, LoadedEncoder)
    return untrained


@dataclass(frozen=True, kw_only=True)
class Stage2Step(HospitalStep):
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
            targets=tuple(map(folders.targets, ("ecg", "labs"))),
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
class MaskStep(HospitalStep):
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


def all_steps(study: HospitalStudy, stage_2_seeds: tuple[int, ...]) -> list[HospitalStep]:
    """Every step, what decides most first; a step of masks comes after the run it decodes.

    The MAE and random weights get every decoder seed; PaCX's runs share them out, so that pairs of equal decoder seed
    resample decoders and Stage 2 at once.
    """
    steps: list[HospitalStep] = [
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
