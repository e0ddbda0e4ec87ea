"""A plain ViT's forward pass where nothing is learnt: the same function, with less of it computed.

On a processor, in 32 bits and without gradients, products go through oneDNN with the GELU inside, for so few images at
a time that memory is used again. For the class token alone, the last block takes keys and values of all tokens and
everything else of one. Anywhere else, and for an encoder that is not plain (one with adapters, say), it is
``pooled_each``.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from timm.layers import Attention, Mlp
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from pacx.models.onednn import OneDNNLinear, is_suitable
from pacx.models.vit import pooled_each
from pacx.models.vit_config import Pooling

_MOST_BYTES = 32 * 1024**2
"""Of the widest layer of the images that go through a block at once.

glibc hands larger arrays back to the system, which fills every page of the next one with zeros."""


def frozen_pooled(vit: VisionTransformer, images: Tensor, pooling: Pooling) -> Tensor:
    """One embedding per image, (B, D) from normalised (B, C, S, S); see ``pooled``."""
    if pooling is Pooling.CLASS_TOKEN and _applies(vit, images):
        return _tokens(vit, images, num_read=1)[:, 0]
    return frozen_pooled_each(vit, images, [pooling])[0]


def frozen_pooled_each(vit: VisionTransformer, images: Tensor, poolings: Sequence[Pooling]) -> tuple[Tensor, ...]:
    """One embedding per image and pooling, (B, D) each; each has the same bits whichever others are asked for."""
    if not _applies(vit, images):
        return pooled_each(vit, images, poolings)
    tokens = _tokens(vit, images)
    return tuple(
        tokens[:, 0] if each is Pooling.CLASS_TOKEN else tokens[:, vit.num_prefix_tokens :].mean(dim=1)
        for each in poolings
    )


def _applies(vit: VisionTransformer, images: Tensor) -> bool:
    """Whether torch would hand these products to another library, nothing is learnt, and the encoder is plain."""
    is_frozen = not torch.is_grad_enabled() and not vit.training
    return is_frozen and is_suitable(images, vit.cls_token) and all(map(_is_plain, vit.blocks))


def _tokens(vit: VisionTransformer, images: Tensor, num_read: int | None = None) -> Tensor:
    """The first ``num_read`` tokens, or all, after the final norm: (B, num_read, D)."""
    return torch.cat([_tokens_at_once(vit, some, num_read) for some in images.split(_num_at_once(vit))])


def _num_at_once(vit: VisionTransformer) -> int:
    """How many images go through a block together."""
    blocks: list[Any] = list(vit.blocks)
    widest: int = max(block.mlp.fc1.out_features for block in blocks)
    num_tokens = vit.num_prefix_tokens + vit.patch_embed.num_patches
    return max(1, _MOST_BYTES // (num_tokens * widest * torch.float32.itemsize))


def _tokens_at_once(vit: VisionTransformer, images: Tensor, num_read: int | None) -> Tensor:
    tokens = vit.norm_pre(vit.patch_drop(vit._pos_embed(vit.patch_embed(images))))  # (B, 1 + L, D)
    *first, last = cast("list[Block]", list(vit.blocks))
    for block in first:
        tokens = _through(block, tokens, tokens.shape[1])
    return vit.norm(_through(last, tokens, num_read or tokens.shape[1]))


def _through(block: Block, tokens: Tensor, num_read: int) -> Tensor:
    """What a block makes of the first ``num_read`` tokens, (B, num_read, D), all of them attended to."""
    attention, mlp = cast("Attention", block.attn), cast("Mlp", block.mlp)
    width, heads = tokens.shape[-1], attention.num_heads
    normed = block.norm1(tokens)
    weight, bias = attention.qkv.weight, attention.qkv.bias
    if num_read == tokens.shape[1]:
        query, key, value = _product(normed, weight, bias).chunk(3, dim=-1)
    else:
        query = _product(normed[:, :num_read].contiguous(), weight[:width], bias[:width])
        key, value = _product(normed, weight[width:], bias[width:]).chunk(2, dim=-1)
    query, key, value = (each.unflatten(-1, (heads, -1)).transpose(1, 2) for each in (query, key, value))
    seen = F.scaled_dot_product_attention(query, key, value)  # (B, heads, num_read, D / heads)
    tokens = tokens[:, :num_read] + _product(
        seen.transpose(1, 2).flatten(2), attention.proj.weight, attention.proj.bias
    )
    hidden = _product(block.norm2(tokens), mlp.fc1.weight, mlp.fc1.bias, activation="gelu")
    return tokens + _product(hidden, mlp.fc2.weight, mlp.fc2.bias)


def _product(rows: Tensor, weight: Tensor, bias: Tensor | None, activation: str = "none") -> Tensor:
    exact = "none" if activation == "gelu" else ""  # and not by the hyperbolic tangent
    return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, activation, [], exact)


def _is_plain(block: nn.Module) -> bool:
    if type(block) is not Block or type(block.attn) is not Attention or type(block.mlp) is not Mlp:
        return False
    attention, mlp = block.attn, block.mlp
    unused = (block.ls1, block.ls2, block.drop_path1, block.drop_path2, attention.q_norm, attention.k_norm)
    return (
        all(type(each) is nn.Identity for each in (*unused, attention.norm, mlp.norm))
        and all(type(each) in (nn.Linear, OneDNNLinear) for each in (attention.qkv, attention.proj, mlp.fc1, mlp.fc2))
        and attention.qkv.bias is not None
        and type(mlp.act) is nn.GELU
        and mlp.act.approximate == "none"
    )
