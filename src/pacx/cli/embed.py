"""``pacx embed``: films or ECG records to an .npz file; recordings of a modality to frozen targets."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import numpy as np
import tyro

from pacx.cli.terminal import parse, say
from pacx.core.artifacts import staged_file
from pacx.core.errors import UsageError
from pacx.core.progress import progress
from pacx.data.images import IMAGE_SUFFIXES
from pacx.modalities.ecg import EcgJob
from pacx.modalities.ecg_readers import read_wfdb
from pacx.modalities.modality import EmbeddingSettings, Modality, embed_once, modalities
from pacx.models.ecg_encoder import is_ecg_encoder, load_ecg_encoder
from pacx.serving.encoder import load_encoder

_WFDB_HEADER = ".hea"
OptionsT = TypeVar("OptionsT")


@dataclass(frozen=True, kw_only=True)
class EmbedCall:
    """Embed films with an image encoder, or WFDB records with an ECG encoder.

    The file holds two arrays: `paths` (N) and `embeddings` (N, D) float32, row i for path i. Frozen targets for
    distillation have words of their own: pacx embed ecg|labs|vitals --help.
    """

    encoder: Annotated[Path, tyro.conf.Positional]
    """An encoder folder, for films or for ECGs; write ./ecg for a folder that is named like a modality."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Films or .hea files; of a folder, everything below it that fits."""

    out: Path
    """The .npz file to write."""

    batch_size: int = 64
    """Samples per forward pass."""


@dataclass(frozen=True, kw_only=True)
class TargetsCall(Generic[OptionsT]):
    """Embed a modality's recordings as frozen targets for distillation.

    A folder that already holds targets of the same encoder, preparation and recordings is left as it is; one that
    holds others is stale and refused.
    """

    options: Annotated[OptionsT, tyro.conf.arg(name="")]
    """Encoder and recordings."""

    out: Path
    """The folder to write."""

    settings: Annotated[EmbeddingSettings, tyro.conf.arg(name="")] = field(
        default_factory=lambda: EmbeddingSettings(num_workers=2, max_bad_fraction=0.001)
    )
    """How to compute."""

    overwrite: bool = False
    """Replace stale targets in OUT."""


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


def _embed_files(words: Sequence[str]) -> None:
    call = parse(EmbedCall, words, verb="embed", example="pacx embed runs/demo/encoder films/ --out embeddings.npz")
    if is_ecg_encoder(call.encoder):
        model = load_ecg_encoder(call.encoder)
        files = _expanded(call.paths, (_WFDB_HEADER,))
        embeddings = EcgJob(model, read_wfdb(files)).run(EmbeddingSettings()).embeddings
    else:
        encoder = load_encoder(call.encoder)
        files = _expanded(call.paths, IMAGE_SUFFIXES)
        with progress("Embedding", len(files), "films") as bar:
            embeddings = encoder.embed(files, batch_size=call.batch_size, advance=bar.advance)
    with staged_file(call.out) as partial, partial.open("wb") as file:
        np.savez(file, paths=np.array([str(path) for path in files]), embeddings=embeddings)
    say(f"{len(files)} embeddings of width {embeddings.shape[1]} written to {call.out}")


def _embed_targets(modality: Modality[Any], words: Sequence[str]) -> None:
    name = modality.card.name
    kind: Any = TargetsCall[modality.options_type]  # type: ignore[name-defined]  # known when called
    call = parse(kind, words, verb=f"embed {name}", example=modality.card.example)
    job = modality.open(call.options)
    for note in job.notes:
        say(note)
    targets, is_new = embed_once(job, call.out, call.settings, overwrite=call.overwrite)
    for sample, reason in targets.quarantined:
        say(f"quarantined: {sample} {reason}")
    done = "written to" if is_new else "were there already, of the same encoder and recordings, in"
    size = f"{len(targets.sample_ids)} {name} targets of width {targets.embeddings.shape[1]}"
    say(f"{size} {done} {call.out}")


def main(words: Sequence[str]) -> None:
    """Run the verb."""
    known = modalities() if words else {}
    if words and words[0] in known:
        _embed_targets(known[words[0]], words[1:])
    else:
        _embed_files(words)
