"""An encoder in a user's hands: films in, embeddings or attention out. The image alone; nothing of training.

``pacx.load_encoder(folder)`` reads an encoder folder. A film given as a path, a PIL image or a grey array goes through
the same decoding and resizing as a pack, so an embedding never depends on the door the film came in by.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from timm.models.vision_transformer import VisionTransformer

from pacx.core.errors import DataError
from pacx.core.preprocessing import Preprocessing
from pacx.data.augment import to_input
from pacx.data.images import decode_grey, grey_from_image, to_square
from pacx.models.encoder_folder import load_encoder as load_encoder_folder
from pacx.models.rollout import attention_rollout
from pacx.models.vit import Pooling, pooled

Film = str | Path | Image.Image | NDArray[np.uint8]


class Encoder:
    """A frozen chest X-ray encoder with its input contract.

    Example:
        >>> encoder = pacx.load_encoder("runs/demo/encoder")
        >>> encoder.embed(["film.png"]).shape
        (1, 128)
    """

    def __init__(self, vit: VisionTransformer, preprocessing: Preprocessing, pooling: Pooling) -> None:
        self._vit = vit.eval()
        self.preprocessing = preprocessing
        self.pooling = pooling

    def to(self, device: str | torch.device) -> "Encoder":
        """Move the weights; returns self."""
        self._vit.to(device)
        return self

    def embed(
        self, films: Sequence[Film], *, batch_size: int = 64, advance: Callable[[int], None] | None = None
    ) -> NDArray[np.float32]:
        """Embed films.

        Args:
            films: paths, PIL images, or grey uint8 arrays (H, W) of any size.
            batch_size: films per forward pass.
            advance: called with the number of films after each batch, for a progress bar.

        Returns:
            (N, D) float32, row i for film i.

        Raises:
            DataError: a film cannot be read; the message names it.
        """
        parts = [np.empty((0, self._vit.num_features), np.float32)]
        for start in range(0, len(films), batch_size):
            chosen = films[start : start + batch_size]
            with torch.inference_mode():
                parts.append(pooled(self._vit, self._input(chosen), self.pooling).float().cpu().numpy())
            if advance is not None:
                advance(len(chosen))
        return np.concatenate(parts)

    def attention_rollout(self, film: Film) -> NDArray[np.float32]:
        """How much of the class token's attention each pixel received: (S, S), scaled to [0, 1].

        Source: paper appendix A.2.2, attention rollout.
        """
        with torch.inference_mode():
            return attention_rollout(self._vit, self._input([film]))[0].float().cpu().numpy()

    def _input(self, films: Sequence[Film]) -> torch.Tensor:
        squares = np.stack([to_square(_grey(film), self.preprocessing.image_size_px) for film in films])
        device = next(self._vit.parameters()).device
        return to_input(torch.from_numpy(squares).to(device), self.preprocessing)  # (B, C, S, S)


def _grey(film: Film) -> NDArray[np.uint8]:
    if isinstance(film, (str, Path)):
        return decode_grey(Path(film))
    if isinstance(film, Image.Image):
        return grey_from_image(film)
    if film.ndim != 2 or film.dtype != np.uint8:
        raise DataError(
            f"an array of shape {film.shape} and type {film.dtype} is not a film; give grey uint8 of shape (H, W)"
        )
    return film


def load_encoder(folder: str | Path) -> Encoder:
    """Open an encoder folder written by ``pacx train`` or ``pacx demo``.

    Raises:
        ModelError: a file is missing or damaged, or a weight does not fit.
    """
    loaded = load_encoder_folder(Path(folder))
    return Encoder(loaded.vit, loaded.preprocessing, loaded.pooling)
