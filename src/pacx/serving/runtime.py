"""An exported encoder that answers: squares in; embeddings, heads' outputs with intervals and attention out. No torch.

Whatever runs here runs on a whole batch in one of the queue's threads. A film whose embedding is not finite is an
error of that film. The attention graph, as large as the encoder, is loaded when somebody first asks for attention.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacx.core.vocabulary import quantity_title
from pacx.inference.answers import ModelAnswer
from pacx.inference.engines import Engine, Runtime, open_engine
from pacx.inference.export_folder import ExportFolder, GraphOutput
from pacx.inference.heads import load_heads
from pacx.inference.host_choice import Plan

_FLAT = 1e-5
"""Relative range below which a map is rounding noise; the same as in ``pacx.models.rollout``."""


@dataclass(frozen=True, eq=False)
class FilmQuestion:
    """One film for one encoder.

    Args:
        square: grey uint8 (S, S).
        wants_attention: whether its attention map is wanted.
    """

    square: NDArray[np.uint8]
    wants_attention: bool


class ServedEncoder:
    """An encoder and its heads, loaded.

    Args:
        name: what requests and answers call it.
        export: its folder, checked.
        plan: how to run it.

    Raises:
        ModelError: a graph or a head cannot be loaded.
        UsageError: the export has no graph for the plan.
    """

    def __init__(self, name: str, export: ExportFolder, plan: Plan) -> None:
        self.name, self.export, self.plan = name, export, plan
        graph = export.embedding_graph(plan.precision)
        self.films_per_run = graph.films_per_run
        self._embed = open_engine(plan.runtime, export, graph, plan.num_threads)
        self._rollout_graph = export.find(GraphOutput.ROLLOUT)
        self._rollout: Engine | None = None
        self._loading = threading.Lock()
        self._heads = load_heads(export.folder)

    @property
    def has_attention(self) -> bool:
        """Whether it can say where an embedding came from."""
        return self._rollout_graph is not None

    def describe(self) -> dict[str, Any]:
        """What ``/v1/models`` says of it, JSON values."""
        return {
            "name": self.name,
            "embedding_dim": self.export.embedding_dim,
            "weights_sha256": self.export.encoder_sha256,
            "preprocessing_sha256": self.export.preprocessing_sha256,
            "image_size_px": self.export.image_size_px,
            "precision": self.plan.precision.value,
            "runtime": self.plan.runtime.value,
            "labels": list(self._heads.labels),
            "readouts": [quantity_title(name) for name in self._heads.readouts],
            "has_attention": self.has_attention,
            "has_reference": self._heads.reference is not None,
            "not_learnt": self._heads.not_learnt(),
        }

    def answer(self, questions: Sequence[FilmQuestion]) -> list[ModelAnswer]:
        """Answer a batch.

        Raises:
            ModelError: a number that a graph gives is not finite.
        """
        squares = np.stack([question.square for question in questions])
        embeddings = self._embed(squares)
        wanting = [row for row, question in enumerate(questions) if question.wants_attention]
        maps = dict(zip(wanting, self._attention(squares[wanting]), strict=True)) if wanting else {}
        findings, readings = self._heads.findings(embeddings), self._heads.readings(embeddings)
        familiarity = self._heads.familiarity(embeddings)
        return [
            ModelAnswer(
                embedding=embeddings[row],
                findings=findings[row],
                readouts=readings[row],
                familiarity=familiarity[row],
                attention=maps.get(row),
            )
            for row in range(len(questions))
        ]

    def _attention(self, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Maps (N, h, w) in [0, 1]; asked for only where there is such a graph."""
        assert self._rollout_graph is not None
        with self._loading:
            if self._rollout is None:
                graph, threads = self._rollout_graph, self.plan.num_threads
                self._rollout = open_engine(Runtime.ONNXRUNTIME, self.export, graph, threads)
        return scaled_maps(self._rollout(squares))


def scaled_maps(grids: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each map's minimum at 0 and maximum at 1, (N, h, w); zeros where attention is uniform.

    Source: paper appendix A.2.2, as ``pacx.models.rollout.attention_rollout`` scales what it has enlarged.
    """
    low, high = grids.min(axis=(1, 2), keepdims=True), grids.max(axis=(1, 2), keepdims=True)
    is_flat = high - low <= _FLAT * high
    return np.where(is_flat, 0, (grids - low) / np.where(is_flat, 1, high - low)).astype(np.float32)
