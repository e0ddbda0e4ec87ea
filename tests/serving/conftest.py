"""An exported encoder, small and real, and a server that serves it twice under two names."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from running_server import Running, serving

from pacx.core.preprocessing import Preprocessing
from pacx.models.encoder_folder import load_encoder, save_encoder
from pacx.models.vit import Pooling, ViTConfig, random_vit
from pacx.serving.export_folder import GraphInput, GraphOutput, Precision, describe_graph, write_about
from pacx.serving.onnx_graphs import write_graph

GRAPHS = {"onnx/fp32.onnx": GraphOutput.EMBEDDING, "onnx/rollout.onnx": GraphOutput.ROLLOUT}


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports") / "mae"
    vit = random_vit(ViTConfig(img_size=64, embed_dim=32, depth=2, num_heads=2), seed=1)
    contract = Preprocessing(image_size_px=64)
    save_encoder(vit, folder, preprocessing=contract, pooling=Pooling.CLASS_TOKEN, card="# Tiny", provenance={})
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
def server(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving([f"mae={export}", f"pacx={export}"], tmp_path_factory.mktemp("server")) as running:
        yield running
