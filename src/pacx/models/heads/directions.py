"""Predicted directions beside an encoder: a linear map from both of its poolings to what ECG and labs would say.

`class token and patch mean -> K directions of the targets`. Closed-form Stage 2 fits it; here it is kept and applied,
with numpy alone. timm's one linear head reads one pooling, so the map of both has a folder of its own.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.models.heads.folder import load_head, save_head

FOLDER = "directions"
"""The folder's name inside an encoder folder."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DirectionsHead:
    """A linear map to K directions.

    Attributes:
        names: the K directions, modality and number.
        weight: float32 (2 D, K), of the class token and, below it, of the patch mean.
        bias: float32 (K,).
        fitted_on: which films and targets, in words.
    """

    names: tuple[str, ...]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    fitted_on: str

    def predict(self, class_tokens: NDArray[np.floating], patch_means: NDArray[np.floating]) -> NDArray[np.float32]:
        """Predicted directions (N, K) of both poolings (N, D) of films."""
        both = np.concatenate([class_tokens, patch_means], axis=1, dtype=np.float32)
        return both @ self.weight + self.bias


def save_directions(encoder: Path, head: DirectionsHead) -> Path:
    """Write it beside the encoder it was fitted to; see ``heads.folder.save_head``."""
    about = {"names": list(head.names), "fitted_on": head.fitted_on}
    return save_head(encoder, FOLDER, {"weight": head.weight, "bias": head.bias}, about)


def load_directions(encoder: Path) -> DirectionsHead:
    """The map in an encoder folder; errors as ``heads.folder.load_head``."""
    tensors, about = load_head(encoder, FOLDER)
    return DirectionsHead(
        names=tuple(about["names"]),
        weight=tensors["weight"],
        bias=tensors["bias"],
        fitted_on=str(about["fitted_on"]),
    )
