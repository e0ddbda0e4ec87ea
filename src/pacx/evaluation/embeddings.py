"""A pack through a frozen encoder, once: one embedding per film, or one token per patch.

Every protocol works on these arrays and never runs the encoder again. The encoder is in eval mode and no gradient is
kept. Refuses a pack whose films have another size than the encoder takes, and embeddings that are not finite.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor, nn

from pacx.core.errors import DataError, ModelError
from pacx.core.preprocessing import Preprocessing
from pacx.core.progress import progress
from pacx.data.augment import to_input
from pacx.data.packs.pack import Pack, rows_of
from pacx.models.encoders.film_encoder import FilmEncoder
from pacx.models.vit_config import Pooling

Alteration = Callable[[Tensor, NDArray[np.int64]], Tensor]
"""Grey films (B, S, S), uint8 or in [0, 1], and their rows in the pack (B,), to films of the same shape."""


def unaltered(films: Tensor, _rows: NDArray[np.int64]) -> Tensor:
    """The films as they are."""
    return films


def mirrored(films: Tensor, _rows: NDArray[np.int64]) -> Tensor:
    """The films flipped left to right, as the released code flips them for its probes."""
    return films.flip(-1)


def check_size(pack: Pack, preprocessing: Preprocessing) -> None:
    """Refuse a pack whose films have another size than the encoder takes, or were resized in another way.

    The pack's pixels are grey and not yet normalised; channels, mean and standard deviation are the encoder's and are
    applied at its door, so that encoders with different statistics look at one pack.

    Raises:
        ModelError: names both sizes and says what to do.
    """
    made = pack.preprocessing
    if (made.image_size_px, made.resize) != (preprocessing.image_size_px, preprocessing.resize):
        raise ModelError(
            f"pack {pack.path} holds films of {made.image_size_px} pixels ({made.resize}), the encoder takes "
            f"{preprocessing.image_size_px} ({preprocessing.resize}); pack the images again with --image-size-px "
            f"{preprocessing.image_size_px}"
        )


@contextlib.contextmanager
def frozen(network: nn.Module, device: torch.device | str) -> Iterator[None]:
    """Hold a network still on a device: eval mode, inference mode; training mode is restored afterwards."""
    was_training = network.training
    network.to(device).eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        network.train(was_training)


def input_batches(
    pack: Pack,
    rows: NDArray[np.int64],
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    device: torch.device | str,
    title: str,
    alter: Alteration = unaltered,
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """Films of the given rows, in order, as encoder input: (positions in ``rows`` (B,), images (B, C, S, S)).

    Args:
        pack: the films.
        rows: of the pack.
        preprocessing: the encoder's input contract.
        batch_size: films per batch.
        device: where the batches go.
        title: of the progress bar.
        alter: what happens to the grey films before they are normalised.

    Raises:
        ModelError: the pack has films of another size.
    """
    check_size(pack, preprocessing)
    with progress(title, len(rows), "images") as shown:
        for begin in range(0, len(rows), batch_size):
            positions = np.arange(begin, min(begin + batch_size, len(rows)))
            films = torch.from_numpy(rows_of(pack.images, rows[positions])).to(device)
            yield positions, to_input(alter(films, rows[positions]), preprocessing)
            shown.advance(len(positions))


def embed_pack(
    encoder: FilmEncoder,
    pack: Pack,
    *,
    rows: NDArray[np.int64] | None = None,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    alter: Alteration = unaltered,
) -> NDArray[np.float32]:
    """One embedding per film.

    Args:
        encoder: any encoder; its network is moved to ``device``.
        pack: the films.
        rows: rows of the pack, in any order; None = all of them.
        batch_size: films per forward pass.
        device: where the encoder runs.
        alter: what happens to the grey films first.

    Returns:
        float32 (N, D), row i for ``rows[i]``.

    Raises:
        DataError: no row was asked for.
        ModelError: the pack has films of another size, or an embedding is not finite.

    Example:
        >>> import pacx
        >>> from pacx.data import Pack
        >>> from pacx.evaluation import embed_pack
        >>> pack = Pack.open("packs/films")
        >>> embed_pack(pacx.load_encoder("runs/mae/encoder"), pack, rows=pack.rows("val")[:3]).shape
        (3, 32)
    """
    of_one = embed_each({"": encoder}, pack, rows=rows, batch_size=batch_size, device=device, alter=alter)
    return next(of_one)[1]


def embed_each(
    encoders: Mapping[str, FilmEncoder],
    pack: Pack,
    *,
    rows: NDArray[np.int64] | None = None,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    alter: Alteration = unaltered,
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """``embed_pack`` of several encoders by name; poolings of one network come of one pass over the films.

    Encoders are of one network where they hold the very same module, as what ``pooled_by`` and ``open_encoders`` give
    does.

    Args:
        encoders: any encoders.
        pack: the films; arguments and errors are those of ``embed_pack``.
        rows: see there.
        batch_size: see there.
        device: see there.
        alter: see there.

    Yields:
        A name and its float32 (N, D), network by network.
    """
    wanted = np.arange(len(pack.images)) if rows is None else rows
    networks: dict[tuple[int, Preprocessing], list[str]] = {}
    for name, each in encoders.items():
        networks.setdefault((id(each.module), each.preprocessing), []).append(name)
    for names in networks.values():
        first, poolings = encoders[names[0]], [encoders[name].pooling for name in names]

        def read(
            images: Tensor, first: FilmEncoder = first, poolings: Sequence[Pooling | None] = poolings
        ) -> Sequence[Tensor]:
            return first.embed_images_in(images, poolings)

        found = _embedded(read, first, pack, wanted, np.float32, batch_size=batch_size, device=device, alter=alter)
        for name, values in zip(names, found, strict=True):
            yield name, values.astype(np.float32, copy=False)


def embed_patches(
    encoder: FilmEncoder,
    pack: Pack,
    *,
    rows: NDArray[np.int64],
    dtype: DTypeLike = np.float16,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
) -> NDArray[np.floating]:
    """One token per patch of every film: (N, L, D) in host memory, half precision unless told.

    At 224 pixels ViT-B/16 takes 0.3 MB per film in half precision. Arguments and errors as ``embed_pack``; an encoder
    without a grid of patches is refused too.
    """
    (patches,) = _embedded(
        lambda images: [encoder.patches(images)],
        encoder,
        pack,
        rows,
        dtype,
        batch_size=batch_size,
        device=device,
        alter=unaltered,
    )
    return patches


def _embedded(
    read: Callable[[Tensor], Sequence[Tensor]],
    encoder: FilmEncoder,
    pack: Pack,
    rows: NDArray[np.int64],
    dtype: DTypeLike,
    *,
    batch_size: int,
    device: torch.device | str,
    alter: Alteration,
) -> list[NDArray[np.floating]]:
    """What ``read`` makes of every film, (N, ...) each."""
    arrays: list[NDArray[np.floating]] = []
    with frozen(encoder.module, device):
        batches = input_batches(
            pack, rows, encoder.preprocessing, batch_size=batch_size, device=device, title="embedding", alter=alter
        )
        for positions, images in batches:
            found = [each.float().cpu().numpy() for each in read(images)]
            if not arrays:
                arrays = [np.empty((len(rows), *each.shape[1:]), dtype) for each in found]
            for values, each in zip(arrays, found, strict=True):
                with np.errstate(over="ignore"):  # a value beyond half precision becomes infinite and is refused below
                    values[positions] = each
                _check_finite(values[positions], pack, rows[positions])
    if not arrays:
        raise DataError(f"no film of {pack.path} was asked for; check the pack's split column")
    return arrays


def _check_finite(values: NDArray[np.floating], pack: Pack, rows: NDArray[np.int64]) -> None:
    is_bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if is_bad.any():
        raise ModelError(
            f"the encoder gave NaN or infinity for {int(is_bad.sum())} of {len(rows)} films, first for sample "
            f"{pack.sample_ids[rows[np.argmax(is_bad)]]}; the checkpoint is damaged"
        )
