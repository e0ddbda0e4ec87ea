"""Stage 3 of the demo: every protocol on every encoder, ending in result rows and a folder of pictures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from pacx.core.artifacts import read_json
from pacx.core.errors import ModelError
from pacx.core.workers import Workers
from pacx.data.packs.pack import Pack
from pacx.demo.folders import DemoFolders
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.embeddings import embed_each
from pacx.evaluation.evidence.attention import attention
from pacx.evaluation.masks.segmentation import SegmentationConfig, segmentation
from pacx.evaluation.probes.alignment import AlignmentConfig, AlignmentData, alignment, rows_with_targets
from pacx.evaluation.probes.classification import ClassificationData
from pacx.evaluation.probes.linear_heads import ProbeConfig
from pacx.evaluation.probes.linear_probe import linear_probe
from pacx.evaluation.probes.low_data import low_data
from pacx.evaluation.results import ResultRow, Subject
from pacx.modalities.targets import FrozenTargets
from pacx.models.encoders.by_name import NamedEncoder, encoder_from_folder, imagenet_encoder, random_like
from pacx.models.encoders.film_encoder import FilmEncoder
from pacx.models.encoders.imagenet import ImageNetModel
from pacx.models.encoders.names import ABLATIONS, MAE, PACX
from pacx.models.vit_config import Pooling
from pacx.reporting.headlines import MEAN_IMAGE
from pacx.simulation.patients.labels import LABEL_GROUPS

_DECODER = SegmentationConfig(epochs=10, learning_rate=2e-3, batch_size=32, warmup_epochs=1, num_seeds=1)
"""Shorter and steeper than the paper's 50 epochs at 1e-4, for some hundred films on two cores."""


@dataclass(frozen=True, kw_only=True)
class DemoEncoders:
    """The encoders of the paper's tables."""

    baseline: NamedEncoder
    mae: NamedEncoder
    pacx: NamedEncoder

    @property
    def all(self) -> tuple[NamedEncoder, ...]:
        """In the tables' order."""
        return (self.baseline, self.mae, self.pacx)


_Part = Callable[[DemoFolders, DemoEncoders, int, Comparison], list[ResultRow]]
"""Rows of some protocols, with the seed and what is compared."""


def open_demo_encoders(folders: DemoFolders, seed: int) -> DemoEncoders:
    """MAE and PaCX from their runs; ImageNet where its weights can be had, else an untrained ViT that is named so."""
    mae = encoder_from_folder(MAE, folders.run(MAE) / "encoder")
    try:
        baseline = imagenet_encoder(ImageNetModel.TINY)
    except ModelError:
        baseline = random_like(mae, seed)
    return DemoEncoders(baseline=baseline, mae=mae, pacx=encoder_from_folder(PACX, folders.run(PACX) / "encoder"))


def embed_cohort(
    folders: DemoFolders, encoders: Mapping[str, FilmEncoder], cohort: str, device: str
) -> dict[str, NDArray[np.float32]]:
    """Embed every film of a cohort by each encoder, from the pack that has its input size."""
    found: dict[str, NDArray[np.float32]] = {}
    for size in sorted({each.preprocessing.image_size_px for each in encoders.values()}):
        of_size = {name: each for name, each in encoders.items() if each.preprocessing.image_size_px == size}
        found |= embed_each(of_size, Pack.open(folders.pack(cohort, size)), device=device)
    return {name: found[name] for name in encoders}


def _reconstruction_rows(folders: DemoFolders, seed: int) -> list[ResultRow]:
    validation: dict[str, float] = read_json(folders.run(MAE) / "summary.json")["validation"]
    config = read_json(folders.run(MAE) / "config.json")
    row = ResultRow(
        protocol="reconstruction",
        dataset="pretraining",
        encoder=MAE,
        label="held-out films",
        metric="masked_mse",
        value=validation["masked_mse"],
        ci_low=np.nan,
        ci_high=np.nan,
        n=config["task"]["num_val_films"],
        seed=seed,
        fraction=1.0,
        provenance=f"{validation['visible_tokens']:.0f} patches visible; normalised pixels, one fixed mask per film",
    )
    return [row, replace(row, encoder=MEAN_IMAGE, value=validation["mean_image_mse"])]


def _classification_rows(
    folders: DemoFolders, encoders: DemoEncoders, seed: int, comparison: Comparison
) -> list[ResultRow]:
    """Probes on both groups of labels, on shares of them in both poolings, and of the ablations."""
    config, device = ProbeConfig(seed=seed), comparison.device
    pack = Pack.open(folders.pack("downstream", encoders.mae.preprocessing.image_size_px))
    groups = LABEL_GROUPS.items()
    data = [ClassificationData.from_pack(pack, dataset=name, label_names=labels) for name, labels in groups]
    means = {each: Subject(encoder=each.name, pooling="mean") for each in (encoders.mae, encoders.pacx)}
    wanted = {each.name: each.encoder for each in encoders.all}
    wanted |= {str(subject): each.encoder.pooled_by(Pooling.PATCH_MEAN) for each, subject in means.items()}
    embedded = embed_cohort(folders, wanted, "downstream", device)
    features = {each.name: embedded[each.name] for each in encoders.all}
    ablated = {MAE: features[MAE], "full": features[PACX]}
    others = {name: encoder_from_folder(name, folders.run(name) / "encoder").encoder for name in ABLATIONS}
    ablated |= embed_cohort(folders, others, "downstream", device)
    subjects = {str(subject): subject for subject in means.values()}
    rows: list[ResultRow] = []
    for group in data:
        of_group = replace(comparison, dataset=group.dataset, subjects=subjects)
        rows += linear_probe(group, features, of_group, config=config)
        rows += low_data(group, embedded, of_group, config=config)
    for group in data:
        of_group = replace(comparison, dataset=group.dataset, baseline=None)
        found = low_data(group, ablated, of_group, config=config, fractions=(0.01, 1.0))
        rows += [replace(row, protocol="ablation") for row in found]
    return rows


def _alignment_rows(folders: DemoFolders, encoders: DemoEncoders, seed: int, comparison: Comparison) -> list[ResultRow]:
    pack = Pack.open(folders.pack("triplets", encoders.mae.preprocessing.image_size_px))
    targets = [FrozenTargets.open(folders.run(name) / "targets") for name in ("ecg", "labs")]
    data = AlignmentData.from_pack(pack, targets, dataset="triplets")
    known, device = rows_with_targets(pack, targets), comparison.device
    found = embed_cohort(folders, {each.name: each.encoder for each in encoders.all}, "triplets", device)
    features = {name: values[known] for name, values in found.items()}
    return alignment(data, features, replace(comparison, dataset=data.dataset), config=AlignmentConfig(seed=seed))


def _mask_rows(folders: DemoFolders, encoders: DemoEncoders, seed: int, comparison: Comparison) -> list[ResultRow]:
    """Segmentation and attention; encoders of one input size are compared in one call, hence paired."""
    rows: list[ResultRow] = []
    sizes = dict.fromkeys(encoder.preprocessing.image_size_px for encoder in encoders.all)
    for size in sizes:
        pack = Pack.open(folders.pack("segmentation", size))
        group: Mapping[str, FilmEncoder] = {
            encoder.name: encoder.encoder for encoder in encoders.all if encoder.preprocessing.image_size_px == size
        }
        of_group = replace(comparison, baseline=MAE if MAE in group else None)
        rows += segmentation(pack, group, of_group, config=replace(_DECODER, seed=seed))
        rows += attention(pack, group, of_group, seed=seed)
    return rows


def evaluate_demo(folders: DemoFolders, seed: int, comparison: Comparison, workers: Workers) -> list[ResultRow]:
    """Run every protocol; the same patients' draws for all encoders, so that differences are paired.

    Each process works in one thread, so that no number depends on how many of either there are.
    """
    parts = (_classification_rows, _alignment_rows, _mask_rows)
    found = workers.in_order(partial(_rows_of, folders=folders, seed=seed, comparison=comparison), parts)
    return [*_reconstruction_rows(folders, seed), *chain.from_iterable(found)]


def _rows_of(part: _Part, *, folders: DemoFolders, seed: int, comparison: Comparison) -> list[ResultRow]:
    """What a process does: functions travel to it, encoders are opened there."""
    return part(folders, open_demo_encoders(folders, seed), seed, comparison)
