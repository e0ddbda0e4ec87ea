"""The heads beside an encoder, applied: findings, read-outs, how unusual a film is. Numpy alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.core.vocabulary import quantity_title
from pacx.inference.answers import Familiarity, Finding, Reading
from pacx.models.heads import classifier, readouts, reference
from pacx.models.heads.classifier import Classifier, load_classifier
from pacx.models.heads.folder import has_head
from pacx.models.heads.readouts import ReadoutHead, load_readouts
from pacx.models.heads.reference import Reference, load_reference


@dataclass(frozen=True, kw_only=True)
class Heads:
    """What an encoder was given to say beside embeddings; any of it may be missing. Read-outs are keyed by quantity."""

    readouts: Mapping[str, ReadoutHead]
    classifier: Classifier | None
    reference: Reference | None

    @property
    def labels(self) -> tuple[str, ...]:
        """What findings are called."""
        return self.classifier.labels if self.classifier is not None else ()

    @property
    def abstaining(self) -> tuple[str, ...]:
        """Read-outs about which the film says too little."""
        return tuple(name for name, head in self.readouts.items() if head.abstains)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to say."""
        return self.classifier is None and not self.readouts and self.reference is None

    def findings(self, embeddings: NDArray[np.float32]) -> list[tuple[Finding, ...]]:
        """By film, of embeddings (N, D)."""
        if self.classifier is None:
            return [()] * len(embeddings)
        rows = _by_film(self.classifier.predict, embeddings).tolist()  # N x K x 3
        return [
            tuple(
                Finding(label=label, probability=probability, low=low, high=high)
                for label, (low, probability, high) in zip(self.labels, row, strict=True)
            )
            for row in rows
        ]

    def readings(self, embeddings: NDArray[np.float32]) -> list[tuple[Reading, ...]]:
        """By film, of embeddings (N, D)."""
        values = {name: _by_film(head.predict, embeddings).tolist() for name, head in self.readouts.items()}  # N x 3
        return [
            tuple(
                Reading(name=name, value=value, low=low, high=high, level=head.level, abstains=head.abstains)
                for (name, head), (low, value, high) in zip(
                    self.readouts.items(), (values[name][row] for name in self.readouts), strict=True
                )
            )
            for row in range(len(embeddings))
        ]

    def familiarity(self, embeddings: NDArray[np.float32]) -> list[Familiarity | None]:
        """By film, of embeddings (N, D)."""
        if self.reference is None:
            return [None] * len(embeddings)
        distances = _by_film(self.reference.distances, embeddings)
        columns = (distances, self.reference.percentiles(distances), self.reference.is_unusual(distances))
        return [
            Familiarity(distance=distance, percentile=percentile, is_unusual=is_unusual)
            for distance, percentile, is_unusual in zip(*(column.tolist() for column in columns), strict=True)
        ]

    def not_learnt(self) -> list[str]:
        """What nobody should read out of an answer, a sentence each."""
        abstaining = [quantity_title(name) for name in self.abstaining]
        sentences = []
        if abstaining:
            sentences.append(
                f"{len(abstaining)} of {len(self.readouts)} quantities, of which a film says too little for a value to "
                f"be shown: {'; '.join(abstaining)}."
            )
        if not self.readouts:
            sentences.append("It has no read-outs: nothing of ECGs or laboratory values was fitted to it.")
        if self.classifier is None:
            sentences.append("It has no classifier: no finding was fitted to it.")
        else:
            sentences.append(
                f"Findings other than its {len(self.labels)} labels; fitted on {self.classifier.fitted_on}."
            )
        if self.reference is None:
            sentences.append("It has no reference films: it cannot say whether a film is unlike those it knows.")
        return sentences


def _by_film(
    answer: Callable[[NDArray[np.float32]], NDArray[np.float64]], embeddings: NDArray[np.float32]
) -> NDArray[np.float64]:
    """One film at a time: a matrix product of many rows differs from that of one in its last bits."""
    parts = [answer(embeddings[row : row + 1].copy()) for row in range(len(embeddings))]
    return np.concatenate(parts) if parts else answer(embeddings)


def load_heads(folder: Path) -> Heads:
    """The heads that lie beside an encoder.

    Raises:
        ModelError: one was altered, or belongs to another encoder.
        DataError: one is not whole.
    """
    return Heads(
        classifier=load_classifier(folder) if has_head(folder, classifier.FOLDER) else None,
        readouts=load_readouts(folder) if has_head(folder, readouts.FOLDER) else {},
        reference=load_reference(folder) if has_head(folder, reference.FOLDER) else None,
    )
