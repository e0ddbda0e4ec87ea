"""A graph with 8-bit weights: ONNX Runtime's dynamic quantisation of the matrix products.

Signed weights of seven bits, one scale per output channel; activations are quantised as they come, to eight bits
without sign. Seven bits, because processors with AVX2 and without VNNI add two neighbouring products in a signed
16-bit register that saturates: 2 x 255 x 64 = 32,640 fits it, 2 x 255 x 127 does not. So one graph gives the same
numbers on every processor.

The graph takes one film at a time. ONNX Runtime's dynamic quantisation has one scale for everything it is given, so in
a batch a film's numbers would depend on the films beside it; alone they are its own, and the scale fits it best. A CPU
gains nothing from a batch: one film's patches are rows enough for a matrix product. Convolutions stay as they are: the
patch embedding is a hundredth of the work, and ONNX Runtime's 8-bit convolution is slower than the plain one.
"""

import logging
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.tools.onnx_model_utils import make_dim_param_fixed


def write_quantized(source: Path, path: Path) -> None:
    """Write the graph of ``source`` with 8-bit weights; it takes and gives what that one does, of one film."""
    root = (
        logging.getLogger()
    )  # where the quantiser warns that it was not given a preprocessed model, which it need not
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        quantize_dynamic(
            source,
            path,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            reduce_range=True,
        )
    finally:
        root.setLevel(level)
    model = onnx.load(path)
    (films,) = model.graph.input
    make_dim_param_fixed(model.graph, films.type.tensor_type.shape.dim[0].dim_param, 1)
    onnx.save(model, path)
