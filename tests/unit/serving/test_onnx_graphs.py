"""ONNX Runtime gives what torch gives, for any batch, with the preprocessing inside the graph or outside."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from pacx.core.errors import ModelError, UsageError
from pacx.core.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from pacx.data.augment import to_input
from pacx.exporting import graphs as onnx_graphs
from pacx.exporting.export import ExportConfig, export_encoder
from pacx.inference.export_folder import ExportFolder, GraphInput, GraphOutput, Precision, load_export
from pacx.inference.onnx_encoder import OnnxEncoder, open_embedder
from pacx.models.encoders.folder import LoadedEncoder, load_encoder, save_encoder
from pacx.models.rollout import rollout_grid
from pacx.models.vit import Pooling, ViTConfig, random_vit

SQUARES = np.random.default_rng(0).integers(0, 256, (5, 32, 32), dtype=np.uint8)
RGB, GREY = (3, IMAGENET_MEAN, IMAGENET_STD), (1, (0.4,), (0.2,))


def _save_encoder(out: Path, channels: tuple, pooling: Pooling) -> Path:
    number, mean, std = channels
    vit = random_vit(ViTConfig(img_size=32, patch_size=8, in_chans=number, embed_dim=16, depth=2, num_heads=2), seed=0)
    preprocessing = Preprocessing(image_size_px=32, num_channels=number, mean=mean, std=std)
    save_encoder(vit, out, preprocessing=preprocessing, pooling=pooling, card="# A", provenance={})
    return out


@pytest.fixture(scope="module", params=[(RGB, Pooling.CLASS_TOKEN, True), (GREY, Pooling.PATCH_MEAN, False)])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[LoadedEncoder, Path]:
    channels, pooling, is_folded = request.param
    folder = tmp_path_factory.mktemp("export")
    source = _save_encoder(folder / "encoder", channels, pooling)
    export_encoder(source, folder / "out", ExportConfig(fold=is_folded, int8=False, num_parity_films=8))
    return load_encoder(source), folder / "out"


def _graph(export: ExportFolder, output: GraphOutput) -> OnnxEncoder:
    graph = export.find(output)
    assert graph is not None
    return OnnxEncoder(export, graph)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_graph_gives_what_torch_gives(exported: tuple[LoadedEncoder, Path], count: int) -> None:
    encoder, folder = exported
    squares = SQUARES[:count]
    images = to_input(torch.from_numpy(squares), encoder.preprocessing)
    with torch.inference_mode():
        embeddings, grids = encoder.embed_images(images).numpy(), rollout_grid(encoder.vit, images).numpy()
    export = load_export(folder)
    found = _graph(export, GraphOutput.EMBEDDING)(squares)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, embeddings, rtol=0, atol=1e-5)
    np.testing.assert_allclose(_graph(export, GraphOutput.ROLLOUT)(squares), grids, rtol=0, atol=1e-6)


def test_a_graph_says_what_it_takes(exported: tuple[LoadedEncoder, Path]) -> None:
    encoder, folder = exported
    export = load_export(folder)
    for graph in export.graphs:
        model = onnx.load(export.path(graph), load_external_data=False)
        onnx.checker.check_model(model)
        (taken,), (given,) = model.graph.input, model.graph.output
        assert (taken.name, given.name) == (graph.input.value, graph.output.value)
        assert all(dims.type.tensor_type.shape.dim[0].dim_param == "N" for dims in (taken, given))
        is_folded = graph.input is GraphInput.PIXELS
        kind = taken.type.tensor_type.elem_type
        assert kind == (onnx.TensorProto.UINT8 if is_folded else onnx.TensorProto.FLOAT)
        sizes = [dim.dim_value for dim in taken.type.tensor_type.shape.dim[1:]]
        assert sizes == ([32, 32] if is_folded else [encoder.preprocessing.num_channels, 32, 32])
        assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in model.graph.initializer)


def test_no_pixel_is_normalised_when_it_is_folded_in(tmp_path: Path) -> None:
    """The guard of the fold: another contract must give another graph, or the pixels were taken as they came."""
    source = _save_encoder(tmp_path / "encoder", RGB, Pooling.CLASS_TOKEN)
    encoder = load_encoder(source)
    changed = encoder._replace(preprocessing=replace(encoder.preprocessing, mean=(0.1, 0.2, 0.3)))
    found = []
    for number, each in enumerate((encoder, changed)):
        path = tmp_path / f"{number}.onnx"
        onnx_graphs.write_graph(each, path, takes=GraphInput.PIXELS, gives=GraphOutput.EMBEDDING)
        weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
        found.append(next(value for name, value in weights.items() if name.endswith("patch_embed.proj.bias")))
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_an_encoder_too_large_for_one_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_graphs, "_LARGEST_BYTES", 1000)
    source = _save_encoder(tmp_path / "encoder", RGB, Pooling.CLASS_TOKEN)
    with pytest.raises(ModelError, match="an ONNX file holds 2"):
        export_encoder(source, tmp_path / "out", ExportConfig(int8=False, num_parity_films=8))
    assert not (tmp_path / "out").exists()


def test_nothing_of_the_users_is_replaced(tmp_path: Path) -> None:
    source = _save_encoder(tmp_path / "encoder", RGB, Pooling.CLASS_TOKEN)
    with pytest.raises(UsageError, match="encoder itself"):
        export_encoder(source, source, ExportConfig(int8=False, num_parity_films=8))
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    with pytest.raises(UsageError, match="no export"):
        export_encoder(source, tmp_path / "thesis", ExportConfig(int8=False, num_parity_films=8))
    assert (tmp_path / "thesis" / "chapter.tex").exists()


def test_an_embedder_of_a_precision_that_is_not_there_is_refused(exported: tuple[LoadedEncoder, Path]) -> None:
    _, folder = exported
    assert open_embedder(folder)(SQUARES).shape == (5, 16)
    with pytest.raises(UsageError, match="no int8 graph of embeddings, only fp32"):
        open_embedder(folder, Precision.INT8)


def test_what_a_graph_gives_that_is_not_finite_is_refused(exported: tuple[LoadedEncoder, Path], tmp_path: Path) -> None:
    _, folder = exported
    shutil.copytree(folder, tmp_path / "broken")
    model = onnx.load(tmp_path / "broken" / "onnx" / "fp32.onnx")
    norm = [node for node in model.graph.node if node.op_type == "LayerNormalization"][-1]
    bias = next(each for each in model.graph.initializer if each.name == norm.input[2])
    broken = onnx.numpy_helper.to_array(bias).copy()
    broken[0] = np.nan
    bias.CopyFrom(onnx.numpy_helper.from_array(broken, bias.name))
    export = load_export(folder)
    onnx.save(model, tmp_path / "broken" / "onnx" / "fp32.onnx")
    graph = OnnxEncoder(replace(export, folder=tmp_path / "broken"), export.graphs[0])
    with pytest.raises(ModelError, match="gives NaN or infinity"):
        graph(SQUARES)
