"""An export folder says what it holds, and is refused when any of it was changed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pacx.core.errors import DataError, ModelError
from pacx.core.preprocessing import Preprocessing
from pacx.inference.export_folder import (
    GraphInput,
    GraphOutput,
    Precision,
    describe_graph,
    load_export,
    preprocessing_sha256,
    write_about,
)
from pacx.models.encoders.folder import save_encoder
from pacx.models.vit import Pooling, ViTConfig, random_vit

PREPROCESSING = Preprocessing(image_size_px=32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    vit = random_vit(ViTConfig(img_size=32, embed_dim=8, depth=1, num_heads=2), seed=0)
    out = tmp_path / "export"
    save_encoder(vit, out, preprocessing=PREPROCESSING, pooling=Pooling.CLASS_TOKEN, card="# A", provenance={})
    (out / "onnx").mkdir()
    (out / "onnx" / "fp32.onnx").write_bytes(b"graph")
    graph = describe_graph(
        out, "onnx/fp32.onnx", precision=Precision.FP32, takes=GraphInput.PIXELS, gives=GraphOutput.EMBEDDING
    )
    write_about(out, name="mae", embedding_dim=8, graphs=(graph,), provenance={"seed": 0})
    return out


def test_what_was_written_is_read(folder: Path) -> None:
    export = load_export(folder)
    assert (export.name, export.embedding_dim, export.pooling) == ("mae", 8, "token")
    assert export.preprocessing == PREPROCESSING
    assert export.preprocessing_sha256 == preprocessing_sha256(Preprocessing(image_size_px=32))
    assert export.preprocessing_sha256 != preprocessing_sha256(Preprocessing(image_size_px=48))
    assert export.heads == ()
    graph = export.find(GraphOutput.EMBEDDING)
    assert graph is not None
    assert export.path(graph).read_bytes() == b"graph"
    assert export.find(GraphOutput.EMBEDDING, Precision.INT8) is None
    assert export.find(GraphOutput.ROLLOUT) is None


@pytest.mark.parametrize("file", ["onnx/fp32.onnx", "model.safetensors", "config.json"])
@pytest.mark.parametrize("is_removed", [True, False])
def test_a_changed_file_is_refused(folder: Path, file: str, is_removed: bool) -> None:
    if is_removed:
        (folder / file).unlink()
    else:
        data = bytearray((folder / file).read_bytes())
        data[-1] ^= 1
        (folder / file).write_bytes(bytes(data))
    with pytest.raises(ModelError, match=f"{file} is missing or is not the file"):
        load_export(folder)


def _edited(folder: Path, file: str, **changes: object) -> None:
    values = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(values | changes))


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("export.json", {"format_version": 2}, "format version 1"),
        ("export.json", {"graphs": []}, "no graph that gives embeddings"),
        ("export.json", {"graphs": [{"file": "x"}]}, "damaged"),
        ("export.json", {"heads": ["classifier"]}, "classifier is missing"),
        ("export.json", {"pooling": "mean"}, "different encoders"),
        ("export.json", {"preprocessing_sha256": "0" * 64}, "different encoders"),
        ("export.json", {"encoder_sha256": "0" * 64}, "different encoders"),
        ("preprocessing.json", {"pooling": "mean"}, "different encoders"),
        ("preprocessing.json", {"sha256": {}}, "no encoder's contract"),
    ],
)
def test_parts_of_different_exports_are_refused(
    folder: Path, file: str, changes: dict[str, object], message: str
) -> None:
    _edited(folder, file, **changes)
    with pytest.raises(ModelError, match=message):
        load_export(folder)


def test_a_graph_outside_the_folder_is_refused(folder: Path) -> None:
    (folder.parent / "elsewhere.onnx").write_bytes(b"graph")
    graphs = json.loads((folder / "export.json").read_text())["graphs"]
    _edited(folder, "export.json", graphs=[graphs[0] | {"file": "../elsewhere.onnx"}])
    with pytest.raises(ModelError, match="not in the folder"):
        load_export(folder)


def test_an_encoder_folder_is_no_export(folder: Path) -> None:
    (folder / "export.json").unlink()
    with pytest.raises(ModelError, match="pacx export"):
        load_export(folder)


def test_squares_are_fed_as_the_graph_wants_them(folder: Path) -> None:
    export = load_export(folder)
    graph = export.graphs[0]
    squares = np.arange(2 * 32 * 32, dtype=np.uint64).reshape(2, 32, 32).astype(np.uint8)
    assert export.feed(graph, squares) == {"pixels": squares}
    with pytest.raises(DataError, match=r"uint8 \(N, 32, 32\)"):
        export.feed(graph, squares[0])
    with pytest.raises(DataError, match="float32"):
        export.feed(graph, squares.astype(np.float32))


def test_reading_an_export_imports_no_torch(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pacx.inference.export_folder import load_export;"
        f"load_export(Path({str(folder)!r}));"
        "assert not {'torch', 'timm', 'pandas', 'scipy', 'sklearn', 'onnx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
