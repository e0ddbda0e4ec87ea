"""Films that travel with an export, and what its fp32 graph made of them where it was exported: any host is held to it.

A host that computes in fewer bits than it is asked for, or whose integers saturate, is found out before it answers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from pacx.inference.export_folder import CHECKS, ExportFolder, Precision

MAX_DIFFERENCE = 1e-4
"""Of an fp32 embedding from the one it is held to, element by element."""
MIN_COSINE = 0.998
"""Of an int8 embedding with the fp32 one: graphs of ours give 0.999 and more, graphs that saturate 0.997 and less."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Checks:
    """Films with their embeddings in fp32.

    Attributes:
        films: uint8 (N, S, S).
        embeddings: float32 (N, D).
    """

    films: NDArray[np.uint8]
    embeddings: NDArray[np.float32]

    def agree(self, precision: Precision, found: NDArray[np.float32]) -> bool:
        """Whether embeddings (N, D) of the films may stand for those kept."""
        if not np.isfinite(found).all():
            return False
        if precision is Precision.FP32:
            return bool(np.abs(found - self.embeddings).max() <= MAX_DIFFERENCE)
        return bool((cosines(found, self.embeddings) >= MIN_COSINE).all())

    def to_bytes(self) -> bytes:
        """As the export keeps them."""
        return save({"films": self.films, "embeddings": self.embeddings})


def cosines(found: NDArray[np.floating], wanted: NDArray[np.floating]) -> NDArray[np.float64]:
    """Row by row (N,), of arrays (N, D); NaN where one is all zero."""
    first, second = found.astype(np.float64), wanted.astype(np.float64)
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    with np.errstate(invalid="ignore"):
        return (first * second).sum(axis=1) / norms


def load_checks(export: ExportFolder) -> Checks | None:
    """The films that came with an export; None with one of a version that kept none."""
    if export.checks_sha256 is None:
        return None
    arrays = load((export.folder / CHECKS).read_bytes())
    return Checks(films=arrays["films"], embeddings=arrays["embeddings"])
