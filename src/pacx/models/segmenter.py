"""A light decoder from patch tokens to masks, and the loss it is trained with.

Segmentation is the check that physiology was not bought with anatomy: the decoder is small, so that the tokens must
carry the outlines. It stands behind a frozen encoder in the segmentation protocol. It refuses patches of one
pixel and tokens that form no square.
"""

import math
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pacx.core.errors import ModelError
from pacx.core.randomness import seed_of
from pacx.models.heads.folder import load_head, save_head
from pacx.models.initialization import seeded_rng

FOLDER = "segmenter"
"""The folder's name inside an encoder folder."""
IGNORED = 255
"""Mask value of a pixel nobody has judged."""

_FIRST_WIDTH = 256
_DICE_SMOOTHING = 1.0


class Segmenter(NamedTuple):
    """A trained decoder and what its masks show.

    Attributes:
        decoder: in eval mode on the CPU.
        mask_names: the K masks.
    """

    decoder: "SegmentationDecoder"
    mask_names: tuple[str, ...]


class SegmentationDecoder(nn.Module):
    """A 3x3 convolution to 256 channels, then one doubling transposed convolution per factor two of the patch size.

    For 16-pixel patches these are the paper's five layers: D -> 256, then 256 -> 128 -> 64 -> 32 -> K, with ReLU
    between. Other patch sizes halve the width as often as they double the grid; one that is no power of two doubles
    past it and is resampled to the input's resolution (DINOv2's 14: 16 times the grid, then 14/16 of that).

    Args:
        embed_dim: token width, D.
        patch_size: side of a patch, pixels; at least 2.
        num_masks: output channels, K.
        seed: fixes the initial weights; torch's global generator is left alone.

    Raises:
        ModelError: a patch size below 2.

    Source: paper appendix A.2.2; widths and activations as released by the authors.
    """

    def __init__(self, embed_dim: int, patch_size: int, num_masks: int = 1, *, seed: int = 0) -> None:
        super().__init__()
        if patch_size < 2:
            raise ModelError(f"the decoder doubles its grid, so patch_size {patch_size} will not do; give at least 2")
        num_doublings = (patch_size - 1).bit_length()
        self.embed_dim, self.patch_size = embed_dim, patch_size
        widths = [_FIRST_WIDTH // 2**step for step in range(num_doublings)]
        with seeded_rng(seed_of(seed, "segmenter")):
            layers: list[nn.Module] = [nn.Conv2d(embed_dim, _FIRST_WIDTH, kernel_size=3, padding=1)]
            for width, next_width in zip(widths, [*widths[1:], num_masks], strict=True):
                layers += [nn.ReLU(inplace=True), nn.ConvTranspose2d(width, next_width, kernel_size=2, stride=2)]
            self.layers = nn.Sequential(*layers)

    def forward(self, tokens: Tensor) -> Tensor:
        """Patch tokens of a square grid (B, L, D), row by row, to logits at input resolution (B, K, S, S)."""
        side = math.isqrt(tokens.shape[1])
        if side**2 != tokens.shape[1]:
            raise ModelError(f"{tokens.shape[1]} patch tokens form no square grid; leave the class token out")
        grid = tokens.transpose(1, 2).unflatten(2, (side, side))  # (B, D, h, w)
        logits = self.layers(grid)
        if logits.shape[-1] == side * self.patch_size:
            return logits
        return F.interpolate(logits, size=side * self.patch_size, mode="bilinear", antialias=True)


def save_segmenter(encoder: Path, segmenter: Segmenter) -> Path:
    """Write a decoder beside the encoder whose tokens it was trained on; see ``head_folder.save_head``."""
    decoder, names = segmenter
    about = {"mask_names": list(names), "embed_dim": decoder.embed_dim, "patch_size": decoder.patch_size}
    tensors = {key: tensor.detach().cpu().numpy() for key, tensor in decoder.state_dict().items()}
    return save_head(encoder, FOLDER, tensors, about)


def load_segmenter(encoder: Path) -> Segmenter:
    """The decoder in an encoder folder; errors as ``head_folder.load_head``."""
    tensors, about = load_head(encoder, FOLDER)
    names = tuple(map(str, about["mask_names"]))
    decoder = SegmentationDecoder(about["embed_dim"], about["patch_size"], len(names))
    decoder.load_state_dict({key: torch.from_numpy(array) for key, array in tensors.items()})
    return Segmenter(decoder.eval(), names)


def dice_bce_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Dice loss plus binary cross-entropy over judged pixels.

    Dice is taken per film and mask, smoothed by one pixel (an empty prediction for an empty mask costs nothing), and
    averaged; cross-entropy is averaged over pixels.

    Args:
        logits: (B, K, S, S).
        masks: (B, K, S, S), 1 = inside, 0 = outside, 255 = not judged: neither rewarded nor punished. A mask without
            a judged pixel is left out; if there is no other, the loss is 0.

    Returns:
        Scalar.

    Source: paper appendix A.2.2 (the sum of both, unweighted); Milletari et al. 2016 for the soft Dice loss.
    """
    if masks.shape != logits.shape:
        raise ModelError(f"masks have shape {tuple(masks.shape)}, expected that of the logits, {tuple(logits.shape)}")
    logits = logits.float()
    judged = (masks != IGNORED).float()
    inside = (masks == 1).float()
    entropy = F.binary_cross_entropy_with_logits(logits, inside, weight=judged, reduction="sum")
    entropy = entropy / judged.sum().clamp(min=1)
    probability = logits.sigmoid() * judged
    overlap = (probability * inside).sum(dim=(2, 3))  # (B, K)
    total = (probability + inside).sum(dim=(2, 3))
    dice = 1 - (2 * overlap + _DICE_SMOOTHING) / (total + _DICE_SMOOTHING)  # (B, K)
    is_judged = judged.amax(dim=(2, 3))  # (B, K)
    return entropy + (dice * is_judged).sum() / is_judged.sum().clamp(min=1)
