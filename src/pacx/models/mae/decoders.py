"""Which hidden patches a masked autoencoder decodes, and what a decoded patch may look at: three named answers.

The paper's decoder (``FullDecoder``) is three quarters of the arithmetic of pretraining at 90 % masking. The other two
decode a sample of the hidden patches, which changes the objective and is therefore asked for by name; the encoder is
the same in all three, and what comes out of training is the encoder.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from timm.layers import LayerNorm, Mlp
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from pacx.core.errors import ModelError
from pacx.models.vit import NORM_EPS

if TYPE_CHECKING:
    from pacx.models.mae.model import MAEConfig


@dataclass(frozen=True, kw_only=True)
class Decoder(ABC):
    """What is decoded, and by which blocks."""

    @abstractmethod
    def num_decoded(self, num_hidden: int) -> int:
        """Hidden patches per image that are decoded in a training step."""

    @abstractmethod
    def blocks(self, config: "MAEConfig") -> nn.Module:
        """Blocks that take visible tokens (B, 1 + V, W) and queries (B, K, W) and return both, decoded."""


@dataclass(frozen=True, kw_only=True)
class FullDecoder(Decoder):
    """The paper's: every hidden patch is decoded, and all tokens attend to all.

    Source: He et al. 2021; paper appendix A.1.1.
    """

    def num_decoded(self, num_hidden: int) -> int:
        """All of them."""
        return num_hidden

    def blocks(self, config: "MAEConfig") -> nn.Module:
        """Blocks of timm, with the names of facebookresearch/mae."""
        return SelfAttentionBlocks(config)


@dataclass(frozen=True, kw_only=True)
class _DecoderOfSample(Decoder):
    """Decodes a random sample of the hidden patches in training; each film draws other ones in each epoch.

    Args:
        num_sampled: hidden patches decoded per image and step.
    """

    num_sampled: int = 49

    def num_decoded(self, num_hidden: int) -> int:
        """The sample.

        Raises:
            ModelError: more than there are, or none.
        """
        if not 0 < self.num_sampled <= num_hidden:
            raise ModelError(
                f"num_sampled is {self.num_sampled} but the mask hides {num_hidden} patches of an image; "
                f"give a number from 1 to {num_hidden}"
            )
        return self.num_sampled


@dataclass(frozen=True, kw_only=True)
class SampledDecoder(_DecoderOfSample):
    """The paper's blocks over the visible patches and a random sample of the hidden ones.

    Source: after the partial reconstruction of Fu et al. 2024 (CrossMAE, arXiv:2401.14391), with self-attention kept.
    """

    def blocks(self, config: "MAEConfig") -> nn.Module:
        """As the full decoder's."""
        return SelfAttentionBlocks(config)


@dataclass(frozen=True, kw_only=True)
class CrossDecoder(_DecoderOfSample):
    """Each decoded patch attends to the visible ones only: no patch's prediction depends on which others are decoded.

    Source: Fu et al. 2024 (CrossMAE, arXiv:2401.14391), reading the last encoder layer.
    """

    def blocks(self, config: "MAEConfig") -> nn.Module:
        """Cross-attention and a perceptron."""
        return CrossAttentionBlocks(config)


_norm_layer = cast("type[nn.Module]", partial(LayerNorm, eps=NORM_EPS))


class SelfAttentionBlocks(nn.ModuleList):
    """Visible tokens and queries in one sequence."""

    def __init__(self, config: "MAEConfig") -> None:
        width, heads = config.decoder_embed_dim, config.decoder_num_heads
        super().__init__(
            Block(width, heads, config.mlp_ratio, qkv_bias=True, norm_layer=_norm_layer)
            for _ in range(config.decoder_depth)
        )

    def forward(self, visible: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1 + V, W) and (B, K, W) to the same."""
        tokens = torch.cat([visible, queries], dim=1)
        for block in self:
            tokens = block(tokens)
        return tokens[:, : visible.shape[1]], tokens[:, visible.shape[1] :]


class CrossAttentionBlocks(nn.ModuleList):
    """Queries that attend to visible tokens, never to each other; visible tokens stay as they are."""

    def __init__(self, config: "MAEConfig") -> None:
        super().__init__(_CrossBlock(config) for _ in range(config.decoder_depth))

    def forward(self, visible: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1 + V, W) and (B, K, W) to the same."""
        for block in self:
            queries = block(visible, queries)
        return visible, queries


class _CrossBlock(nn.Module):
    """Pre-norm cross-attention, then a perceptron; each with its residual."""

    def __init__(self, config: "MAEConfig") -> None:
        super().__init__()
        width, self.num_heads = config.decoder_embed_dim, config.decoder_num_heads
        self.norm1 = LayerNorm(width, eps=NORM_EPS)
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = LayerNorm(width, eps=NORM_EPS)
        self.mlp = Mlp(width, int(width * config.mlp_ratio))

    def forward(self, visible: Tensor, queries: Tensor) -> Tensor:
        q = self._heads(self.q(self.norm1(queries)))  # (B, H, K, W / H)
        k, v = (self._heads(part) for part in self.kv(visible).chunk(2, dim=-1))  # (B, H, 1 + V, W / H)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # (B, K, W)
        queries = queries + self.proj(attended)
        return queries + self.mlp(self.norm2(queries))

    def _heads(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
