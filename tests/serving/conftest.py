"""An exported encoder, small and real, and a server that serves it twice under two names."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from running_server import Running, serving

from pacx.core.preprocessing import Preprocessing
from pacx.core.randomness import generator
from pacx.exporting.graphs import write_graph
from pacx.exporting.quantized_graph import write_quantized
from pacx.inference.export_folder import GraphInput, GraphOutput, Precision, describe_graph, load_export, write_about
from pacx.models.encoders.folder import load_encoder, save_encoder
from pacx.models.heads.classifier import Classifier, save_classifier
from pacx.models.heads.readouts import ReadoutHead, save_readouts
from pacx.models.heads.reference import Reference, save_reference
from pacx.models.vit import Pooling, ViTConfig, random_vit

GRAPHS = {"onnx/fp32.onnx": GraphOutput.EMBEDDING, "onnx/rollout.onnx": GraphOutput.ROLLOUT}


def add_heads(folder: Path) -> None:
    """Random heads of every kind; one read-out abstains, and one's interval is open."""
    random = generator(0, "heads")

    def readout(radius: float, *, abstains: bool) -> ReadoutHead:
        weight, quantiles = random.normal(size=32) * 0.03, np.sort(random.normal(100, 20, 50))
        return ReadoutHead(weight, 0.1, quantiles, np.linspace(0, 1, 50), radius, 0.8, 0.9, abstains)

    save_readouts(folder, {"Sodium": readout(0.3, abstains=False), "QRS": readout(np.inf, abstains=True)})
    weight, bias = (random.normal(size=shape).astype(np.float32) for shape in ((5, 32, 2), (5, 2)))
    findings = Classifier(
        labels=("Edema", "Effusion"), weight=weight, bias=bias, is_multiclass=False, level=0.95, fitted_on="ten films"
    )
    save_classifier(folder, findings)
    held_out = np.sort(random.random(200) * 50)
    save_reference(folder, Reference(mean=np.zeros(32), factor=np.eye(32), held_out=held_out, fitted_on="ten films"))


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports") / "mae"
    vit = random_vit(ViTConfig(img_size=64, embed_dim=32, depth=2, num_heads=2), seed=1)
    contract = Preprocessing(image_size_px=64)
    save_encoder(vit, folder, preprocessing=contract, pooling=Pooling.CLASS_TOKEN, card="# Tiny", provenance={})
    add_heads(folder)
    (folder / "onnx").mkdir()
    loaded = load_encoder(folder)
    for file, gives in GRAPHS.items():
        write_graph(loaded, folder / file, takes=GraphInput.PIXELS, gives=gives)
    graphs = tuple(
        describe_graph(folder, file, precision=Precision.FP32, takes=GraphInput.PIXELS, gives=gives)
        for file, gives in GRAPHS.items()
    )
    write_about(folder, name="mae", embedding_dim=32, graphs=graphs, provenance={})
    return folder


@pytest.fixture(scope="session")
def export_with_8_bits(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports") / "both"
    shutil.copytree(export, folder)
    write_quantized(folder / "onnx" / "fp32.onnx", folder / "onnx" / "int8.onnx")
    eight = describe_graph(
        folder, "onnx/int8.onnx", precision=Precision.INT8, takes=GraphInput.PIXELS, gives=GraphOutput.EMBEDDING
    )
    write_about(folder, name="both", embedding_dim=32, graphs=(*load_export(export).graphs, eight), provenance={})
    return folder


@pytest.fixture(scope="session")
def server(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(
        [f"mae={export}", f"pacx={export}", "--limits.body-grace-s", "1.5"], tmp_path_factory.mktemp("server")
    ) as running:
        yield running
