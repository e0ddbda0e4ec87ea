"""An exported encoder on disk, as a server reads it: which graphs there are, what they take and give, and their hashes.

``export.json`` ties the files of an encoder folder (``pacx.models.encoders.folder``) to the ONNX graphs made of it. It
is read without torch and without onnx. A folder in which any of these files is not the one that was exported is refused
as a whole.
"""

import enum
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacx.core.artifacts import read_json, sha256_of, write_json
from pacx.core.errors import DataError, ModelError, UsageError
from pacx.core.preprocessing import Preprocessing

FORMAT_VERSION = 1
ABOUT, PARITY, CONTRACT = "export.json", "parity.json", "preprocessing.json"
WEIGHTS, CONFIG = "model.safetensors", "config.json"
GRAPHS_FOLDER = "onnx"
CHECKS = f"{GRAPHS_FOLDER}/checks.safetensors"
"""Films and what the fp32 graph made of them (``pacx.inference.checks``)."""
HEAD_FOLDERS = ("readouts", "classifier", "segmenter", "reference", "directions")
"""What may lie beside the weights; each is tied to them by a hash of its own, which its own loader checks."""
RESEARCH_USE = "Research software, not a medical device."


class Precision(enum.Enum):
    """What a graph's matrix products are computed in."""

    FP32 = "fp32"
    INT8 = "int8"


class GraphInput(enum.Enum):
    """What a graph takes: the input's name."""

    PIXELS = "pixels"
    """Grey uint8 (N, S, S): the graph holds the preprocessing."""
    IMAGES = "images"
    """Normalised float32 (N, C, S, S)."""


class GraphOutput(enum.Enum):
    """What a graph gives: the output's name; all float32."""

    EMBEDDING = "embedding"
    """(N, D)."""
    ROLLOUT = "rollout"
    """(N, h, w), the class token's attention by patch, not scaled."""
    MASKS = "masks"
    """(N, K, S, S), probabilities of the segmenter's masks."""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """One ONNX file.

    Attributes:
        file: below the export folder, such as ``onnx/fp32.onnx``.
        sha256: of the file's bytes.
        precision: of its matrix products.
        input: what it takes.
        output: what it gives.
        films_per_run: the N that it takes; None for any.
    """

    file: str
    sha256: str
    precision: Precision
    input: GraphInput
    output: GraphOutput
    films_per_run: int | None = None

    @property
    def mixes_films(self) -> bool:
        """Whether a film's numbers depend on the films beside it: 8 bits share one scale in a run."""
        return self.precision is Precision.INT8 and self.films_per_run != 1

    def to_json(self) -> dict[str, Any]:
        """As ``export.json`` lists it."""
        return {
            "file": self.file,
            "sha256": self.sha256,
            "precision": self.precision.value,
            "input": self.input.value,
            "outputs": [self.output.value],
            "films_per_run": self.films_per_run,
        }


@dataclass(frozen=True, kw_only=True)
class ExportFolder:
    """An export that was checked to the last byte it speaks of.

    Attributes:
        folder: where it is; an encoder folder too.
        name: what answers and pages call it.
        encoder_sha256: of ``model.safetensors``.
        preprocessing: what a film must go through first.
        pooling: which part of the output stands for the film, ``token`` or ``mean``.
        embedding_dim: D.
        graphs: at least one that gives embeddings.
        heads: which of ``HEAD_FOLDERS`` lie beside the weights.
        checks_sha256: of ``CHECKS``; None with an export of a version that kept none.
        provenance: where it came from, JSON values.
    """

    folder: Path
    name: str
    encoder_sha256: str
    preprocessing: Preprocessing
    pooling: str
    embedding_dim: int
    graphs: tuple[Graph, ...]
    heads: tuple[str, ...]
    checks_sha256: str | None
    provenance: dict[str, Any]

    @property
    def preprocessing_sha256(self) -> str:
        """Equal for two encoders that want the same films."""
        return preprocessing_sha256(self.preprocessing)

    @property
    def image_size_px(self) -> int:
        """Side S of the square films that the graphs take."""
        return self.preprocessing.image_size_px

    def path(self, graph: Graph) -> Path:
        """Where a graph's file is."""
        return self.folder / graph.file

    def find(self, output: GraphOutput, precision: Precision = Precision.FP32) -> Graph | None:
        """The graph that gives this in this precision, if there is one."""
        fitting = (graph for graph in self.graphs if (graph.output, graph.precision) == (output, precision))
        return next(fitting, None)

    def embedding_graph(self, precision: Precision) -> Graph:
        """The graph of embeddings in this precision.

        Raises:
            UsageError: there is none, or its answer for a film depends on the films beside it.
        """
        graph = self.find(GraphOutput.EMBEDDING, precision)
        if graph is None:
            have = ", ".join(each.precision.value for each in self.graphs if each.output is GraphOutput.EMBEDDING)
            raise UsageError(
                f"{self.folder} has no {precision.value} graph of embeddings, only {have}; export the encoder again, "
                "or take that one"
            )
        if graph.mixes_films:
            raise UsageError(
                f"the 8-bit graph of {self.folder} is an older version's, whose answer for a film depends on the films "
                "beside it; export the encoder again, or take fp32"
            )
        return graph

    def feed(self, graph: Graph, squares: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Grey squares (N, S, S) as the graph's named input.

        Raises:
            DataError: they are of another shape or type.
        """
        side = self.image_size_px
        if squares.dtype != np.uint8 or squares.ndim != 3 or squares.shape[1:] != (side, side):
            raise DataError(
                f"{squares.dtype} pixels of shape {squares.shape} do not fit {graph.file}; "
                f"give uint8 (N, {side}, {side})"
            )
        if graph.input is GraphInput.PIXELS:
            return {graph.input.value: squares}
        return {graph.input.value: self.preprocessing.normalize(squares)}

    def taken(self, graph: Graph, found: NDArray[np.generic]) -> NDArray[np.float32]:
        """What a graph gave, row by row, if all of it is a number.

        Raises:
            ModelError: some of it is not finite.
        """
        values = np.asarray(found, np.float32)
        if not np.isfinite(values).all():
            raise ModelError(f"{self.path(graph)} gives NaN or infinity for a film; its weights do not fit this host")
        return values


def preprocessing_sha256(preprocessing: Preprocessing) -> str:
    """SHA-256 of an input contract: its JSON with sorted keys and no spaces."""
    text = json.dumps(preprocessing.to_json(), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def describe_graph(folder: Path, file: str, *, precision: Precision, takes: GraphInput, gives: GraphOutput) -> Graph:
    """A graph that lies in the folder, with its hash."""
    return Graph(
        file=file,
        sha256=sha256_of(folder / file),
        precision=precision,
        input=takes,
        output=gives,
        films_per_run=1 if precision is Precision.INT8 else None,
    )


def write_about(
    folder: Path, *, name: str, embedding_dim: int, graphs: tuple[Graph, ...], provenance: dict[str, Any]
) -> None:
    """Write ``export.json`` into an encoder folder whose graphs and heads are in place.

    Raises:
        DataError: the folder is no encoder folder.
        ArtifactError: it cannot be written.
    """
    contract = _contract_of(folder)
    preprocessing = Preprocessing.from_json(contract["preprocessing"])
    about = {
        "format_version": FORMAT_VERSION,
        "research_use": RESEARCH_USE,
        "name": name,
        "encoder_sha256": contract["sha256"][WEIGHTS],
        "preprocessing": preprocessing.to_json(),
        "preprocessing_sha256": preprocessing_sha256(preprocessing),
        "pooling": contract["pooling"],
        "embedding_dim": embedding_dim,
        "graphs": [graph.to_json() for graph in graphs],
        "heads": [head for head in HEAD_FOLDERS if (folder / head).is_dir()],
        "checks_sha256": sha256_of(folder / CHECKS) if (folder / CHECKS).is_file() else None,
        "provenance": provenance,
    }
    write_json(folder / ABOUT, about)


def is_export_folder(folder: Path) -> bool:
    """Whether ``pacx export`` wrote this folder."""
    return (folder / ABOUT).is_file()


def load_export(folder: Path) -> ExportFolder:
    """Open an export and check every file it speaks of; heads are checked by their own loaders.

    Raises:
        ModelError: a file is missing or was changed, parts of different encoders lie together, or the format is
            another version's.
    """
    try:
        about, contract = read_json(folder / ABOUT), _contract_of(folder)
    except DataError as error:
        raise ModelError(f"{error}; {folder} is no export, make one with pacx export") from error
    if not isinstance(about, dict) or about.get("format_version") != FORMAT_VERSION:
        raise ModelError(f"{folder / ABOUT} is not of format version {FORMAT_VERSION}; export the encoder again")
    try:
        export = ExportFolder(
            folder=folder,
            name=str(about["name"]),
            encoder_sha256=str(about["encoder_sha256"]),
            preprocessing=Preprocessing.from_json(about["preprocessing"]),
            pooling=str(about["pooling"]),
            embedding_dim=int(about["embedding_dim"]),
            graphs=tuple(_graph(each) for each in about["graphs"]),
            heads=tuple(head for head in HEAD_FOLDERS if (folder / head).is_dir()),
            checks_sha256=about.get("checks_sha256"),
            provenance=dict(about["provenance"]),
        )
        missing = sorted(set(about["heads"]) - set(export.heads))
        stated = about["preprocessing_sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{folder / ABOUT} is damaged (at {error}); export the encoder again") from error
    if missing:
        raise ModelError(f"{folder / missing[0]} is missing, though the export had it; copy the whole folder again")
    _require_one_encoder(export, contract, stated)
    return export


def _graph(values: dict[str, Any]) -> Graph:
    (output,) = values["outputs"]
    return Graph(
        file=str(values["file"]),
        sha256=str(values["sha256"]),
        precision=Precision(values["precision"]),
        input=GraphInput(values["input"]),
        output=GraphOutput(output),
        films_per_run=values.get("films_per_run"),  # which older exports do not say
    )


def _require_one_encoder(export: ExportFolder, contract: dict[str, Any], stated_sha256: str) -> None:
    """Refuse a folder whose files are not those that were exported together."""
    said = (export.encoder_sha256, export.preprocessing, export.pooling, export.preprocessing_sha256)
    preprocessing = Preprocessing.from_json(contract["preprocessing"])
    found = (contract["sha256"][WEIGHTS], preprocessing, contract["pooling"], stated_sha256)
    if said != found:
        raise ModelError(
            f"{export.folder / ABOUT} and {CONTRACT} beside it speak of different encoders; export the encoder again"
        )
    hashes = {WEIGHTS: contract["sha256"][WEIGHTS], CONFIG: contract["sha256"][CONFIG]}
    hashes |= {graph.file: graph.sha256 for graph in export.graphs}
    if export.checks_sha256 is not None:
        hashes[CHECKS] = export.checks_sha256
    if not any(graph.output is GraphOutput.EMBEDDING for graph in export.graphs):
        raise ModelError(f"{export.folder / ABOUT} names no graph that gives embeddings; export the encoder again")
    for file, sha256 in hashes.items():
        path = export.folder / file
        if export.folder.resolve() not in path.resolve().parents:
            raise ModelError(f"{export.folder / ABOUT} names '{file}', which is not in the folder; do not trust it")
        if not path.is_file() or sha256_of(path) != sha256:
            raise ModelError(f"{path} is missing or is not the file that was exported; copy the whole folder again")


def preprocessing_of(folder: Path) -> Preprocessing:
    """What a film goes through before the encoder in this folder, of ours or exported; nothing else is checked.

    Raises:
        DataError: the folder holds no contract.
        ModelError: it is of a kind that is not known.
    """
    return Preprocessing.from_json(_contract_of(folder)["preprocessing"])


def _contract_of(folder: Path) -> dict[str, Any]:
    contract = read_json(folder / CONTRACT)
    is_whole = isinstance(contract, dict) and {"preprocessing", "pooling", "sha256"} <= set(contract)
    if not is_whole or not {WEIGHTS, CONFIG} <= set(contract["sha256"]):
        raise DataError(f"{folder / CONTRACT} is no encoder's contract")
    return contract
