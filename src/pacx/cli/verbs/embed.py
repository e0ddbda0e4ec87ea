"""``pacx embed``: films or ECG records to an .npz file; recordings of a modality to frozen targets."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import numpy as np
import tyro
from numpy.typing import NDArray

from pacx.cli.terminal import parse, say
from pacx.cli.verbs.predict import say_quarantined
from pacx.core.artifacts import sha256_of, staged_file
from pacx.core.discovery import like
from pacx.core.errors import UsageError, refuse_idle
from pacx.inference.export_folder import Precision
from pacx.inference.film_embedders import open_film_embedder
from pacx.inference.film_files import embedded_files, expanded
from pacx.modalities.modality import EmbeddingSettings, Modality, embed_once, modalities
from pacx.models.device import AUTOMATIC, chosen_device
from pacx.models.ecg.kinds import is_ecg_encoder

OptionsT = TypeVar("OptionsT")


@dataclass(frozen=True, kw_only=True)
class EmbedCall:
    """Embed films with an image encoder, or ECGs of any format with an ECG encoder.

    The file holds `paths` (N), `embeddings` (N, D) float32, row i for path i, and of films `precision` (fp32 or int8).
    Killed among films, it goes on where it stopped when called again. Frozen targets for distillation have words of
    their own: pacx embed ecg|ecg-measures|labs|vitals --help.
    """

    encoder: Annotated[Path, tyro.conf.Positional]
    """An encoder folder, for films or for ECGs; write ./ecg for a folder that is named like a modality."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Films or ECG files, folders (everything below that fits), or patterns in quotes ("films/**/*.dcm")."""

    out: Path
    """The .npz file to write."""

    precision: Precision = Precision.FP32
    """Which graph of an export."""

    batch_size: int = 64
    """Samples per forward pass."""

    num_workers: int = 2
    """Processes that decode films or filter ECGs; never changes a number."""

    device: str = AUTOMATIC
    """Where an encoder folder runs (cpu, cuda, cuda:1), by default a GPU if there is one; exports use the processor."""

    max_bad_fraction: float = 0.001
    """Stop when more films or records than this share cannot be used; OUT.quarantine.json names those that cannot."""


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


def _embed_files(words: Sequence[str]) -> None:
    call = parse(EmbedCall, words, verb="embed", example="pacx embed runs/demo/encoder films/ --out embeddings.npz")
    if is_ecg_encoder(call.encoder):
        _embed_ecgs(call)
        return
    embedder = open_film_embedder(call.encoder, precision=call.precision, device=call.device)
    files, notes = expanded(call.paths)
    for note in notes:
        say(note)
    with embedded_files(
        files,
        call.out,
        embedder,
        batch_size=call.batch_size,
        max_bad_fraction=call.max_bad_fraction,
        num_workers=call.num_workers,
    ) as found:
        _save(found.paths, found.embeddings, call.out, precision=embedder.precision.value)
        say_quarantined(found.bad, call.out)


def _embed_ecgs(call: EmbedCall) -> None:
    """Embed ECGs by an ECG encoder."""
    from pacx.modalities.ecg_signal.ecg_file import format_of, recordings_in, without_parts
    from pacx.modalities.ecg_signal.job import EcgJob
    from pacx.modalities.ecg_signal.readers import ecg_sources
    from pacx.models.ecg.encoder import load_ecg_encoder

    refuse_idle(call, ("precision",), f"{call.encoder}, which is an ECG encoder")
    if call.batch_size < 1:
        raise UsageError(f"--batch-size is {call.batch_size}; give at least 1")
    settings = EmbeddingSettings(
        device=chosen_device(call.device), num_workers=call.num_workers, max_bad_fraction=call.max_bad_fraction
    )
    files, notes = expanded(call.paths, lambda path: format_of(path) is not None, "ECG")
    for note in notes:
        say(note)
    refs = recordings_in(without_parts(files))
    paths = {str(ref): ref.path for ref in refs}
    recordings = ecg_sources(refs, sample_ids=list(paths))
    targets = EcgJob(load_ecg_encoder(call.encoder), recordings, batch_size=call.batch_size).run(settings)
    _save(targets.sample_ids, targets.embeddings, call.out)
    bad = [replace(each, file=each.sample_id, sha256=sha256_of(paths[each.sample_id])) for each in targets.quarantined]
    say_quarantined(bad, call.out)


def _save(paths: Sequence[str], embeddings: NDArray[np.float32], out: Path, precision: str | None = None) -> None:
    with staged_file(out) as partial, partial.open("wb") as file:
        said = {} if precision is None else {"precision": np.array(precision)}
        np.savez(file, allow_pickle=False, paths=np.array(paths), embeddings=embeddings, **said)
    say(f"{len(paths)} embeddings of width {embeddings.shape[1]} written to {out}")


def _embed_targets(modality: Modality[Any], words: Sequence[str]) -> None:
    name = modality.card.name
    kind: Any = TargetsCall[modality.options_type]  # type: ignore[name-defined]  # known when called
    call = parse(kind, words, verb=f"embed {name}", example=modality.card.example)
    job = modality.open(call.options)
    for note in job.notes:
        say(note)
    targets, is_new = embed_once(job, call.out, call.settings, overwrite=call.overwrite)
    for entry in targets.quarantined:
        say(f"quarantined: {entry}")
    done = "written to" if is_new else "were there already, of the same encoder and recordings, in"
    size = f"{len(targets.sample_ids)} {name} targets of width {targets.embeddings.shape[1]}"
    say(f"{size} {done} {call.out}")


def main(words: Sequence[str]) -> None:
    """Embed films or ECGs to one file, or recordings of a modality to frozen targets."""
    known = modalities()
    if words and words[0] in known:
        _embed_targets(known[words[0]], words[1:])
        return
    if words and not words[0].startswith("-") and "/" not in words[0] and not Path(words[0]).exists():
        raise UsageError(
            f"{words[0]} is no folder of an encoder, and no modality among {', '.join(known)}{like(words[0], known)}"
        )
    _embed_files(words)
