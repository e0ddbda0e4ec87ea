"""Frozen targets: the embeddings an X-ray encoder is distilled towards, computed once and kept on disk.

One folder per modality: ``embeddings.npy`` (memory-mapped), ``sample_ids.npy`` and ``manifest.json``. Rows are found by
sample id, never by position, so that a target can not land on another patient; 20000001 and 20000001.0 are one id. A
fingerprint of encoder, input contract and data says what the numbers were made from; asking for another one is an error
that says which of the three changed. Recordings that were left out stand in the manifest with the reason.

It refuses duplicates, NaN, and embeddings that are the same for everybody: the mark of a dead encoder or blank input.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pacx.core.artifacts import read_json, sha256_of, staged_directory, write_json
from pacx.core.errors import DataError
from pacx.core.quarantine import Quarantined
from pacx.core.tables.ids import how_they_would_meet, whole_number_id
from pacx.models.fingerprint import weights_sha256

if TYPE_CHECKING:  # processes that only filter recordings start four times faster without torch
    from torch import nn

_CONSTANT_BELOW = 1e-6
_NAMED_AT_MOST = 5
_KIND = "frozen-targets"
_PARTS = ("the encoder", "the input contract", "the recordings or their ids")
_ROWS_AT_A_TIME = 256


def named(ids: Iterable[str]) -> str:
    """The first few of some sample ids, for an error message."""
    ids = list(ids)
    more = f" and {len(ids) - _NAMED_AT_MOST} more" if len(ids) > _NAMED_AT_MOST else ""
    return ", ".join(map(str, ids[:_NAMED_AT_MOST])) + more


def target_fingerprint(encoder: "nn.Module", preprocessing: dict[str, Any], *data: NDArray[Any] | Sequence[str]) -> str:
    """What an embedding depends on, as three SHA-256 joined by dashes: weights, input contract, recordings with ids.

    Args:
        encoder: the frozen network; every tensor of its state dict counts, by name.
        preprocessing: JSON values that decide how the data are prepared.
        data: arrays (any shape, read a block of rows at a time) and lists of sample ids.
    """
    contract = hashlib.sha256(json.dumps(preprocessing, sort_keys=True).encode())
    content = hashlib.sha256()
    for part in data:
        if isinstance(part, np.ndarray):
            content.update(f"{part.dtype.str}{part.shape}".encode())
            for start in range(0, len(part), _ROWS_AT_A_TIME):
                content.update(np.ascontiguousarray(part[start : start + _ROWS_AT_A_TIME]).data)
        else:
            content.update(json.dumps(list(part)).encode())
    return "-".join((weights_sha256(encoder), contract.hexdigest(), content.hexdigest()))


def _what_changed(before: str, now: str) -> str:
    pairs = list(zip(before.split("-"), now.split("-"), strict=False))
    changed = [part for part, (old, new) in zip(_PARTS, pairs, strict=False) if old != new]
    return " and ".join(changed) if len(pairs) == len(_PARTS) else "what they were made from"


@dataclass(frozen=True, eq=False)
class FrozenTargets:
    """Embeddings of one modality, one row per sample.

    Args:
        modality: "ecg", "labs", ...
        sample_ids: N different ids; they are the X-ray's sample ids.
        embeddings: (N, D) float32, finite, not the same for everybody.
        fingerprint: what the embeddings were made from (``target_fingerprint``).
        quarantined: samples that have no embedding, and why.
        notes: what a reader of results has to know of how their recordings were read, one sentence each.

    Raises:
        DataError: shapes do not match, an id occurs twice, a value is not finite, or all rows are equal.

    Example:
        >>> import numpy as np
        >>> from pacx.modalities import FrozenTargets
        >>> vectors = np.array([[0.1, 0.2], [0.3, 0.4]], np.float32)
        >>> targets = FrozenTargets("gait", ("a", "b"), vectors, "made up")
        >>> targets.for_samples(["b"])
        array([[0.3, 0.4]], dtype=float32)
    """

    modality: str
    sample_ids: tuple[str, ...]
    embeddings: NDArray[np.float32]
    fingerprint: str
    quarantined: tuple[Quarantined, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "sample_ids", tuple(map(str, self.sample_ids)))
        shape = self.embeddings.shape
        if len(shape) != 2 or shape[0] != len(self.sample_ids) or 0 in shape or self.embeddings.dtype != np.float32:
            raise DataError(
                f"{self.modality} targets are {self.embeddings.dtype} {shape} for {len(self.sample_ids)} sample ids, "
                "expected float32 (samples, dimensions) with one row per id; make them again"
            )
        if len(self._row_of) != len(self.sample_ids):
            twice = sorted({name for row, name in enumerate(self.sample_ids) if self._row(name) != row})
            raise DataError(f"{self.modality} targets name a sample more than once ({named(twice)}); keep one row each")
        finite = np.isfinite(self.embeddings).all(axis=1)
        if not finite.all():
            bad = [self.sample_ids[row] for row in np.flatnonzero(~finite)]
            raise DataError(
                f"{self.modality} targets have NaN or infinite values for {named(bad)}; "
                "check those recordings and the encoder's weights"
            )
        spread = float(np.ptp(self.embeddings, axis=0).max())
        if len(self.sample_ids) > 1 and spread <= _CONSTANT_BELOW * max(1.0, float(np.abs(self.embeddings).max())):
            raise DataError(
                f"{self.modality} targets are the same for all {len(self.sample_ids)} samples, so nothing can be "
                "learnt from them; check the recordings and the encoder's weights"
            )

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {whole_number_id(name): row for row, name in enumerate(self.sample_ids)}

    def _row(self, sample: str) -> int | None:
        return self._row_of.get(whole_number_id(sample))

    def has(self, ids: Iterable[str]) -> NDArray[np.bool_]:
        """Which samples have a target, (M,)."""
        return np.array([self._row(name) is not None for name in ids], bool)

    def for_samples(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Targets of some samples, (M, D), in the order of ``ids``.

        Raises:
            DataError: there is no target for an id; the message names some, and how they would meet.
        """
        rows = [row for name in ids if (row := self._row(name)) is not None]
        if len(rows) < len(ids):
            missing = [name for name in ids if self._row(name) is None]
            why = {entry.sample_id: entry.reason for entry in self.quarantined}
            shown = named(f"{name}, which {why[name]}" if name in why else name for name in missing)
            raise DataError(
                f"there are no {self.modality} targets for {len(missing)} of {len(ids)} samples ({shown})"
                f"{how_they_would_meet(ids, self.sample_ids)}; embed their recordings or leave the samples out"
            )
        return np.asarray(self.embeddings[rows], np.float32)

    def save(self, path: Path) -> None:
        """Write the folder ``open`` reads, whole or not at all."""
        spread = self.embeddings.std(axis=0)
        with staged_directory(path) as folder:
            np.save(folder / "embeddings.npy", self.embeddings)
            np.save(folder / "sample_ids.npy", np.asarray(self.sample_ids, np.str_))
            manifest = {
                "kind": _KIND,
                "modality": self.modality,
                "fingerprint": self.fingerprint,
                "shape": list(self.embeddings.shape),
                "mean": float(self.embeddings.mean()),
                "std": float(self.embeddings.std()),
                "smallest_dimension_std": float(spread.min()),
                "largest_dimension_std": float(spread.max()),
                "embeddings_sha256": sha256_of(folder / "embeddings.npy"),
                "sample_ids_sha256": sha256_of(folder / "sample_ids.npy"),
                "quarantined": [{"sample_id": each.sample_id, "reason": each.reason} for each in self.quarantined],
                "notes": list(self.notes),
            }
            write_json(folder / "manifest.json", manifest)

    @classmethod
    def open(cls, path: Path, *, expected_fingerprint: str | None = None) -> "FrozenTargets":
        """Open a folder written by ``save``; the embeddings stay on disk (memory-mapped).

        Args:
            path: the folder.
            expected_fingerprint: what the targets must have been made from; None accepts any.

        Raises:
            DataError: the folder is not complete, was changed, or was made from something else.
        """
        manifest = read_json(path / "manifest.json")
        if manifest.get("kind") != _KIND:
            raise DataError(f"{path} is not a folder of frozen targets; give one that embedding ECGs or labs wrote")
        if expected_fingerprint is not None and manifest["fingerprint"] != expected_fingerprint:
            raise DataError(
                f"{manifest['modality']} targets in {path} are stale: "
                f"{_what_changed(manifest['fingerprint'], expected_fingerprint)} changed since; embed again"
            )
        for name in ("embeddings", "sample_ids"):
            file = path / f"{name}.npy"
            if not file.is_file() or sha256_of(file) != manifest[f"{name}_sha256"]:
                raise DataError(f"{file} is missing or was changed since it was written; embed again")
        sample_ids = tuple(np.load(path / "sample_ids.npy", allow_pickle=False).tolist())
        embeddings = np.load(path / "embeddings.npy", mmap_mode="r", allow_pickle=False)
        quarantined = tuple(Quarantined(**entry) for entry in manifest.get("quarantined", ()))
        notes = tuple(manifest.get("notes", ()))
        return cls(manifest["modality"], sample_ids, embeddings, manifest["fingerprint"], quarantined, notes)


def targets_of_films(
    target: FrozenTargets, sample_ids: Sequence[str], patient_ids: NDArray[Any], *, is_partial: bool, place: Path
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """One modality's targets joined to films by sample id and never by position.

    Args:
        target: the modality's.
        sample_ids: N films.
        patient_ids: (N,).
        is_partial: whether a film may be without.
        place: of the films, for messages.

    Returns:
        Targets (N, D), zeros where a film has none; and which films have one, (N,).

    Raises:
        DataError: a film has none and pairs are not partial, or fewer than two patients have one.
    """
    has = target.has(sample_ids) if is_partial else np.full(len(sample_ids), True)
    table = np.zeros((len(sample_ids), target.embeddings.shape[1]), np.float32)
    table[has] = target.for_samples([sample for sample, is_there in zip(sample_ids, has, strict=True) if is_there])
    if (num_patients := len(set(patient_ids[has].tolist()))) < 2:
        remedy = (
            "give films of more patients"
            if num_patients
            else f"give both the same ids{how_they_would_meet(sample_ids, target.sample_ids)}"
        )
        raise DataError(
            f"distill: {int(has.sum())} of {len(has)} films of {place} have a target in {target.modality}, of "
            f"{num_patients} patients, so none can be told from another; {remedy}"
        )
    return table, has


def open_targets(paths: Sequence[Path]) -> list[FrozenTargets]:
    """Open target folders; those of one modality, embedded split by split as Symile-MIMIC ships them, become one.

    Args:
        paths: folders that embedding ECGs, labs or another modality wrote.

    Returns:
        one per modality, in the order of their first folders.

    Raises:
        DataError: a folder cannot be opened, or two of one modality come of different encoders or input contracts, or
            share a sample.

    Example:
        >>> from pathlib import Path
        >>> from pacx.modalities import open_targets
        >>> ecg, labs = open_targets([Path("runs/ecg/targets"), Path("runs/labs/targets")])
        >>> ecg.modality, labs.embeddings.shape
        ('ecg', (60, 6))
    """
    opened: dict[str, list[FrozenTargets]] = {}
    for path in paths:
        target = FrozenTargets.open(path)
        opened.setdefault(target.modality, []).append(target)
    return [_joined(parts) for parts in opened.values()]


def _joined(parts: Sequence[FrozenTargets]) -> FrozenTargets:
    first = parts[0]
    if len(parts) == 1:
        return first
    made_by = {part.fingerprint.rpartition("-")[0] for part in parts}
    if len(made_by) > 1:
        raise DataError(
            f"the {len(parts)} folders of {first.modality} targets come of different encoders or input contracts; "
            "embed every split with the same one"
        )
    if len(widths := {part.embeddings.shape[1] for part in parts}) > 1:
        raise DataError(
            f"{len(parts)} folders of {first.modality} targets hold {' and '.join(map(str, sorted(widths)))} values "
            "a sample; embed every split with the same encoder"
        )
    content = hashlib.sha256("".join(part.fingerprint for part in parts).encode()).hexdigest()
    return FrozenTargets(
        first.modality,
        tuple(sample for part in parts for sample in part.sample_ids),
        np.concatenate([part.embeddings for part in parts]),
        f"{made_by.pop()}-{content}",
        tuple(entry for part in parts for entry in part.quarantined),
        tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )
