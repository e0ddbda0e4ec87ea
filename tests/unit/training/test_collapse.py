"""A run whose embeddings collapse says so while it runs and when it is over; a healthy one says nothing."""

from pathlib import Path

import numpy as np
import pytest

from pacx.cli.main import main
from pacx.core.artifacts import read_json
from pacx.core.randomness import generator
from pacx.data.packs.pack import Pack
from pacx.modalities.targets import FrozenTargets
from pacx.models.encoders.folder import save_encoder
from pacx.models.vit import Pooling, ViTConfig, random_vit
from pacx.training.monitoring.alignment_metrics import collapse_advice

MODEL = ViTConfig(img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2)


@pytest.fixture
def words(blob_pack: Pack, tmp_path: Path) -> list[str]:
    encoder = random_vit(MODEL, 0)
    save_encoder(
        encoder, tmp_path / "encoder", preprocessing=blob_pack.preprocessing, pooling=Pooling.CLASS_TOKEN, card="",
        provenance={},
    )  # fmt: skip
    embeddings = generator(0, "ecg").normal(size=(len(blob_pack), 8)).astype(np.float32)
    FrozenTargets("ecg", tuple(blob_pack.sample_ids), embeddings, "made up").save(tmp_path / "ecg")
    words = ["train", "distill-full", "--encoder", f"{tmp_path}/encoder", "--pack", str(blob_pack.path)]
    words += ["--targets", f"{tmp_path}/ecg", "--out", f"{tmp_path}/run", "--training.epochs", "3"]
    return [*words, "--training.batch-size", "16", "--training.warmup-epochs", "0", "--training.accelerator", "cpu"]


def test_a_decay_that_wipes_the_weights_collapses_the_embeddings_and_is_said(words, tmp_path, capsys):
    """Each step leaves a twentieth of every matrix: nothing of a film reaches the class token."""
    main([*words, "--training.learning-rate", "0.5", "--training.weight-decay", "1.9"])
    said = capsys.readouterr()
    live, summary = said.err, read_json(tmp_path / "run" / "summary.json")
    assert summary["validation"]["embedding_spread"] < 1e-3
    assert live.count("training distill, after epoch 1: the embeddings have collapsed: spread 0.00") == 1
    assert live.count("collapsed") == 1, "once, not after every epoch"
    assert "lower --training.learning-rate" in live
    last = said.out.strip().splitlines()[-1]
    assert last.startswith("distill: the embeddings have collapsed")
    assert summary["advice"] in last


def test_a_healthy_run_says_nothing_of_it(words, capsys):
    main([*words, "--training.learning-rate", "1e-3"])
    said = capsys.readouterr()
    assert "collapsed" not in said.err + said.out


def test_the_limit():
    assert "spread 0.0099" in collapse_advice(0.0099)
    assert collapse_advice(0.01) == collapse_advice(float("nan")) == ""
