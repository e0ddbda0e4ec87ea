"""What runs a graph on this host: ONNX Runtime, and in single precision OpenVINO where somebody installed it."""

import enum
from importlib.util import find_spec
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pacx.core.errors import ModelError
from pacx.inference.export_folder import ExportFolder, Graph, Precision
from pacx.inference.onnx_encoder import OnnxEncoder


class Engine(Protocol):
    """A loaded graph with one output; may be called from several threads at once."""

    def __call__(self, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the graph gives of grey squares (N, S, S), row by row."""
        ...


class Runtime(enum.Enum):
    """A library that runs graphs; the value is the name it is imported by."""

    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"

    def is_installed(self) -> bool:
        """Whether it can be imported."""
        return find_spec(self.value) is not None

    def runs(self, precision: Precision) -> bool:
        """Whether it is asked to: 8 bits round differently in each library, and are to be the same wherever asked."""
        return self is Runtime.ONNXRUNTIME or precision is Precision.FP32


class OpenVinoEngine:
    """A graph in OpenVINO, on the processor; one request object per call, so that threads do not meet.

    Raises:
        ModelError: it is not a graph that this version runs.
    """

    def __init__(self, export: ExportFolder, graph: Graph, num_threads: int) -> None:
        import openvino  # optional: only where its owner wants it

        self._export, self._graph = export, graph
        settings = {"INFERENCE_NUM_THREADS": num_threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        try:
            core = openvino.Core()
            self._compiled = core.compile_model(core.read_model(export.path(graph)), "CPU", settings)
        except Exception as error:  # OpenVINO's exceptions have no common base
            raise ModelError(f"{export.path(graph)} cannot be run by OpenVINO ({type(error).__name__})") from error

    def __call__(self, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the graph gives of grey squares (N, S, S), row by row."""
        found = self._compiled.create_infer_request().infer(self._export.feed(self._graph, squares))
        return self._export.taken(self._graph, np.array(found[0]))


def open_engine(runtime: Runtime, export: ExportFolder, graph: Graph, num_threads: int) -> Engine:
    """Load a graph.

    Raises:
        ModelError: the library cannot run it.
    """
    if runtime is Runtime.OPENVINO:
        return OpenVinoEngine(export, graph, num_threads)
    # Beside decoding and other batches, a thread that spins takes the processor from them.
    return OnnxEncoder(export, graph, num_threads=num_threads, may_spin=False)
