"""An encoder in a user's hands: films in, embeddings or attention out. The image alone; nothing of training.

``pacx.load_encoder(folder or hub id)`` reads an encoder folder. A film given as a path, a PIL image or a grey array
goes through the same decoding and resizing as a pack, so an embedding never depends on the door the film came in by.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from timm.models.vision_transformer import VisionTransformer

from pacx.core.errors import DataError, ModelError
from pacx.core.preprocessing import Preprocessing
from pacx.data.augment import to_input
from pacx.data.images.decode import decode_grey, film_from_image, require_film, to_square
from pacx.data.images.unreadable import check_size
from pacx.models.device import chosen_device, in_full_precision
from pacx.models.encoders.directions_encoder import DirectionsEncoder, open_encoder_folder
from pacx.models.encoders.folder import LoadedEncoder
from pacx.models.encoders.hub import hub_folder, is_hub_id
from pacx.models.fingerprint import weights_sha256
from pacx.models.rollout import attention_rollout
from pacx.models.vit_config import Pooling

Film = str | Path | Image.Image | NDArray[np.uint8]


class Encoder:
    """A frozen chest X-ray encoder with its input contract; a ``FilmEncoder``, so that every protocol takes it.

    Example:
        >>> from pathlib import Path
        >>> import pacx
        >>> encoder = pacx.load_encoder("runs/pacx/encoder")
        >>> films = sorted(Path("films").glob("*.png"))[:2]
        >>> encoder.embed(films).shape
        (2, 32)
        >>> encoder.attention_rollout(films[0]).shape
        (64, 64)
    """

    def __init__(self, loaded: LoadedEncoder | DirectionsEncoder) -> None:
        self._loaded = loaded

    @property
    def preprocessing(self) -> Preprocessing:
        """What a film goes through first; ``embed`` sees to it."""
        return self._loaded.preprocessing

    @property
    def pooling(self) -> Pooling | None:
        """Which part of the output stands for the film; None = the directions that lie beside the encoder."""
        return self._loaded.pooling

    @property
    def module(self) -> VisionTransformer:
        """The network that protocols move to a device."""
        return self._loaded.module

    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        """Embed what has gone through the preprocessing and is normalised: (B, D) from (B, C, S, S), on its device.

        Raises:
            DataError: a film holds NaN or infinity.
        """
        return self._loaded.embed_images(_finite(images))

    def embed_images_in(self, images: torch.Tensor, poolings: Sequence[Pooling | None]) -> tuple[torch.Tensor, ...]:
        """``embed_images`` in each of several poolings (None = its own), in one forward pass.

        Raises:
            DataError: a film holds NaN or infinity.
        """
        return self._loaded.embed_images_in(_finite(images), poolings)

    def patches(self, images: torch.Tensor) -> torch.Tensor:
        """One token per patch, row by row: (B, L, D) from normalised (B, C, S, S).

        Raises:
            DataError: a film holds NaN or infinity.
        """
        return self._loaded.patches(_finite(images))

    def pooled_by(self, pooling: Pooling) -> "Encoder":
        """The same weights with another part of the output standing for the film."""
        return Encoder(self._loaded.pooled_by(pooling))

    @property
    def weights_sha256(self) -> str:
        """What the weights are, in one number."""
        return weights_sha256(self._loaded.parts)

    def to(self, device: str | torch.device) -> "Encoder":
        """Move the weights; returns self.

        Raises:
            UsageError: torch has no such device here.
        """
        self._loaded.vit.to(chosen_device(str(device)))
        return self

    def embed(
        self, films: Film | Sequence[Film], *, batch_size: int = 64, advance: Callable[[int], None] | None = None
    ) -> NDArray[np.float32]:
        """Embed films.

        Args:
            films: a film or several: paths (PNG, JPEG, TIFF, BMP, DICOM), PIL images, or grey uint8 arrays (H, W), of
                any size and mixed as you like.
            batch_size: films per forward pass.
            advance: called with the number of films after each batch, for a progress bar.

        Returns:
            (N, D) float32, row i for film i.

        Raises:
            DataError: a film cannot be read, or an array is not grey uint8; the message names it and says what to do.
        """
        several = _several(films)
        parts = [np.empty((0, self._loaded.embedding_dim), np.float32)]
        for start in range(0, len(several), batch_size):
            chosen = several[start : start + batch_size]
            parts.append(self.embed_squares(self._squares(chosen)))
            if advance is not None:
                advance(len(chosen))
        return np.concatenate(parts)

    def embed_squares(self, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed films that have gone through the preprocessing already: (N, D) from grey uint8 (N, S, S).

        Raises:
            DataError: they are of another shape or type.
            ModelError: an embedding is not finite.
        """
        side = self.preprocessing.image_size_px
        if squares.dtype != np.uint8 or squares.ndim != 3 or squares.shape[1:] != (side, side):
            raise DataError(
                f"{squares.dtype} pixels of shape {squares.shape} are not what this encoder takes; give grey uint8 "
                f"(N, {side}, {side}), or films of any size to embed"
            )
        with torch.inference_mode(), in_full_precision():
            embeddings = self._loaded.embed_images(self._input(squares)).float().cpu().numpy()
        if not np.isfinite(embeddings).all():
            raise ModelError("the encoder gives NaN or infinity for a film; its weights are damaged, or fit no film")
        return embeddings

    def attention_rollout(self, film: Film) -> NDArray[np.float32]:
        """How much of the class token's attention each pixel received: (S, S), scaled to [0, 1].

        Source: paper appendix A.2.2, attention rollout.
        """
        with torch.inference_mode(), in_full_precision():
            return attention_rollout(self._loaded.vit, self._input(self._squares([film])))[0].float().cpu().numpy()

    def _squares(self, films: Sequence[Film]) -> NDArray[np.uint8]:
        return np.stack([to_square(_grey(film), self.preprocessing.image_size_px) for film in films])

    def _input(self, squares: NDArray[np.uint8]) -> torch.Tensor:
        device = next(self._loaded.vit.parameters()).device
        return to_input(torch.from_numpy(squares).to(device), self.preprocessing)  # (B, C, S, S)


def _finite(images: torch.Tensor) -> torch.Tensor:
    bad = [row for row, image in enumerate(images) if not torch.isfinite(image).all()]
    if bad:
        raise DataError(f"film {bad[0]} of {len(images)} holds NaN or infinity; leave it out, or read it again")
    return images


def _several(films: Film | Sequence[Film]) -> Sequence[Film]:
    if isinstance(films, (str, Path, Image.Image)):
        return [films]
    if isinstance(films, np.ndarray):
        return [films] if films.ndim == 2 else list(films)
    return films


def _grey(film: Film) -> NDArray[np.uint8]:
    if isinstance(film, (str, Path)):
        return decode_grey(Path(film))
    if isinstance(film, Image.Image):
        return film_from_image(film)
    if not isinstance(film, np.ndarray):
        raise DataError(f"a {type(film).__name__} is not a film; give a path, a PIL image or a grey uint8 array (H, W)")
    if film.ndim != 2 or film.dtype != np.uint8:
        raise DataError(f"an array of shape {film.shape} and type {film.dtype} is not a film; {_remedy(film)}")
    check_size(*film.shape)
    return require_film(film)


def _remedy(array: NDArray[np.generic]) -> str:
    """What to do with an array whose grey scale we would have to guess."""
    if array.ndim == 3 and array.shape[2] in (3, 4) and array.dtype == np.uint8:
        return "give PIL.Image.fromarray(array), whose colours become grey as a file's do"
    if array.ndim != 2:
        return "give grey uint8 of shape (H, W), one array per film"
    if array.dtype == np.uint16:
        return (
            "full scale may be 10, 12, 14 or 16 bits, so give grey uint8 (array >> 4 for 12 bits), or the path of the "
            "16-bit PNG or DICOM file"
        )
    if np.issubdtype(array.dtype, np.floating):
        return (
            "its scale is not known, so give grey uint8 ((255 * array).round().astype('uint8') for values from 0 to 1)"
        )
    return "give grey uint8 of shape (H, W)"


def load_encoder(place: str | Path, *, device: str | torch.device = "cpu") -> Encoder:
    """Open an encoder.

    Args:
        place: a folder written by ``pacx train``, ``pacx demo`` or ``pacx export``; or the id of such a folder on the
            Hugging Face hub, ``OWNER/NAME`` or ``OWNER/NAME@REVISION``, taken from the local cache or fetched.
        device: where it runs.

    Raises:
        ModelError: it is not there, a file is missing or damaged, or a weight does not fit.
        UsageError: torch has no such device here.

    Example:
        >>> import pacx
        >>> encoder = pacx.load_encoder("runs/pacx/encoder")
        >>> encoder.preprocessing.image_size_px
        64
    """
    folder = Path(place)
    if folder.is_dir() or not is_hub_id(str(place)):
        return Encoder(open_encoder_folder(folder)).to(device)
    try:
        folder = hub_folder(str(place))
    except ModelError as error:
        raise ModelError(f"{place} is no folder here, and as the name of a hub repository: {error}") from error
    return Encoder(open_encoder_folder(folder)).to(device)
