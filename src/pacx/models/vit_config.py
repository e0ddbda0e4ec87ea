"""The shape of an encoder, and which part of its output stands for the film. Imports no torch: help is instant."""

import enum
from dataclasses import dataclass

from pacx.core.errors import ModelError

NORM_EPS = 1e-6
"""Of every LayerNorm in every stage; the authors' Stage 2 silently used 1e-5 on weights trained with 1e-6."""


class Pooling(enum.Enum):
    """Which part of the encoder's output stands for the whole image."""

    CLASS_TOKEN = "token"
    PATCH_MEAN = "mean"


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """The shape of an encoder, in timm's names; the defaults are ViT-B/16.

    Args:
        img_size: side of the square input, pixels; a multiple of ``patch_size``.
        patch_size: side of a patch, pixels.
        in_chans: input channels; a grey film is repeated over them.
        embed_dim: token width; a multiple of ``num_heads`` and of 4 (two sines and two cosines per position).
        depth: number of blocks.
        num_heads: attention heads per block.
        mlp_ratio: hidden width of a block's MLP over ``embed_dim``.

    Raises:
        ModelError: sizes that do not divide.

    Source: paper appendix A.1.1.
    """

    img_size: int = 224
    patch_size: int = 16
    in_chans: int = 3
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0

    def __post_init__(self) -> None:
        require_positive(self, "img_size", "patch_size", "in_chans", "embed_dim", "depth", "num_heads", "mlp_ratio")
        require_multiple(self, "img_size", self.patch_size, "patch_size")
        require_multiple(self, "embed_dim", self.num_heads, "num_heads")
        require_multiple(self, "embed_dim", 4, "four, for sine-cosine positions")

    @property
    def grid_size(self) -> int:
        """Patches along one side."""
        return self.img_size // self.patch_size

    @property
    def num_patches(self) -> int:
        """Patches in an image, L."""
        return self.grid_size**2


def require_positive(config: object, *fields: str) -> None:
    """Refuse sizes that are not positive.

    Raises:
        ModelError: names the first such field.
    """
    for field in fields:
        if not getattr(config, field) > 0:
            raise ModelError(f"{field} is {getattr(config, field)}; give a positive size")


def require_multiple(config: object, field: str, divisor: int, divisor_name: str) -> None:
    """Refuse a width that does not divide.

    Raises:
        ModelError: names the field, its value and what it must be a multiple of.
    """
    if getattr(config, field) % divisor:
        raise ModelError(f"{field} is {getattr(config, field)}; give a multiple of {divisor_name} ({divisor})")
