"""The layers of the three decoders that ``mae_config`` names: what a decoded patch may look at."""

from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from timm.layers import LayerNorm, Mlp
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from pacx.models.mae.config import MAEConfig
from pacx.models.vit_config import NORM_EPS

_norm_layer = cast("type[nn.Module]", partial(LayerNorm, eps=NORM_EPS))


class SelfAttentionBlocks(nn.ModuleList):
    """Visible tokens and queries in one sequence."""

    def __init__(self, config: MAEConfig) -> None:
        width, heads = config.decoder_embed_dim, config.decoder_num_heads
        super().__init__(
            Block(width, heads, config.mlp_ratio, qkv_bias=True, norm_layer=_norm_layer)
            for _ in range(config.decoder_depth)
        )

    def forward(self, visible: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1 + V, W) and (B, K, W) to the same."""
        tokens = torch.cat([visible, queries], dim=1)  # (B, 1 + V + K, W), taken apart again at 1 + V
        for block in self:
            tokens = block(tokens)
        return tokens[:, : visible.shape[1]], tokens[:, visible.shape[1] :]


class CrossAttentionBlocks(nn.ModuleList):
    """Queries that attend to visible tokens, never to each other; visible tokens stay as they are."""

    def __init__(self, config: MAEConfig) -> None:
        super().__init__(_CrossBlock(config) for _ in range(config.decoder_depth))

    def forward(self, visible: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1 + V, W) and (B, K, W) to the same."""
        for block in self:
            queries = block(visible, queries)
        return visible, queries


class _CrossBlock(nn.Module):
    """Pre-norm cross-attention, then a perceptron; each with its residual."""

    def __init__(self, config: MAEConfig) -> None:
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
        # keys first, then values: one product makes both
        k, v = (self._heads(part) for part in self.kv(visible).chunk(2, dim=-1))  # (B, H, 1 + V, W / H)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # (B, K, W)
        queries = queries + self.proj(attended)
        return queries + self.mlp(self.norm2(queries))

    def _heads(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
