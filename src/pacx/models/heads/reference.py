"""Films the encoder knows, kept beside it: how far a new one's embedding lies from theirs.

`embedding -> Mahalanobis distance -> percentile among films that were held out`. ``pacx.evaluation.probes.reference``
fits it; here it is kept and applied, with numpy alone. A distance says that a film is unlike the others, not that the
encoder is wrong about it, and a film may be near and wrong all the same.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.models.heads.folder import load_head, save_head

FOLDER = "reference"
"""The folder's name inside an encoder folder."""
UNUSUAL_PERCENTILE = 99.0

Float = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """Where embeddings usually lie.

    Attributes:
        mean: (D,) of the training films.
        factor: (D, D), a factor of their inverse covariance: with it |(x - mean) factor| is the distance.
        held_out: (n,) ascending distances of films of other patients.
        fitted_on: which films, in words.
    """

    mean: Float
    factor: Float
    held_out: Float
    fitted_on: str

    def distances(self, embeddings: NDArray[np.floating]) -> Float:
        """Mahalanobis distances, (N,), of embeddings (N, D).

        Source: Lee et al. 2018, "A Simple Unified Framework for Detecting Out-of-Distribution Samples", with one class.
        """
        return np.linalg.norm((embeddings.astype(np.float64) - self.mean) @ self.factor, axis=1)

    def percentiles(self, distances: Float) -> Float:
        """Share of the held-out films that lie nearer, (N,) in [0, 100).

        Counted as one of n + 1, so that of films like the held-out ones at most one in a hundred reaches the 99th; with
        fewer than 99 held out none can.
        """
        nearer = np.searchsorted(self.held_out, distances, side="left")
        return 100.0 * nearer / (len(self.held_out) + 1)

    def is_unusual(self, distances: Float) -> NDArray[np.bool_]:
        """Which films, (N,), lie further out than all but one in a hundred."""
        return self.percentiles(distances) >= UNUSUAL_PERCENTILE


def save_reference(encoder: Path, reference: Reference) -> Path:
    """Write a reference beside the encoder it was fitted to; see ``head_folder.save_head``."""
    tensors = {"mean": reference.mean, "factor": reference.factor, "held_out": reference.held_out}
    return save_head(encoder, FOLDER, tensors, {"fitted_on": reference.fitted_on})


def load_reference(encoder: Path) -> Reference:
    """The reference in an encoder folder; errors as ``head_folder.load_head``."""
    tensors, about = load_head(encoder, FOLDER)
    return Reference(
        mean=tensors["mean"],
        factor=tensors["factor"],
        held_out=tensors["held_out"],
        fitted_on=str(about["fitted_on"]),
    )
