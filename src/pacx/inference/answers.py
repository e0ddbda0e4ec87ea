"""What a server says of a film, and how that becomes JSON: an open end of an interval is null."""

import math
from base64 import b64encode
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacx.core.vocabulary import quantity_title


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The probability of a label with its interval."""

    label: str
    probability: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A measured value guessed from the film, in the quantity's own unit; ``level`` is the interval's coverage."""

    name: str
    value: float
    low: float
    high: float
    level: float
    abstains: bool


@dataclass(frozen=True, kw_only=True)
class Familiarity:
    """How far a film lies from those the heads were fitted to, and which share of held-out films lies nearer."""

    distance: float
    percentile: float
    is_unusual: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelAnswer:
    """What one encoder says of one film.

    Args:
        embedding: float32 (D,).
        findings: by label, where a classifier lies beside the encoder.
        readouts: by quantity, where read-outs do.
        familiarity: where reference films do.
        attention: float32 (h, w) in [0, 1], where it was asked for.
    """

    embedding: NDArray[np.float32]
    findings: tuple[Finding, ...] = ()
    readouts: tuple[Reading, ...] = ()
    familiarity: Familiarity | None = None
    attention: NDArray[np.float32] | None = None

    def to_json(self, *, with_embedding: bool) -> dict[str, Any]:
        """The answer as the HTTP interface gives it; what the encoder has no head for is empty or null."""
        return {
            "embedding": self.embedding.tolist() if with_embedding else None,
            "findings": [_finite(asdict(finding)) for finding in self.findings],
            "readouts": [_finite(asdict(each) | {"name": quantity_title(each.name)}) for each in self.readouts],
            "out_of_distribution": _finite(asdict(self.familiarity)) if self.familiarity else None,
            "attention": None if self.attention is None else self.attention.tolist(),
        }


def picture_json(picture: bytes) -> dict[str, str] | None:
    """The film as the encoder saw it; null where it was not asked for."""
    return {"png_base64": b64encode(picture).decode()} if picture else None


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }
