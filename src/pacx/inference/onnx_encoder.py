"""An exported encoder at work: grey squares in, embeddings or attention out, by ONNX Runtime and without torch."""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from pacx.core.errors import ModelError
from pacx.core.host import threads_within_quota
from pacx.inference.export_folder import ExportFolder, Graph, Precision, load_export


class OnnxEncoder:
    """One graph of an export, opened.

    Args:
        export: the folder.
        graph: one of its graphs.
        num_threads: of ONNX Runtime; 0 = as many as there are cores, or as a quota of processor time allows.
        may_spin: whether its threads spin while they wait: faster alone, but they take the processor from others.

    Raises:
        ModelError: ONNX Runtime cannot open the graph.
    """

    def __init__(self, export: ExportFolder, graph: Graph, *, num_threads: int = 0, may_spin: bool = True) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads or threads_within_quota()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # its errors are raised anyway, and its lines may quote a pixel
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(may_spin)))
        options.add_session_config_entry("mlas.enable_gemm_fastmath_arm64_bfloat16", "0")  # 32 bits are 32 bits
        self.export, self.graph = export, graph
        try:  # from bytes, so that a graph cannot point at files beside it
            data = export.path(graph).read_bytes()
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions have no common base
            raise ModelError(f"ONNX Runtime cannot open {export.path(graph)} ({error}); export it again") from error

    def __call__(self, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the graph gives of grey squares (N, S, S), row by row.

        Raises:
            DataError: the squares are of another shape or type.
            ModelError: what it gives is not finite.
        """
        step = self.graph.films_per_run or max(len(squares), 1)
        parts = [self._run(squares[start : start + step]) for start in range(0, max(len(squares), 1), step)]
        return np.concatenate(parts)

    def _run(self, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        (found,) = self._session.run([self.graph.output.value], self.export.feed(self.graph, squares))
        return self.export.taken(self.graph, found)


def open_embedder(folder: Path, precision: Precision = Precision.FP32, *, num_threads: int = 0) -> OnnxEncoder:
    """Open an export's graph of embeddings.

    Raises:
        ModelError: the folder is no whole export.
        UsageError: it has no such graph, or one whose answer for a film depends on the films beside it.
    """
    export = load_export(folder)
    return OnnxEncoder(export, export.embedding_graph(precision), num_threads=num_threads)
