"""What every modality that discovery finds has to keep, whatever its signal: run over real files and real encoders.

A new modality adds one entry to ``CASES``: how to write recordings of some patients and a small encoder into a folder.
"""

import ast
import importlib
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pacx.core.artifacts import write_json
from pacx.core.errors import DataError, UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.core.vocabulary import ECG_LEADS, LAB_ITEM_IDS
from pacx.data.datasets.folder import DATASET as FOLDER
from pacx.data.datasets.folder import FolderOptions
from pacx.data.packs.pack import Pack
from pacx.data.packs.packing import pack_records
from pacx.modalities.ecg import EcgOptions
from pacx.modalities.ecg_measurements.job import measured_table
from pacx.modalities.ecg_measurements.measures import ECG_MEASURES
from pacx.modalities.ecg_measures import EcgMeasuresOptions
from pacx.modalities.ecg_signal.readers import open_recordings
from pacx.modalities.labs import LabsOptions
from pacx.modalities.modality import EmbeddingSettings, Modality, embed_once, modalities
from pacx.modalities.panel.encoder import PanelEncoder
from pacx.modalities.panel.panels import PanelTable, PercentileScaler
from pacx.modalities.panel.wide_tables import read_wide_csv
from pacx.modalities.targets import FrozenTargets
from pacx.modalities.vitals import VITALS_PANEL, VitalsOptions
from pacx.models.ecg.mae import EcgMaskedAutoencoder, save_ecg_mae
from pacx.models.ecg.mae_config import TINY_ECG_MAE
from pacx.models.encoders.folder import LoadedEncoder
from pacx.models.panel.autoencoder import PanelAutoencoder
from pacx.models.panel.config import LAB_PANEL, Panel
from pacx.models.vit import random_vit
from pacx.models.vit_config import Pooling, ViTConfig
from pacx.simulation.patients.population import draw_physiology
from pacx.simulation.patients.sites import UNIVERSITY_HOSPITAL
from pacx.simulation.signals.ecg import simulate_ecg
from pacx.simulation.signals.labs import simulate_labs
from pacx.simulation.signals.vitals import simulate_vitals, write_vitals
from pacx.training.task_config import DistillTaskConfig
from pacx.training.tasks.distill import DistillTask

IDS = [f"s{i}" for i in range(12)]
SETTINGS = EmbeddingSettings()
FOUND = modalities()


def patients(ids: list[str]):
    return draw_physiology(ids, seed=5, site=UNIVERSITY_HOSPITAL)


def write_ecgs(folder: Path, ids: list[str]) -> Path:
    np.save(folder / "ecg.npy", simulate_ecg(patients(ids), ids, seed=5).astype(np.float32))
    about = {"sample_ids": ids, "leads": list(ECG_LEADS), "sample_rate_hz": 500, "unit": "mV"}
    write_json(folder / "ecg.json", about)
    return folder / "ecg.npy"


def ecg_files(folder: Path, ids: list[str], seed: int) -> EcgOptions:
    recordings = write_ecgs(folder, ids)
    save_ecg_mae(EcgMaskedAutoencoder(TINY_ECG_MAE, seed=seed), folder / "encoder", provenance={})
    return EcgOptions(encoder=folder / "encoder", recordings=recordings)


def panel_encoder(panel: Panel, folder: Path, seed: int) -> Path:
    """An encoder with percentiles of people who are not among the samples."""
    model = PanelAutoencoder(panel, hidden_dim=32, embedding_dim=16, seed=seed)
    PanelEncoder(model, PercentileScaler(read_wide_csv(folder / "train.csv", panel))).save(
        folder / "encoder", provenance={}
    )
    return folder / "encoder"


def write_labs(path: Path, ids: list[str]) -> None:
    rows = simulate_labs(patients(ids), ids, seed=5)
    lines = [
        ",".join([name, *("" if np.isnan(value) else f"{value:g}" for value in row)])
        for name, row in zip(ids, rows, strict=True)
    ]
    path.write_text("\n".join([",".join(["sample_id", *map(str, LAB_ITEM_IDS)]), *lines]) + "\n")


OTHERS = [f"t{i}" for i in range(200)]


def labs_files(folder: Path, ids: list[str], seed: int) -> LabsOptions:
    write_labs(folder / "labs.csv", ids)
    write_labs(folder / "train.csv", OTHERS)
    return LabsOptions(encoder=panel_encoder(LAB_PANEL, folder, seed), table=folder / "labs.csv")


def vitals_files(folder: Path, ids: list[str], seed: int) -> VitalsOptions:
    write_vitals(folder / "vitals.csv", ids, simulate_vitals(patients(ids), ids, seed=5))
    write_vitals(folder / "train.csv", OTHERS, simulate_vitals(patients(OTHERS), OTHERS, seed=5))
    return VitalsOptions(encoder=panel_encoder(VITALS_PANEL, folder, seed), table=folder / "vitals.csv")


@cache
def others_measured() -> PanelTable:
    """Measures of people who are not among the samples."""
    with tempfile.TemporaryDirectory() as folder:
        return measured_table(open_recordings(write_ecgs(Path(folder), OTHERS[:30])), SETTINGS)


def ecg_measures_files(folder: Path, ids: list[str], seed: int) -> EcgMeasuresOptions:
    recordings = write_ecgs(folder, ids)
    model = PanelAutoencoder(ECG_MEASURES, hidden_dim=32, embedding_dim=16, seed=seed)
    PanelEncoder(model, PercentileScaler(others_measured())).save(folder / "encoder", provenance={})
    return EcgMeasuresOptions(encoder=folder / "encoder", recordings=recordings)


CASES: dict[str, Callable[[Path, list[str], int], Any]] = {
    "ecg": ecg_files,
    "ecg-measures": ecg_measures_files,
    "labs": labs_files,
    "vitals": vitals_files,
}


def opened(name: str, folder: Path, ids: list[str] = IDS, seed: int = 0):
    folder.mkdir(parents=True, exist_ok=True)
    return FOUND[name].open(CASES[name](folder, ids, seed))


by_name = pytest.mark.parametrize("name", sorted(FOUND))


def test_every_modality_that_is_found_has_a_case():
    assert set(CASES) == set(FOUND) >= {"ecg", "ecg-measures", "labs", "vitals"}


@by_name
def test_it_says_what_it_is(name):
    modality = FOUND[name]
    assert isinstance(modality, Modality)
    assert modality.card.name == name
    assert modality.card.example.startswith(f"pacx embed {name} --encoder ")
    assert all(len(text) > 8 for text in (modality.card.title, modality.card.encoders, modality.card.source))
    assert "encoder" in modality.options_type.__dataclass_fields__


@by_name
def test_it_knows_no_other_modality(name):
    modules = {each: f"pacx.modalities.{each.replace('-', '_')}" for each in FOUND}
    tree = ast.parse(Path(importlib.import_module(modules[name]).__file__).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not imported & {modules[other] for other in set(FOUND) - {name}}


@by_name
def test_one_embedding_per_sample_that_depends_on_nobody_else(name, tmp_path):
    targets = opened(name, tmp_path / "all").run(SETTINGS)
    assert targets.modality == name
    assert targets.sample_ids == tuple(IDS)
    assert np.unique(targets.embeddings.round(5), axis=0).shape[0] == len(IDS)
    few = [IDS[7], IDS[2], IDS[9]]
    alone = opened(name, tmp_path / "few", few).run(SETTINGS)
    np.testing.assert_allclose(alone.for_samples(few), targets.for_samples(few), atol=1e-5)


@by_name
def test_the_fingerprint_is_of_encoder_and_recordings_and_known_before_embedding(name, tmp_path):
    job = opened(name, tmp_path / "one")
    prints = [job.fingerprint, opened(name, tmp_path / "two").fingerprint]
    assert prints[0] == prints[1] == job.run(SETTINGS).fingerprint, "where the files lie does not matter"
    prints.append(opened(name, tmp_path / "three", seed=1).fingerprint)
    prints.append(opened(name, tmp_path / "four", IDS[:-1]).fingerprint)
    assert len(set(prints)) == 3


@by_name
def test_targets_are_made_once_and_stale_ones_are_never_used(name, tmp_path):
    out = tmp_path / "targets"
    first, is_new = embed_once(opened(name, tmp_path / "data"), out, SETTINGS)
    stamp = (out / "embeddings.npy").stat().st_mtime_ns
    assert is_new
    assert isinstance(first.embeddings, np.memmap)
    again, is_new = embed_once(opened(name, tmp_path / "data"), out, SETTINGS)
    assert not is_new
    assert (out / "embeddings.npy").stat().st_mtime_ns == stamp
    assert np.array_equal(again.embeddings, first.embeddings)
    with pytest.raises(DataError, match="are stale: the encoder changed since"):
        embed_once(opened(name, tmp_path / "data", seed=1), out, SETTINGS)
    with pytest.raises(DataError, match="are stale: the recordings or their ids changed since"):
        embed_once(opened(name, tmp_path / "data", IDS[1:]), out, SETTINGS)
    assert (out / "embeddings.npy").stat().st_mtime_ns == stamp, "a refusal touches nothing"
    replaced, is_new = embed_once(opened(name, tmp_path / "data", IDS[1:]), out, SETTINGS, overwrite=True)
    assert is_new
    assert replaced.sample_ids == tuple(IDS[1:])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="holds no frozen targets"):
        embed_once(opened(name, tmp_path / "data"), tmp_path / "mine", SETTINGS, overwrite=True)
    assert (tmp_path / "mine/thesis.txt").exists()


@by_name
def test_a_sample_twice_is_refused(name, tmp_path):
    with pytest.raises(DataError, match=r"more than once \(s1\)"):
        opened(name, tmp_path, [*IDS, "s1"])


@pytest.fixture
def films(tmp_path) -> Pack:
    """Twelve films of noise, whose sample ids are the recordings'."""
    rng = np.random.default_rng(0)
    for sample in IDS:
        Image.fromarray(rng.integers(0, 255, (32, 32), np.uint8)).save(tmp_path / f"{sample}.png")
    rows = [f"{sample}.png,{sample},{sample},{'val' if row % 4 == 0 else 'train'}" for row, sample in enumerate(IDS)]
    (tmp_path / "index.csv").write_text("\n".join(["file,sample_id,patient_id,split", *rows]) + "\n")
    records = FOLDER.read(tmp_path, FolderOptions())
    return pack_records(records, tmp_path / "pack", preprocessing=Preprocessing(image_size_px=32), num_workers=1)


def test_distillation_takes_any_of_them_by_name(films, tmp_path):
    """All at once, and each alone; no line of the stage knows their names."""
    ids = list(films.sample_ids)
    targets: dict[str, FrozenTargets] = {name: opened(name, tmp_path / name, ids).run(SETTINGS) for name in FOUND}
    vit = random_vit(ViTConfig(img_size=32, patch_size=8, embed_dim=32, depth=1, num_heads=2), 0)
    encoder = LoadedEncoder(vit, films.preprocessing, Pooling.CLASS_TOKEN)
    rows = films.rows("train"), films.rows("val")
    for chosen in (targets, *({name: each} for name, each in targets.items())):
        task = DistillTask(films, *rows, encoder, chosen, DistillTaskConfig(), 0)
        with torch.no_grad():
            assert {f"cosine_{name}" for name in chosen} <= task.validate().keys()
        described = task.describe()["targets"]
        assert described == {name: each.fingerprint for name, each in chosen.items()}
