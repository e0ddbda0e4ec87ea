"""``pacx embed``: films or ECG records to embeddings, in one .npz file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from pacx.cli.terminal import parse, say
from pacx.core.artifacts import staged_file
from pacx.core.errors import UsageError
from pacx.core.progress import progress
from pacx.data.images import IMAGE_SUFFIXES
from pacx.modalities.ecg import embed_ecg
from pacx.modalities.ecg_recordings import read_wfdb
from pacx.models.ecg_mae import is_ecg_mae, load_ecg_mae
from pacx.serving.encoder import load_encoder

_WFDB_HEADER = ".hea"


@dataclass(frozen=True, kw_only=True)
class EmbedCall:
    """Embed films with an image encoder, or WFDB records with an ECG encoder.

    The file holds two arrays: `paths` (N) and `embeddings` (N, D) float32, row i for path i.
    """

    encoder: Annotated[Path, tyro.conf.Positional]
    """An encoder folder, for films or for ECGs."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Films or .hea files; of a folder, everything below it that fits."""

    out: Path
    """The .npz file to write."""

    batch_size: int = 64
    """Samples per forward pass."""


def _expanded(paths: Sequence[Path], suffixes: tuple[str, ...]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(file for file in path.rglob("*") if file.suffix.lower() in suffixes)
        elif path.exists():
            found.append(path)
        else:
            raise UsageError(f"{path} does not exist; give files or folders that do")
    if not found:
        raise UsageError(f"nothing to embed: no file ending in {', '.join(suffixes)} in what was given")
    return found


def main(words: Sequence[str]) -> None:
    """Run the verb."""
    call = parse(EmbedCall, words, verb="embed", example="pacx embed runs/demo/encoder films/ --out embeddings.npz")
    if is_ecg_mae(call.encoder):
        model = load_ecg_mae(call.encoder)
        files = _expanded(call.paths, (_WFDB_HEADER,))
        embeddings = embed_ecg(model, read_wfdb(files)).embeddings
    else:
        encoder = load_encoder(call.encoder)
        files = _expanded(call.paths, IMAGE_SUFFIXES)
        with progress("Embedding", len(files), "films") as bar:
            embeddings = encoder.embed(files, batch_size=call.batch_size, advance=bar.advance)
    with staged_file(call.out) as partial, partial.open("wb") as file:
        np.savez(file, paths=np.array([str(path) for path in files]), embeddings=embeddings)
    say(f"{len(files)} embeddings of width {embeddings.shape[1]} written to {call.out}")
