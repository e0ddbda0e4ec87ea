"""A pack through a frozen encoder, once: one embedding per film, or one token per patch.

Every protocol works on these arrays and never runs the encoder again. The encoder is in eval mode and no gradient is
kept. Refuses a pack made under another input contract than the encoder's, and embeddings that are not finite.
"""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from pacx.core.errors import ModelError
from pacx.core.preprocessing import Preprocessing
from pacx.core.progress import progress
from pacx.data.augment import to_input
from pacx.data.pack import Pack
from pacx.models.vit import Pooling, patch_tokens, pooled


def check_preprocessing(pack: Pack, preprocessing: Preprocessing) -> None:
    """Refuse a pack that was not made for the encoder.

    Raises:
        ModelError: names both contracts.
    """
    if pack.preprocessing != preprocessing:
        raise ModelError(
            f"pack {pack.path} was made with {pack.preprocessing}, the encoder expects {preprocessing}; "
            "pack the images again for this encoder"
        )


@contextlib.contextmanager
def frozen(vit: VisionTransformer, device: torch.device | str) -> Iterator[None]:
    """Hold an encoder still on a device: eval mode, inference mode; training mode is restored afterwards."""
    was_training = vit.training
    vit.to(device).eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        vit.train(was_training)


def input_batches(
    pack: Pack,
    rows: NDArray[np.int64],
    *,
    batch_size: int,
    device: torch.device | str,
    title: str,
    is_mirrored: bool = False,
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """Films of the given rows, in order, as encoder input: (positions in ``rows`` (B,), images (B, C, S, S))."""
    with progress(title, len(rows), "images") as shown:
        for begin in range(0, len(rows), batch_size):
            positions = np.arange(begin, min(begin + batch_size, len(rows)))
            images = torch.from_numpy(pack.images[rows[positions]]).to(device)
            images = images.flip(-1) if is_mirrored else images
            yield positions, to_input(images, pack.preprocessing)
            shown.advance(len(positions))


def embed_pack(
    vit: VisionTransformer,
    pack: Pack,
    *,
    pooling: Pooling,
    preprocessing: Preprocessing,
    rows: NDArray[np.int64] | None = None,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    is_mirrored: bool = False,
) -> NDArray[np.float32]:
    """One embedding per film.

    Args:
        vit: the encoder; it is moved to ``device``.
        pack: the films.
        pooling: which part of the encoder's output stands for the film.
        preprocessing: the encoder's input contract, which the pack must keep.
        rows: rows of the pack, in any order; None = all of them.
        batch_size: films per forward pass.
        device: where the encoder runs.
        is_mirrored: flip every film left to right first.

    Returns:
        float32 (N, D), row i for ``rows[i]``.

    Raises:
        ModelError: the contracts differ, or an embedding is not finite.
    """
    check_preprocessing(pack, preprocessing)
    wanted = np.arange(len(pack.images)) if rows is None else rows
    embeddings = np.empty((len(wanted), vit.embed_dim), np.float32)
    with frozen(vit, device):
        batches = input_batches(
            pack, wanted, batch_size=batch_size, device=device, title="embedding", is_mirrored=is_mirrored
        )
        for positions, images in batches:
            embeddings[positions] = pooled(vit, images, pooling).float().cpu().numpy()
            _check_finite(embeddings[positions], pack, wanted[positions])
    return embeddings


def embed_patches(
    vit: VisionTransformer,
    pack: Pack,
    *,
    preprocessing: Preprocessing,
    rows: NDArray[np.int64],
    dtype: DTypeLike = np.float16,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
) -> NDArray[np.floating]:
    """One token per patch of every film: (N, L, D) in host memory, half precision unless told.

    At 224 pixels ViT-B/16 takes 0.3 MB per film in half precision. Arguments and errors as ``embed_pack``.
    """
    check_preprocessing(pack, preprocessing)
    tokens = np.empty((len(rows), vit.patch_embed.num_patches, vit.embed_dim), dtype)
    with frozen(vit, device):
        batches = input_batches(pack, rows, batch_size=batch_size, device=device, title="patch tokens")
        for positions, images in batches:
            with np.errstate(over="ignore"):  # a value beyond half precision becomes infinite and is refused below
                tokens[positions] = patch_tokens(vit, images).float().cpu().numpy()
            _check_finite(tokens[positions], pack, rows[positions])
    return tokens


def _check_finite(values: NDArray[np.floating], pack: Pack, rows: NDArray[np.int64]) -> None:
    is_bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if is_bad.any():
        raise ModelError(
            f"the encoder gave NaN or infinity for {int(is_bad.sum())} of {len(rows)} films, first for sample "
            f"{pack.sample_ids[rows[np.argmax(is_bad)]]}; the checkpoint is damaged"
        )
