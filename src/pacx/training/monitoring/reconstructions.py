"""What a masked autoencoder makes of films: the film, what the encoder saw of it, and what the decoder drew.

`model, films, mask noise -> three rows of grey images -> one PNG`. For looking at while a run goes on.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pacx.core.artifacts import staged_file
from pacx.core.preprocessing import Preprocessing
from pacx.models.mae.model import MaskedAutoencoder

_GAP_PX = 4


class Reconstructions(NamedTuple):
    """Grey uint8 (B, S, S) each; in ``drawn`` the visible patches stay as they are in the film."""

    films: NDArray[np.uint8]
    seen: NDArray[np.uint8]
    drawn: NDArray[np.uint8]


@torch.no_grad()
def reconstruct(
    model: MaskedAutoencoder, images: Tensor, noise: Tensor, preprocessing: Preprocessing
) -> Reconstructions:
    """Hide and draw normalized images (B, C, S, S) under mask noise (B, L)."""
    output = model(images, noise)
    hidden = output.mask[..., None]  # (B, L, 1)
    patches = model.patchify(images)  # (B, L, P)
    target = output.prediction.to(patches.dtype)
    if model.config.norm_pix_loss:  # back to the units of the film, with each patch's own mean and spread
        variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
        target = target * variance.sqrt() + mean
    black = (0 - torch.tensor(preprocessing.mean)) / torch.tensor(preprocessing.std)  # (C,)
    blank = black.repeat(patches.shape[-1] // len(black)).to(patches)  # (P,): channels run fastest within a patch
    seen = model.unpatchify(patches * (1 - hidden) + blank * hidden)
    drawn = model.unpatchify(patches * (1 - hidden) + target * hidden)
    return Reconstructions(*(_to_grey(part, preprocessing) for part in (images, seen, drawn)))


def _to_grey(images: Tensor, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Normalized (B, C, S, S) back to grey uint8 (B, S, S); channels are averaged, values clipped."""
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    grey = (images.cpu() * std + mean).mean(dim=1)  # (B, S, S)
    return (grey.clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def save_sheet(shown: Reconstructions, path: Path) -> None:
    """One PNG: a column per film; film, seen and drawn from top to bottom."""
    rows = [np.pad(row, ((0, 0), (0, _GAP_PX), (0, _GAP_PX)), constant_values=255) for row in shown]
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)[:-_GAP_PX, :-_GAP_PX]
    with staged_file(path) as partial:
        Image.fromarray(sheet).save(partial, format="PNG")
