"""``pacx export``: an encoder folder to ONNX graphs and whatever else others need to run it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from pacx.cli.terminal import parse, say
from pacx.exporting.export import ExportConfig, export_encoder
from pacx.inference.export_folder import load_export


@dataclass(frozen=True, kw_only=True)
class ExportCall:
    """Turn an encoder folder into one that runs without torch.

    OUT is again an encoder folder (timm opens it) and holds ONNX graphs beside the weights, in single precision and
    with 8-bit weights, with the heads that lay beside the encoder.
    """

    encoder: Annotated[Path, tyro.conf.Positional]
    """An encoder folder."""

    out: Path
    """The folder to write."""

    config: Annotated[ExportConfig, tyro.conf.arg(name="")] = field(default_factory=ExportConfig)
    """What it holds."""


def main(words: Sequence[str]) -> None:
    """Export an encoder folder, and say which graphs were refused and why."""
    call = parse(ExportCall, words, verb="export", example="pacx export runs/demo/encoder --out exports/pacx")
    for refusal in export_encoder(call.encoder, call.out, call.config):
        say(refusal)
    export = load_export(call.out)
    for graph in export.graphs:
        say(f"{graph.file}: {graph.input.value} to {graph.output.value}, {graph.precision.value}")
    say(f"{export.name} written to {call.out}")
