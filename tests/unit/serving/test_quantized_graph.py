"""One 8-bit graph for every processor: arithmetic that saturates in 16 bits, as AVX2 has it, is emulated in numpy."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from onnxruntime.quantization import QuantType, quantize_dynamic

from pacx.core.preprocessing import Preprocessing
from pacx.exporting.graphs import write_graph
from pacx.exporting.quantized_graph import write_quantized
from pacx.inference.checks import MIN_COSINE
from pacx.inference.export_folder import GraphInput, GraphOutput
from pacx.inference.host_choice import smooth_films
from pacx.models.encoders.folder import LoadedEncoder
from pacx.models.vit import Pooling, ViTConfig, random_vit

INT16 = np.iinfo(np.int16)


class MatMulInteger(OpRun):
    """The product of unsigned and signed bytes where neighbouring products are added in a register of 16 bits."""

    def _run(
        self, a: NDArray[np.uint8], b: NDArray[np.int8], a_zero_point: NDArray[np.uint8], b_zero_point: NDArray[np.int8]
    ) -> tuple[NDArray[np.int32]]:
        assert not b_zero_point.any()
        rows, columns = a.reshape(-1, a.shape[-1]).astype(np.int32), b.T.astype(np.int32)  # (N, K), (M, K)
        pairs = rows[:, None, 0::2] * columns[:, 0::2] + rows[:, None, 1::2] * columns[:, 1::2]  # (N, M, K / 2)
        sums = np.clip(pairs, INT16.min, INT16.max).sum(axis=-1, dtype=np.int32)
        shifted = sums - a_zero_point.astype(np.int32) * columns.sum(axis=1)
        return (shifted.reshape(*a.shape[:-1], b.shape[-1]),)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graphs") / "fp32.onnx"
    vit = random_vit(ViTConfig(img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=4), seed=0)
    encoder = LoadedEncoder(vit, Preprocessing(image_size_px=32), Pooling.CLASS_TOKEN)
    write_graph(encoder, path, takes=GraphInput.PIXELS, gives=GraphOutput.EMBEDDING)
    return path


def embedded(path: Path, *, saturating: bool) -> NDArray[np.float32]:
    graph = ReferenceEvaluator(onnx.load(path), new_ops=[MatMulInteger] if saturating else None)
    return np.concatenate([graph.run(None, {"pixels": film[None]})[0] for film in smooth_films(6, 32)])


def least_cosine(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return float(((first * second).sum(axis=1) / norms).min())


def eight_bit_weights(path: Path) -> list[NDArray[np.int8]]:
    graph = onnx.load(path).graph
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    return [constants[node.input[1]] for node in graph.node if node.op_type == "MatMulInteger"]


def test_saturating_arithmetic_changes_nothing(full: Path, tmp_path: Path) -> None:
    write_quantized(full, tmp_path / "int8.onnx")
    exact, saturating = (embedded(tmp_path / "int8.onnx", saturating=each) for each in (False, True))
    assert np.array_equal(exact, saturating)
    assert least_cosine(saturating, embedded(full, saturating=False)) > 0.999


def test_no_pair_of_products_can_leave_sixteen_bits(full: Path, tmp_path: Path) -> None:
    write_quantized(full, tmp_path / "int8.onnx")
    weights = eight_bit_weights(tmp_path / "int8.onnx")
    assert len(weights) == 8, "four products in each of two blocks"
    for weight in weights:
        pairs = weight.astype(np.int32).reshape(-1, 2, weight.shape[1])  # (K / 2, 2, M)
        assert 255 * np.clip(pairs, 0, None).sum(axis=1).max() <= INT16.max
        assert 255 * np.clip(pairs, None, 0).sum(axis=1).min() >= INT16.min


def test_the_emulation_notices_weights_of_eight_full_bits(full: Path, tmp_path: Path) -> None:
    quantize_dynamic(
        full, tmp_path / "int8.onnx", op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8
    )
    reference = embedded(full, saturating=False)
    assert least_cosine(embedded(tmp_path / "int8.onnx", saturating=False), reference) > 0.999
    assert least_cosine(embedded(tmp_path / "int8.onnx", saturating=True), reference) < MIN_COSINE
