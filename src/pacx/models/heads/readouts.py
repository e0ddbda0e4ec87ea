"""Read-outs beside an encoder: a patient's measured values guessed from the film's embedding, each with an interval.

`embedding -> linear score -> value and interval in the quantity's own unit`. ``pacx.evaluation.probes.readouts`` fits
them; here they are kept in a folder beside the encoder they belong to, and applied. Numpy alone, so that a server needs
no more. It refuses a folder that was altered, and read-outs of another encoder or another pooling of it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacx.models.heads.folder import load_head, save_head

FOLDER = "readouts"
"""The folder's name inside an encoder folder."""
_CHANCE_THRESHOLD = 1e-7
"""So near to 0 or 1 a chance counts as such, as in scikit-learn's QuantileTransformer, which fitted the quantiles."""
_PARTS = ("weight", "quantiles", "chances", "numbers")

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ReadoutHead:
    """One quantity read from embeddings.

    Args:
        weight: (D,), from an embedding to a normal score of the training patients.
        bias: of the score.
        quantiles: (K,) ascending values of the training patients, in the quantity's own unit.
        chances: (K,) in [0, 1], the share of training patients at or below each.
        radius: half the interval's width, in normal scores; infinite where too few patients calibrated it.
        relative_width: the interval's width over that of a guess without the film; 1 when it is infinite.
        level: share of new patients of the same hospital whose value the interval covers, in (0, 1).
        abstains: whether the film says too little for the read-out to be shown.
    """

    weight: Float
    bias: float
    quantiles: Float
    chances: Float
    radius: float
    relative_width: float
    level: float
    abstains: bool

    def scores(self, embeddings: NDArray[np.floating]) -> Float:
        """Predicted normal scores, (N,), of embeddings (N, D)."""
        return embeddings.astype(np.float64) @ self.weight + self.bias

    def predict(self, embeddings: NDArray[np.floating]) -> Float:
        """Value and interval: (N, 3) low, value, high, in the quantity's own unit; an interval may be infinite."""
        middle = self.scores(embeddings)
        ends = np.stack([middle - self.radius, middle, middle + self.radius], axis=1)  # (N, 3)
        chances = _normal_cdf(ends)
        chances = np.where(chances > 1 - _CHANCE_THRESHOLD, 1.0, np.where(chances < _CHANCE_THRESHOLD, 0.0, chances))
        values = np.interp(chances, self.chances, self.quantiles)
        # Nothing beyond was ever seen in training: an end there is open, or it would promise what it cannot know.
        values[:, 0] = np.where(values[:, 0] <= self.quantiles[0], -np.inf, values[:, 0])
        values[:, 2] = np.where(values[:, 2] >= self.quantiles[-1], np.inf, values[:, 2])
        return values


def _normal_cdf(scores: Float) -> Float:
    tails = [0.5 * math.erfc(-score / math.sqrt(2)) for score in scores.ravel()]
    return np.array(tails, np.float64).reshape(scores.shape)


def save_readouts(encoder: Path, heads: Mapping[str, ReadoutHead]) -> Path:
    """Write read-outs into the folder of the encoder whose embeddings they were fitted to; older ones are replaced.

    Args:
        encoder: an encoder folder.
        heads: by name of the quantity.

    Returns:
        The folder written, whole or not at all.

    Raises:
        DataError: there is no such encoder folder.
        ArtifactError: it cannot be written to.
    """
    tensors: dict[str, NDArray[Any]] = {}
    quantities: list[dict[str, Any]] = []
    for number, (name, head) in enumerate(heads.items()):
        parts = (head.weight, head.quantiles, head.chances, np.array([head.bias, head.radius, head.relative_width]))
        tensors |= {f"{number}.{part}": array for part, array in zip(_PARTS, parts, strict=True)}
        quantities.append({"name": name, "level": head.level, "abstains": head.abstains})
    return save_head(encoder, FOLDER, tensors, {"quantities": quantities})


def load_readouts(encoder: Path) -> dict[str, ReadoutHead]:
    """The read-outs in an encoder folder, by quantity.

    Raises:
        DataError: a file is missing or is no JSON.
        ModelError: they were altered, are of another version, or belong to another encoder or pooling.
    """
    tensors, about = load_head(encoder, FOLDER)
    return {each["name"]: _head(tensors, number, each) for number, each in enumerate(about["quantities"])}


def _head(tensors: Mapping[str, NDArray[Any]], number: int, about: dict[str, Any]) -> ReadoutHead:
    weight, quantiles, chances, numbers = (tensors[f"{number}.{part}"] for part in _PARTS)
    bias, radius, relative_width = map(float, numbers)
    return ReadoutHead(
        weight, bias, quantiles, chances, radius, relative_width, float(about["level"]), bool(about["abstains"])
    )
