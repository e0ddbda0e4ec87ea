"""The layers of the three decoders that ``mae_config`` names: what a decoded patch may look at."""

from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from timm.layers import Attention, LayerNorm, Mlp
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
            _SelfBlock(width, heads, config.mlp_ratio, qkv_bias=True, norm_layer=_norm_layer)
            for _ in range(config.decoder_depth)
        )

    def forward(self, visible: Tensor, begun: Tensor, asked: Tensor, *, with_visible: bool = False) -> Tensor:
        """Decoded tokens of the places asked for.

        Args:
            visible: (B, 1 + V, W).
            begun: (L, W), what a query begins as at each place.
            asked: (B, K) places.
            with_visible: give the visible tokens too, before the others.

        Returns:
            (B, K, W), or (B, 1 + V + K, W).
        """
        first, last = self[0], self[-1]
        num_left_out = 0 if with_visible else visible.shape[1]
        tokens = visible
        for block in self:
            queries = (begun, asked) if block is first else None
            tokens = block(tokens, queries, num_left_out if block is last else 0)
        return tokens


class _SelfBlock(Block):
    """timm's block, which leaves out what nobody asks for: what is alike in every film, and what nothing reads."""

    def forward(  # type: ignore[override]  # timm's takes an attention mask
        self, tokens: Tensor, queries: tuple[Tensor, Tensor] | None = None, num_left_out: int = 0
    ) -> Tensor:
        """(B, N, W) to the same.

        Args:
            tokens: what attends and is attended to.
            queries: what tokens at L places (L, W) begin as, alike in every film, and (B, K) places: K more tokens.
                Each place is normed and projected once, not once a film.
            num_left_out: so many tokens are attended to and have no successor.
        """
        attention = cast("Attention", self.attn)
        qkv = attention.qkv(self.norm1(tokens))  # (B, N, 3 W)
        if queries is not None:
            begun, asked = queries
            tokens = torch.cat([tokens, F.embedding(asked, begun)], dim=1)
            qkv = torch.cat([qkv, F.embedding(asked, attention.qkv(self.norm1(begun)))], dim=1)
        q, k, v = qkv.unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind()  # (B, H, N, W / H)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # (B, N, W)
        tokens = tokens[:, num_left_out:] + attention.proj(attended[:, num_left_out:])
        return tokens + self.mlp(self.norm2(tokens))


class CrossAttentionBlocks(nn.ModuleList):
    """Queries that attend to visible tokens, never to each other; visible tokens stay as they are."""

    def __init__(self, config: MAEConfig) -> None:
        super().__init__(_CrossBlock(config) for _ in range(config.decoder_depth))

    def forward(self, visible: Tensor, begun: Tensor, asked: Tensor, *, with_visible: bool = False) -> Tensor:
        """Arguments and result are those of ``SelfAttentionBlocks``."""
        queries, first = begun, self[0]
        for block in self:
            queries = block(visible, queries, asked if block is first else None)
        return torch.cat([visible, queries], dim=1) if with_visible else queries


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

    def forward(self, visible: Tensor, queries: Tensor, asked: Tensor | None = None) -> Tensor:
        """(B, 1 + V, W) and queries (B, K, W), or (L, W) at all places and (B, K) the places asked for, to (B, K, W).

        What is alike in every film is normed and projected once, not once a film.
        """
        q = self.q(self.norm1(queries))
        if asked is not None:
            q, queries = F.embedding(asked, q), F.embedding(asked, queries)
        # keys first, then values: one product makes both
        k, v = (self._heads(part) for part in self.kv(visible).chunk(2, dim=-1))  # (B, H, 1 + V, W / H)
        attended = F.scaled_dot_product_attention(self._heads(q), k, v).transpose(1, 2).flatten(2)  # (B, K, W)
        queries = queries + self.proj(attended)
        return queries + self.mlp(self.norm2(queries))

    def _heads(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, H, K, W / H)
