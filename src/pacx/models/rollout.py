"""Attention rollout: how much each part of the film flows into the class token.

Per block the attention of all heads is averaged and the identity added (the residual path); the rows are normalized
and the blocks multiplied through. It reads a plain encoder and leaves it untouched: probabilities are computed again
from each block's own query and key projection, whatever fused kernel the block itself uses. It explains nothing by
itself: a map shows where information came from, not why.
"""

from typing import cast

import torch
import torch.nn.functional as F
from timm.layers import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor

from pacx.core.errors import ModelError
from pacx.models.encoders.film_encoder import FilmEncoder

_FLAT = 1e-5
"""Relative range below which a map is rounding noise that min-max would blow up to a picture."""


def can_roll_out(encoder: FilmEncoder) -> bool:
    """Whether ``rollout_network`` takes this encoder."""
    return isinstance(encoder.module, VisionTransformer) and encoder.module.cls_token is not None


def rollout_network(encoder: FilmEncoder) -> VisionTransformer:
    """The network of an encoder that a rollout can be taken of.

    Raises:
        ModelError: it is no timm VisionTransformer with a class token.
    """
    network = encoder.module
    if not can_roll_out(encoder) or not isinstance(network, VisionTransformer):
        raise ModelError(
            f"attention rollout needs a timm VisionTransformer with a class token, this encoder is a "
            f"{type(network).__name__}{'' if not isinstance(network, VisionTransformer) else ' without one'}; "
            "leave it out of this protocol"
        )
    return network


@torch.no_grad()
def attention_rollout(vit: VisionTransformer, images: Tensor) -> Tensor:
    """Rollout maps at image size.

    Args:
        vit: an encoder with a class token; register tokens pass attention on and have no place in the map.
        images: normalized (B, C, S, S).

    Returns:
        (B, S, S) in [0, 1], each map's minimum at 0 and maximum at 1; all zeros where attention is uniform.

    Source: Abnar and Zuidema 2020, "Quantifying Attention Flow in Transformers"; paper section 4 and appendix A.2.2.
    """
    grid = rollout_grid(vit, images)[:, None]  # (B, 1, h, w)
    maps = F.interpolate(grid, size=images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]  # (B, S, S)
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    is_flat = high - low <= _FLAT * high
    return torch.where(is_flat, 0.0, (maps - low) / torch.where(is_flat, 1.0, high - low))


@torch.no_grad()
def rollout_grid(vit: VisionTransformer, images: Tensor) -> Tensor:
    """How much of the class token's attention comes from each patch, not scaled: (B, h, w) from (B, C, S, S)."""
    tokens = vit.norm_pre(vit._pos_embed(vit.patch_embed(images)))  # (B, 1 + L, D)
    flow = torch.eye(tokens.shape[1], dtype=torch.float32, device=tokens.device).expand(tokens.shape[0], -1, -1)
    for block in cast("list[Block]", list(vit.blocks)):
        flow = _residual_attention(block, tokens) @ flow  # (B, 1 + L, 1 + L)
        tokens = block(tokens)
    from_patches = flow[:, 0, vit.num_prefix_tokens :]  # (B, L)
    return from_patches.unflatten(1, vit.patch_embed.grid_size)


def _residual_attention(block: Block, tokens: Tensor) -> Tensor:
    """Head-averaged attention plus identity, rows normalized: (B, N, N) from the block's input (B, N, D)."""
    attention = cast("Attention", block.attn)
    projected = attention.qkv(block.norm1(tokens)).unflatten(-1, (3, attention.num_heads, -1))  # (B, N, 3, H, d)
    query, key, _ = projected.permute(2, 0, 3, 1, 4).unbind(0)  # (B, H, N, d)
    scores = attention.q_norm(query) @ attention.k_norm(key).transpose(-2, -1) * attention.scale  # (B, H, N, N)
    mixing = scores.float().softmax(dim=-1).mean(dim=1)  # (B, N, N)
    mixing = mixing + torch.eye(mixing.shape[-1], device=mixing.device)
    return mixing / mixing.sum(dim=-1, keepdim=True)
