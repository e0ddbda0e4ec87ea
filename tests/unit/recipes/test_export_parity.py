"""A graph is exported only if it says what torch says; 8-bit weights only if a probe ranks patients as before."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pacx.core.errors import ModelError
from pacx.core.host import instruction_sets
from pacx.core.preprocessing import Preprocessing
from pacx.exporting.export import ExportConfig, export_encoder
from pacx.exporting.graphs import write_graph
from pacx.exporting.parity import Parity, compare, refusal, simulated_films
from pacx.inference.checks import load_checks
from pacx.inference.export_folder import GraphInput, GraphOutput, Precision, load_export
from pacx.inference.onnx_encoder import open_embedder
from pacx.models.encoders.folder import LoadedEncoder, save_encoder
from pacx.models.vit import Pooling, ViTConfig, random_vit


def _save_encoder(out: Path, *, outlier: float = 1.0) -> Path:
    """A random encoder; ``outlier`` blows one channel up, as single channels of large language models are."""
    vit = random_vit(ViTConfig(img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=4), seed=0)
    with torch.no_grad():
        for block in vit.blocks:
            block.norm1.weight[3] *= outlier
            block.norm2.weight[3] *= outlier
            block.attn.qkv.weight[:, 3] /= outlier
            block.mlp.fc1.weight[:, 3] /= outlier
    contract = Preprocessing(image_size_px=32)
    save_encoder(vit, out, preprocessing=contract, pooling=Pooling.CLASS_TOKEN, card="# A", provenance={})
    return out


def test_simulated_films_are_the_same_for_everybody() -> None:
    many, few = simulated_films(40, 32), simulated_films(34, 32)
    assert many.squares.shape == (40, 32, 32)
    assert np.array_equal(many.squares[:34], few.squares)
    assert np.array_equal(many.labels[:34], few.labels)
    assert (many.squares.std(axis=(1, 2)) > 10).all()
    assert ((many.labels == 0) | (many.labels == 1)).all()
    assert len(np.unique(many.keys)) == 40


def test_comparing_takes_the_worst_film() -> None:
    wanted = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]], np.float32)
    found = wanted + np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.25]], np.float32)
    parity = compare("a.onnx", "torch", found, wanted)
    assert parity.max_abs_difference == 1.0
    assert parity.min_cosine == pytest.approx(2 / np.sqrt(5))
    assert parity.films == 3


def test_eight_bit_weights_pass_and_are_measured(tmp_path: Path) -> None:
    source = _save_encoder(tmp_path / "encoder")
    assert export_encoder(source, tmp_path / "out", ExportConfig(rollout=False, num_parity_films=128)) == ()
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len({path.stat().st_mode for path in files}) == 1, "a server under another user could not read them all"
    report = json.loads((tmp_path / "out" / "parity.json").read_text())
    full, quantized = report["graphs"]
    assert (full["file"], full["compared_with"], full["films"]) == ("onnx/fp32.onnx", "torch", 64)
    assert full["max_abs_difference"] < 1e-5
    assert (quantized["file"], quantized["films"]) == ("onnx/int8.onnx", 128)
    assert quantized["auroc_change_low"] <= quantized["auroc_change"] <= quantized["auroc_change_high"]
    assert 0.5 < quantized["auroc"] < 1
    assert quantized["min_cosine"] > 0.999
    assert quantized["max_abs_difference"] > 1e-4, "the same numbers would mean that nothing was quantised"
    assert report["host"]["instruction_sets"] == instruction_sets()
    embedded = open_embedder(tmp_path / "out", Precision.INT8)(np.zeros((2, 32, 32), np.uint8))
    assert embedded.shape == (2, 32)


def test_the_films_that_travel_along_are_those_on_which_eight_bits_are_worst(tmp_path: Path) -> None:
    source = _save_encoder(tmp_path / "encoder")
    export_encoder(source, tmp_path / "out", ExportConfig(rollout=False, num_parity_films=64))
    checks = load_checks(load_export(tmp_path / "out"))
    assert checks is not None
    squares = simulated_films(64, 32).squares
    full, eight = (open_embedder(tmp_path / "out", each)(squares).astype(np.float64) for each in Precision)
    norms = np.linalg.norm(full, axis=1) * np.linalg.norm(eight, axis=1)
    worst = np.argsort((full * eight).sum(axis=1) / norms)[:16]
    assert np.array_equal(checks.films, squares[worst])
    assert np.abs(checks.embeddings - full[worst]).max() < 1e-5


@pytest.mark.parametrize(
    ("cosine", "change", "is_refused"),
    [
        (0.9995, (-0.006, -0.013, 0.001), False),  # which a few pairs of patients that change places explain
        (0.9995, (-0.006, -0.009, -0.003), True),
        (0.9995, (0.006, 0.003, 0.009), True),
        (0.9979, (0.0, -0.001, 0.001), True),
        (float("nan"), (0.0, -0.001, 0.001), True),
    ],
)
def test_chance_refuses_no_graph(cosine: float, change: tuple[float, float, float], is_refused: bool) -> None:
    value, low, high = change
    parity = Parity(
        file="onnx/int8.onnx",
        compared_with="onnx/fp32.onnx",
        films=384,
        max_abs_difference=0.1,
        min_cosine=cosine,
        auroc=0.7,
        auroc_change=value,
        auroc_change_low=low,
        auroc_change_high=high,
        largest_label_change=0.01,
    )
    assert bool(refusal(parity)) == is_refused


def test_eight_bit_weights_that_lose_the_ranking_are_refused(tmp_path: Path) -> None:
    source = _save_encoder(tmp_path / "encoder", outlier=3000.0)
    (sentence,) = export_encoder(source, tmp_path / "out", ExportConfig(rollout=False, num_parity_films=128))
    assert "AUROC of a probe changes by" in sentence
    assert "single precision stays" in sentence
    export = load_export(tmp_path / "out")
    assert export.find(GraphOutput.EMBEDDING) is not None
    assert export.find(GraphOutput.EMBEDDING, Precision.INT8) is None
    assert not (tmp_path / "out" / "onnx" / "int8.onnx").exists()
    assert json.loads((tmp_path / "out" / "parity.json").read_text())["refused"] == {"onnx/int8.onnx": sentence}


def test_a_graph_that_says_something_else_is_not_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the fold or the exporter were wrong by a thousandth."""

    def write_another(encoder: LoadedEncoder, path: Path, *, takes: GraphInput, gives: GraphOutput) -> None:
        state = {key: value.clone() for key, value in encoder.vit.state_dict().items()}
        encoder.vit.norm.bias.data += 1e-3
        write_graph(encoder, path, takes=takes, gives=gives)
        encoder.vit.load_state_dict(state)

    monkeypatch.setattr("pacx.exporting.graphs.write_graph", write_another)
    source = _save_encoder(tmp_path / "encoder")
    with pytest.raises(ModelError, match=r"fp32.onnx differs from torch by 0.001 on 8 simulated films"):
        export_encoder(source, tmp_path / "out", ExportConfig(rollout=False, int8=False, num_parity_films=8))
    assert not (tmp_path / "out").exists()
