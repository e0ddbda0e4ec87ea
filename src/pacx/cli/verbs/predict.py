"""``pacx predict``: what the heads beside an encoder say of films, as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from pacx.cli.terminal import parse, say
from pacx.core.artifacts import write_json
from pacx.core.errors import UsageError
from pacx.core.quarantine import Quarantined
from pacx.inference.export_folder import RESEARCH_USE, Precision
from pacx.inference.film_embedders import open_film_embedder
from pacx.inference.film_files import embedded_files, expanded
from pacx.inference.heads import load_heads
from pacx.inference.predictions import check_table_path, columns, write_table
from pacx.models.device import AUTOMATIC


@dataclass(frozen=True, kw_only=True)
class PredictCall:
    """Write findings, read-outs and how usual each film is, one row per film.

    DIR decides what runs: an export (pacx export) runs in ONNX Runtime, without torch; an encoder folder runs in torch.
    Columns: path; precision (fp32 or int8); per finding its probability, and NAME:low and NAME:high, the ends of its
    interval; the same per read-out, in the quantity's own unit; distance, percentile and is_unusual, where the folder
    has a reference. An end nobody can know is empty. Killed, it goes on where it stopped when called again. Research
    software, not a medical device.
    """

    dir: Annotated[Path, tyro.conf.Positional]
    """An export or an encoder folder, with heads beside it."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Films (PNG, JPEG, TIFF, BMP, DICOM), folders, or patterns in quotes ("films/**/*.dcm")."""

    out: Path
    """The table to write: .csv, .jsonl or .parquet."""

    precision: Precision = Precision.FP32
    """Which graph of an export."""

    device: str = AUTOMATIC
    """Where an encoder folder runs (cpu, cuda, cuda:1), by default a GPU if there is one; exports use the processor."""

    batch_size: int = 32
    """Films per forward pass."""

    num_workers: int = 2
    """Decoding processes; never changes a number."""

    max_bad_fraction: float = 0.001
    """Stop when more films than this share cannot be read; those that cannot are named in OUT.quarantine.json."""

    num_threads: int = 0
    """Of the runtime on the processor; 0 takes every core, or what a container's quota allows."""


def say_quarantined(bad: Sequence[Quarantined], out: Path) -> None:
    """Name what was left out, and keep the list beside the result."""
    place = out.with_name(f"{out.name}.quarantine.json")
    if not bad:
        place.unlink(missing_ok=True)  # of an earlier run
        return
    write_json(place, [{"file": entry.file, "reason": entry.reason, "sha256": entry.sha256} for entry in bad])
    for entry in bad:
        say(f"quarantined: {entry}")
    say(f"{len(bad)} files left out, named in {place}")


def main(words: Sequence[str]) -> None:
    """Write what the heads beside an encoder say of films as a table."""
    call = parse(PredictCall, words, verb="predict", example="pacx predict exports/pacx films/ --out findings.csv")
    check_table_path(call.out)
    (files, notes), heads = expanded(call.paths), load_heads(call.dir)
    for note in notes:
        say(note)
    if heads.is_empty:
        raise UsageError(
            f"{call.dir} has no heads, so there is nothing to predict; fit some with pacx evaluate linear-probe --save "
            "or pacx evaluate readout --save, or take embeddings with pacx embed"
        )
    embedder = open_film_embedder(call.dir, precision=call.precision, device=call.device, num_threads=call.num_threads)
    with embedded_files(
        files,
        call.out,
        embedder,
        batch_size=call.batch_size,
        max_bad_fraction=call.max_bad_fraction,
        num_workers=call.num_workers,
    ) as found:
        said = [embedder.precision.value] * len(found.paths)
        write_table(call.out, {"path": found.paths, "precision": said, **columns(heads, found.embeddings)})
        say_quarantined(found.bad, call.out)
    if heads.abstaining:
        say(f"left out, as the film says too little about them: {', '.join(heads.abstaining)}")
    say(f"{len(found.paths)} films, written to {call.out}. {RESEARCH_USE}")
