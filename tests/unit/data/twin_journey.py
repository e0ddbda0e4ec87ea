"""The way every official dataset goes in these tests: its twin is written, read, packed, and learnt from."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from pacx.core.artifacts import read_json
from pacx.core.preprocessing import Preprocessing
from pacx.data.checks.doctor import Diagnosis, examine
from pacx.data.dataset import datasets
from pacx.data.packs.pack import Pack
from pacx.data.packs.packing import pack_records
from pacx.data.packs.splitting import with_splits
from pacx.data.records import Records
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.embeddings import embed_pack
from pacx.evaluation.masks.segmentation import SegmentationConfig, segmentation
from pacx.evaluation.probes.classification import ClassificationData
from pacx.evaluation.probes.linear_heads import ProbeConfig
from pacx.evaluation.probes.linear_probe import linear_probe
from pacx.evaluation.results import ResultRow
from pacx.models.encoders.folder import LoadedEncoder
from pacx.models.vit import Pooling, ViTConfig, random_vit
from pacx.simulation.twin import TwinConfig, twins, write_twin

PREPROCESSING = Preprocessing(image_size_px=32)


def twin_of(name: str, root: Path, num_patients: int) -> Path:
    write_twin(twins()[name], root, TwinConfig(num_patients=num_patients, image_size_px=64))
    return root


def counts_of(root: Path) -> Mapping[str, int]:
    return read_json(root / "twin.json")["counts"]


def read(name: str, root: Path, **options: Any) -> Records:
    dataset = datasets()[name]
    return dataset.read(root, dataset.options_type(**options))


def doctor(name: str, root: Path, **options: Any) -> Diagnosis:
    """What the doctor says, having decoded every film."""
    dataset = datasets()[name]
    state = root.parent / "doctor-state.json"
    return examine(dataset, root, dataset.options_type(**options), state=state, num_samples=None)


def faults(diagnosis: Diagnosis) -> list[str]:
    return [issue.message for issue in diagnosis.issues if issue.is_fault]


def packed(name: str, records: Records, out: Path) -> Pack:
    """A pack in which nothing was left out."""
    split = with_splits(replace(records, dataset=name), 0, datasets()[name].card.splits)
    pack = pack_records(split, out, preprocessing=PREPROCESSING, max_bad_fraction=0)
    assert pack.quarantined == ()
    return pack


def _encoder() -> LoadedEncoder:
    config = ViTConfig(img_size=32, patch_size=4, embed_dim=48, depth=1, num_heads=4)
    return LoadedEncoder(random_vit(config, 0), PREPROCESSING, Pooling.PATCH_MEAN)


def probe(pack: Pack) -> Mapping[tuple[str, str], ResultRow]:
    """A linear probe on a random encoder: rows by label and metric."""
    rows = linear_probe(
        ClassificationData.from_pack(pack, dataset="twin"),
        {"random": embed_pack(_encoder(), pack)},
        Comparison(dataset="twin", provenance="test", num_draws=20),
        config=ProbeConfig(epochs=60, learning_rates=(0.03,), standardize=True, num_seeds=2),
    )
    return {(row.label, row.metric): row for row in rows}


def segment(pack: Pack, epochs: int = 20) -> Mapping[tuple[str, str], ResultRow]:
    """A decoder on a random encoder: rows by mask and metric."""
    rows = segmentation(
        pack,
        {"random": _encoder()},
        Comparison(dataset="twin", provenance="test", num_draws=20),
        config=SegmentationConfig(epochs=epochs, batch_size=8, learning_rate=3e-3, warmup_epochs=2),
    )
    return {(row.label, row.metric): row for row in rows}


def tree_bytes(root: Path) -> Mapping[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def kind_of(path: Path) -> tuple[str, tuple[int, int]]:
    """Mode and size (width, height) of an image file."""
    with Image.open(path) as image:
        return image.mode, image.size
