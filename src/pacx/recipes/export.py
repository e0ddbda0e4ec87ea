"""An encoder folder becomes an export: graphs, their parity with torch, cards, and whatever heads lie beside it.

`encoder folder -> ONNX graphs -> parity on simulated films -> export folder`. The weights, their configuration and the
input contract are copied byte for byte, so that the heads fitted to them still belong to them. A graph that does not
agree with torch is not written.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from pacx.core.artifacts import staged_directory
from pacx.core.errors import UsageError
from pacx.core.provenance import provenance
from pacx.models.encoder_folder import LoadedEncoder, load_encoder
from pacx.serving.export_folder import (
    CONFIG,
    CONTRACT,
    GRAPHS_FOLDER,
    HEAD_FOLDERS,
    WEIGHTS,
    Graph,
    GraphInput,
    GraphOutput,
    Precision,
    describe_graph,
    is_export_folder,
    write_about,
)
from pacx.serving.onnx_graphs import write_graph

_CARD = "MODEL_CARD.md"


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """What an export holds."""

    name: str = ""
    """What answers and pages call the encoder; by default the folder written."""

    fold: bool = True
    """Let the graphs take grey uint8 pixels (N, S, S); without it they take normalised float32 (N, C, S, S)."""

    rollout: bool = True
    """Write the graph of attention rollouts as well."""


def export_encoder(encoder: Path, out: Path, config: ExportConfig) -> None:
    """Write an export, whole or not at all; an older export of that name is replaced.

    Args:
        encoder: an encoder folder of ours; its read-outs and other heads come along.
        out: the folder.
        config: what it holds.

    Raises:
        UsageError: ``out`` is the encoder itself, or holds something that is no export.
        ModelError: the encoder cannot be opened, or a graph does not agree with it.
        ArtifactError: the folder cannot be written.
    """
    if out.resolve() == encoder.resolve():
        raise UsageError(f"{out} is the encoder itself; export it to another folder")
    if out.exists() and not is_export_folder(out) and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} holds something that is no export; choose another folder, or an empty one")
    loaded = load_encoder(encoder)
    with staged_directory(out) as folder:
        for file in (WEIGHTS, CONFIG, CONTRACT, _CARD):
            if (encoder / file).is_file():
                shutil.copyfile(encoder / file, folder / file)
        for head in HEAD_FOLDERS:
            if (encoder / head).is_dir():
                shutil.copytree(encoder / head, folder / head)
        graphs = _write_graphs(loaded, folder, config)
        write_about(
            folder,
            name=config.name or out.name,
            embedding_dim=loaded.vit.num_features,
            graphs=graphs,
            provenance=provenance("pacx export", 0).to_json(),
        )


def _write_graphs(encoder: LoadedEncoder, folder: Path, config: ExportConfig) -> tuple[Graph, ...]:
    (folder / GRAPHS_FOLDER).mkdir()
    takes = GraphInput.PIXELS if config.fold else GraphInput.IMAGES
    wanted = {f"{GRAPHS_FOLDER}/fp32.onnx": GraphOutput.EMBEDDING}
    if config.rollout:
        wanted[f"{GRAPHS_FOLDER}/rollout.onnx"] = GraphOutput.ROLLOUT
    for file, gives in wanted.items():
        write_graph(encoder, folder / file, takes=takes, gives=gives)
    return tuple(
        describe_graph(folder, file, precision=Precision.FP32, takes=takes, gives=gives)
        for file, gives in wanted.items()
    )
