"""An encoder folder with predicted directions beside it, as one film encoder: its embedding is the directions.

`film -> class token and patch mean, one pass -> linear map -> (B, K)`. Both poolings underneath stay within reach
(``#token``, ``#mean``), and so do the patches. A folder without directions is the plain encoder it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from pacx.core.preprocessing import Preprocessing
from pacx.models.encoders.folder import LoadedEncoder, load_encoder
from pacx.models.heads.directions import FOLDER, load_directions
from pacx.models.heads.folder import has_head
from pacx.models.vit_config import Pooling

BOTH = (Pooling.CLASS_TOKEN, Pooling.PATCH_MEAN)
"""What directions are read from, in this order."""


@dataclass(frozen=True, kw_only=True)
class DirectionsEncoder:
    """A ``FilmEncoder`` that gives predicted directions.

    Args:
        network: the encoder underneath.
        head: a frozen linear map (2 D to K), class token first; it goes to the device of what it is given.
        pooling: a part of the network's output instead of the directions; None = the directions.
    """

    network: LoadedEncoder
    head: nn.Linear
    pooling: Pooling | None = None

    @property
    def vit(self) -> VisionTransformer:
        """The network."""
        return self.network.vit

    @property
    def module(self) -> VisionTransformer:
        """The network that protocols move to a device."""
        return self.network.vit

    @property
    def preprocessing(self) -> Preprocessing:
        """What a film must go through first."""
        return self.network.preprocessing

    @property
    def embedding_dim(self) -> int:
        """Width of ``embed_images``."""
        return self.head.out_features if self.pooling is None else self.network.embedding_dim

    @property
    def parts(self) -> nn.ModuleList:
        """Everything that has weights."""
        return nn.ModuleList([self.vit, self.head])

    def embed_images(self, images: Tensor) -> Tensor:
        """Predicted directions (B, K), or a pooling, of normalised (B, C, S, S)."""
        return self.embed_images_in(images, [self.pooling])[0]

    def embed_images_in(self, images: Tensor, poolings: Sequence[Pooling | None]) -> tuple[Tensor, ...]:
        """See ``FilmEncoder``."""
        asked = [self.pooling if each is None else each for each in poolings]
        if None not in asked:
            return self.network.embed_images_in(images, asked)
        found = dict(zip(BOTH, self.network.embed_images_in(images, BOTH), strict=True))
        both = torch.cat([found[each] for each in BOTH], dim=1)  # (B, 2 D)
        directions = self.head.to(both.device)(both)
        return tuple(directions if each is None else found[each] for each in asked)

    def patches(self, images: Tensor) -> Tensor:
        """One token per patch, row by row: (B, L, D)."""
        return self.network.patches(images)

    def pooled_by(self, pooling: Pooling) -> "DirectionsEncoder":
        """The same network with one of its poolings standing for the film."""
        return replace(self, pooling=pooling)


def open_encoder_folder(path: Path) -> LoadedEncoder | DirectionsEncoder:
    """An encoder folder of ours, with its predicted directions where it has them.

    Raises:
        ModelError: the folder is not whole, or its directions were fitted to another encoder.
    """
    network = load_encoder(path)
    if not has_head(path, FOLDER):
        return network
    kept = load_directions(path)
    head = nn.utils.skip_init(nn.Linear, *kept.weight.shape)  # whose first weights would be drawn at random
    head.load_state_dict({"weight": torch.from_numpy(kept.weight.T.copy()), "bias": torch.from_numpy(kept.bias)})
    return DirectionsEncoder(network=network, head=head.requires_grad_(False).eval())
