"""Frozen targets: embeddings of a physiological signal, computed once, kept on disk, joined by sample id.

`modality -> targets -> distillation`. A folder of ``embeddings.npy`` (memory-mapped), ``sample_ids.json`` and
``manifest.json`` with a fingerprint over the encoder, its preprocessing and the data: a stale folder is detected, never
silently reused. Rows are found by id and never by position; embeddings that are constant or not finite are refused.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacx.core.artifacts import read_json, staged_directory, write_json
from pacx.core.errors import DataError

_EMBEDDINGS, _IDS, _MANIFEST = "embeddings.npy", "sample_ids.json", "manifest.json"
_NUM_SHOWN = 3


def fingerprint_of(encoder: Any, *arrays: NDArray[np.generic]) -> str:  # noqa: ANN401 - any JSON description
    """SHA-256 over what an embedding is a function of: a JSON description of the encoder, and the input arrays."""
    digest = hashlib.sha256(json.dumps(encoder, sort_keys=True).encode())
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class FrozenTargets:
    """Embeddings of one modality.

    Args:
        modality: its name, "ecg" or "labs".
        sample_ids: N unique ids.
        embeddings: float32 (N, D), finite, not all the same.
        fingerprint: of the encoder, its preprocessing and the data.

    Raises:
        DataError: ids repeat, shapes do not fit, or the embeddings say nothing.
    """

    modality: str
    sample_ids: tuple[str, ...]
    embeddings: NDArray[np.float32]
    fingerprint: str

    def __post_init__(self) -> None:
        if self.embeddings.ndim != 2 or len(self.sample_ids) != len(self.embeddings):
            raise DataError(
                f"{self.modality} targets: {len(self.sample_ids)} ids for embeddings of shape {self.embeddings.shape}; "
                "expected one row per id"
            )
        if len(set(self.sample_ids)) < len(self.sample_ids):
            raise DataError(f"{self.modality} targets: a sample id occurs twice; expected one recording per sample")
        if not np.isfinite(self.embeddings).all():
            raise DataError(f"{self.modality} targets hold NaN or infinity; check the recordings and embed again")
        if len(self.embeddings) > 1 and not np.ptp(self.embeddings, axis=0).any():
            raise DataError(f"{self.modality} targets are the same for all samples, so nothing can be learnt from them")

    def for_samples(self, sample_ids: Sequence[str]) -> NDArray[np.float32]:
        """The rows of these samples, in their order: (M, D).

        Raises:
            DataError: a sample has no target; the message names the first few.
        """
        place = {sample: row for row, sample in enumerate(self.sample_ids)}
        missing = [sample for sample in sample_ids if sample not in place]
        if missing:
            named = ", ".join(map(str, missing[:_NUM_SHOWN]))
            raise DataError(
                f"{len(missing)} of {len(sample_ids)} samples have no {self.modality} target, such as {named}; "
                "embed the recordings of this cohort"
            )
        return np.asarray(self.embeddings[[place[sample] for sample in sample_ids]])

    def save(self, path: Path) -> None:
        """Write the folder, whole or not at all; an older one of that name is replaced."""
        manifest = {
            "modality": self.modality,
            "fingerprint": self.fingerprint,
            "shape": list(self.embeddings.shape),
        }
        with staged_directory(path) as folder:
            np.save(folder / _EMBEDDINGS, np.ascontiguousarray(self.embeddings, np.float32))
            write_json(folder / _IDS, list(self.sample_ids))
            write_json(folder / _MANIFEST, manifest)

    @classmethod
    def open(cls, path: Path, *, expected_fingerprint: str | None = None) -> "FrozenTargets":
        """Open a folder; the embeddings stay on disk.

        Args:
            path: the folder ``save`` wrote.
            expected_fingerprint: refuse targets made by another encoder, preprocessing or data.

        Raises:
            DataError: a file is missing or does not fit, or the targets are stale.
        """
        manifest, sample_ids = read_json(path / _MANIFEST), read_json(path / _IDS)
        try:
            embeddings = np.load(path / _EMBEDDINGS, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise DataError(f"{path / _EMBEDDINGS} is missing or damaged; embed the recordings again") from error
        if list(embeddings.shape) != manifest["shape"] or embeddings.dtype != np.float32:
            raise DataError(f"{path / _EMBEDDINGS} does not have the shape its manifest names; embed again")
        if expected_fingerprint is not None and manifest["fingerprint"] != expected_fingerprint:
            raise DataError(f"{path} was made from another encoder, preprocessing or data; embed the recordings again")
        return cls(
            modality=manifest["modality"],
            sample_ids=tuple(sample_ids),
            embeddings=embeddings,
            fingerprint=manifest["fingerprint"],
        )
