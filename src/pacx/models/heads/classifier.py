"""A classifier beside an encoder: findings with probabilities, and how much those hang on who it was fitted to.

`embedding -> probability with an interval, per label`. ``pacx.evaluation.probes.classifier`` fits it; here it is kept
and applied, with numpy alone. The interval says how the probability would vary had other patients of the same hospital
been fitted to, and nothing else: not whether the film is of a kind that was never seen.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.models.heads.folder import load_head, save_head

FOLDER = "classifier"
"""The folder's name inside an encoder folder."""

Float = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Classifier:
    """Linear heads for K labels.

    Attributes:
        labels: the K names.
        weight: float32 (1 + H, D, K); the first head is fitted to all training patients, each other to a random half.
        bias: float32 (1 + H, K).
        is_multiclass: exactly one label is true (softmax), or each by itself (sigmoid).
        level: share of the H heads that the interval holds, in (0, 1).
        fitted_on: which films and patients, in words.
    """

    labels: tuple[str, ...]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    is_multiclass: bool
    level: float
    fitted_on: str

    def probabilities(self, embeddings: NDArray[np.floating]) -> Float:
        """What each head says of embeddings (N, D): (1 + H, N, K)."""
        scores = embeddings.astype(np.float64) @ self.weight + self.bias[:, None]
        if not self.is_multiclass:
            return np.exp(-np.logaddexp(0.0, -scores))
        odds = np.exp(scores - scores.max(axis=2, keepdims=True))
        return odds / odds.sum(axis=2, keepdims=True)

    def predict(self, embeddings: NDArray[np.floating]) -> Float:
        """Low end, probability and high end per film and label: (N, K, 3).

        A head fitted to half of the patients varies about the one fitted to all as that one varies about the truth, so
        the quantiles of the halves are the interval.

        Source: Politis, Romano and Wolf 1999, "Subsampling", section 2; McCarthy 1969 for halves.
        """
        whole, *halves = self.probabilities(embeddings)
        tail = (1 - self.level) / 2
        low, high = np.quantile(halves, (tail, 1 - tail), axis=0)
        return np.stack([np.minimum(low, whole), whole, np.maximum(high, whole)], axis=2)


def save_classifier(encoder: Path, classifier: Classifier) -> Path:
    """Write a classifier beside the encoder it was fitted to; see ``head_folder.save_head``."""
    about = {
        "labels": list(classifier.labels),
        "is_multiclass": classifier.is_multiclass,
        "level": classifier.level,
        "fitted_on": classifier.fitted_on,
    }
    return save_head(encoder, FOLDER, {"weight": classifier.weight, "bias": classifier.bias}, about)


def load_classifier(encoder: Path) -> Classifier:
    """The classifier in an encoder folder; errors as ``head_folder.load_head``."""
    tensors, about = load_head(encoder, FOLDER)
    return Classifier(
        labels=tuple(about["labels"]),
        weight=tensors["weight"],
        bias=tensors["bias"],
        is_multiclass=bool(about["is_multiclass"]),
        level=float(about["level"]),
        fitted_on=str(about["fitted_on"]),
    )
