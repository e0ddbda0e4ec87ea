"""An encoder folder becomes an export: graphs, their parity with torch, cards, and whatever heads lie beside it.

`encoder folder -> ONNX graphs -> parity on simulated films -> export folder`. The weights, their configuration and the
input contract are copied byte for byte, so that the heads fitted to them still belong to them. A graph that does not
agree with torch is not written.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacx.core.artifacts import read_json, staged_directory, write_json, write_text
from pacx.core.errors import UsageError
from pacx.core.provenance import provenance
from pacx.data.packs.pack import Pack
from pacx.evaluation.results import read_rows, rows_to_json
from pacx.exporting.model_card import CARD, OFFICIAL, hugging_face_readme, model_card, read_run
from pacx.inference.export_folder import (
    CHECKS,
    CONFIG,
    CONTRACT,
    GRAPHS_FOLDER,
    HEAD_FOLDERS,
    PARITY,
    WEIGHTS,
    Graph,
    GraphInput,
    GraphOutput,
    Precision,
    describe_graph,
    is_export_folder,
    load_export,
    write_about,
)
from pacx.models.encoders.origin import write_origin
from pacx.models.heads.folder import has_head
from pacx.models.heads.reference import save_reference

if TYPE_CHECKING:
    from pacx.models.encoders.directions_encoder import DirectionsEncoder
    from pacx.models.encoders.folder import LoadedEncoder


_FULL, _QUANTIZED, _ROLLOUT, _SEGMENTER = (
    f"{GRAPHS_FOLDER}/{name}.onnx" for name in ("fp32", "int8", "rollout", "segmenter")
)


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """What an export holds.

    Example:
        >>> from pacx.exporting import ExportConfig
        >>> config = ExportConfig(name="pacx", int8=False, measured=("pacx=results.json",))
        >>> config.fold, config.rollout
        (True, True)
    """

    name: str = ""
    """What answers and pages call the encoder; by default the folder written."""

    fold: bool = True
    """Let the graphs take grey uint8 pixels (N, S, S); without it they take normalised float32 (N, C, S, S)."""

    rollout: bool = True
    """Write the graph of attention rollouts as well."""

    int8: bool = True
    """Write a graph with 8-bit weights as well, unless it turns an embedding (cosine under 0.998), or surely changes
    a probe's AUROC by more than 0.002."""

    reference_pack: Path | None = None
    """A pack with training and at least 99 validation films that the encoder knows: with it the export can tell a film
    that is unlike them (out of distribution)."""

    measured: tuple[str, ...] = ()
    """NAME=RESULTS.json each: the rows that call the encoder NAME go onto the card, and into the export as data; by
    default those that it carries, or that lie beside its run under the run's name."""

    num_parity_films: int = 384
    """Simulated films on which graphs are compared; one half of the patients fits the probe, the other judges it."""


def export_encoder(encoder: Path, out: Path, config: ExportConfig) -> tuple[str, ...]:
    """Write an export, whole or not at all; an older export of that name is replaced.

    Args:
        encoder: an encoder folder of ours; its read-outs and other heads come along, and so do predicted directions,
            which then are what the graphs give.
        out: the folder.
        config: what it holds.

    Returns:
        A sentence for each graph that was wanted and refused, because it does not agree well enough.

    Raises:
        UsageError: ``out`` is the encoder itself, or holds something that is no export, or no row names the encoder.
        ModelError: the encoder cannot be opened, or its graph in single precision does not agree with torch.
        ArtifactError: the folder cannot be written.

    Example:
        >>> from pathlib import Path
        >>> from pacx.exporting import ExportConfig, export_encoder
        >>> config = ExportConfig(rollout=False, int8=False, num_parity_films=16)
        >>> export_encoder(Path("runs/pacx/encoder"), Path("exports/pacx"), config)
        ()
        >>> Path("exports/pacx/onnx/fp32.onnx").is_file()
        True
    """
    if out.resolve() == encoder.resolve():
        raise UsageError(f"{out} is the encoder itself; export it to another folder")
    if out.exists() and not is_export_folder(out) and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} holds something that is no export; choose another folder, or an empty one")

    from pacx.exporting.parity import measure_parity, parity_to_json, refusal
    from pacx.models.encoders.directions_encoder import DirectionsEncoder, open_encoder_folder
    from pacx.models.mae.checkpoints import save_encoder_for_mae

    loaded, run = open_encoder_folder(encoder), read_run(encoder)
    network = loaded.network if isinstance(loaded, DirectionsEncoder) else loaded
    if config.measured:
        run = replace(run, origin=replace(run.origin, results=tuple(_rows_named(config.measured))))
    with staged_directory(out) as folder:
        for file in (WEIGHTS, CONFIG, CONTRACT):
            shutil.copyfile(encoder / file, folder / file)
        write_origin(folder, run.origin)
        save_encoder_for_mae(network, folder / OFFICIAL)
        for head in HEAD_FOLDERS:
            if (encoder / head).is_dir():
                shutil.copytree(encoder / head, folder / head, copy_function=shutil.copyfile)
        if config.reference_pack is not None:
            _add_reference(loaded, folder, config.reference_pack)
        graphs = _write_graphs(loaded, folder, config)
        describe = partial(
            write_about,
            folder,
            name=config.name or out.name,
            embedding_dim=loaded.embedding_dim,
            provenance={**provenance("pacx export", 0).to_json(), "encoder": run.origin.provenance},
        )
        describe(graphs=graphs)
        measured, checks = measure_parity(load_export(folder), loaded, config.num_parity_films)
        refused = {parity.file: sentence for parity in measured if (sentence := refusal(parity))}
        write_json(folder / PARITY, parity_to_json(measured, refused))
        for file in refused:
            (folder / file).unlink()
        (folder / CHECKS).write_bytes(checks.to_bytes())
        describe(graphs=tuple(graph for graph in graphs if graph.file not in refused))
        card = model_card(load_export(folder), run, read_json(folder / PARITY))
        write_text(folder / CARD, card)
        write_text(folder / "README.md", hugging_face_readme(card))
    return tuple(refused.values())


def _rows_named(words: Sequence[str]) -> Iterator[dict[str, Any]]:
    for word in words:
        name, _, path = word.rpartition("=")
        rows = rows_to_json([row for row in read_rows(Path(path)) if row.encoder == name])
        if not rows:
            raise UsageError(
                f"--measured {word}: no row of the file names the encoder '{name}'; give NAME=RESULTS.json"
            )
        yield from rows


def _add_reference(encoder: "LoadedEncoder | DirectionsEncoder", folder: Path, path: Path) -> None:
    from pacx.evaluation.embeddings import embed_pack
    from pacx.evaluation.probes.reference import fit_reference

    pack, device = Pack.open(path), "cpu"  # where the graphs are written from, too
    training, held_out = (embed_pack(encoder, pack, rows=pack.rows(name), device=device) for name in ("train", "val"))
    save_reference(folder, fit_reference(training, held_out, fitted_on=f"pack {path.name}"))


def _write_graphs(
    encoder: "LoadedEncoder | DirectionsEncoder", folder: Path, config: ExportConfig
) -> tuple[Graph, ...]:
    """The graphs that were asked for, not yet compared with anything."""
    from pacx.exporting.graphs import write_graph
    from pacx.exporting.quantized_graph import write_quantized
    from pacx.models.segmenter import FOLDER as SEGMENTER
    from pacx.models.segmenter import load_segmenter

    (folder / GRAPHS_FOLDER).mkdir()
    takes = GraphInput.PIXELS if config.fold else GraphInput.IMAGES
    wanted = [(_FULL, Precision.FP32, GraphOutput.EMBEDDING)]
    write_graph(encoder, folder / _FULL, takes=takes, gives=GraphOutput.EMBEDDING)
    if config.int8:
        write_quantized(folder / _FULL, folder / _QUANTIZED)
        wanted.append((_QUANTIZED, Precision.INT8, GraphOutput.EMBEDDING))
    if config.rollout:
        write_graph(encoder, folder / _ROLLOUT, takes=takes, gives=GraphOutput.ROLLOUT)
        wanted.append((_ROLLOUT, Precision.FP32, GraphOutput.ROLLOUT))
    if has_head(folder, SEGMENTER):
        write_graph(
            encoder, folder / _SEGMENTER, takes=takes, gives=GraphOutput.MASKS, segmenter=load_segmenter(folder)
        )
        wanted.append((_SEGMENTER, Precision.FP32, GraphOutput.MASKS))
    return tuple(
        describe_graph(folder, file, precision=precision, takes=takes, gives=gives) for file, precision, gives in wanted
    )
