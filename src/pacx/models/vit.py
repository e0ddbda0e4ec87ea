"""The encoder: timm's VisionTransformer, at any size, with fixed sine-cosine positions.

Everything downstream (probes, distillation, serving) sees this one class, whether its weights come from ImageNet,
from masked autoencoding or from distillation. This file builds it, and reads its two kinds of output: one embedding
per image, one token per patch. It refuses sizes that do not divide into patches or heads, and it never resizes or
renames weights to make them fit.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from timm.layers import Attention, LayerNorm, Mlp
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from pacx.core.errors import ModelError
from pacx.core.randomness import seed_of
from pacx.models.initialization import initialize_patch_projection, initialize_transformer, seeded_rng
from pacx.models.vit_config import NORM_EPS, Pooling, ViTConfig


def sincos_positions(embed_dim: int, grid_size: int) -> Tensor:
    """Fixed 2-D positions, float32 (1, 1 + L, D): zeros for the class token, then patches row by row.

    The first half of the width encodes the column and the second half the row (MAE's "w goes first"), each as sines
    followed by cosines of geometrically falling frequencies; computed in float64 and rounded once.

    Source: He et al. 2021, ``util/pos_embed.py`` of facebookresearch/mae.
    """
    rows, columns = np.divmod(np.arange(grid_size**2), grid_size)  # (L,) each
    patches = np.concatenate([_sincos(embed_dim // 2, columns), _sincos(embed_dim // 2, rows)], axis=1)  # (L, D)
    with_class = np.concatenate([np.zeros((1, embed_dim)), patches])[None]  # (1, 1 + L, D)
    return torch.from_numpy(with_class.astype(np.float32))


def _sincos(width: int, places: NDArray[np.int64]) -> NDArray[np.float64]:
    # 10000 from Vaswani et al. 2017: the slowest wave is far longer than any grid, so that no two places are alike
    frequencies = 10000.0 ** -(np.arange(width // 2) / (width / 2))  # (width / 2,)
    angles = places[:, None] * frequencies[None, :]  # (L, width / 2)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def architecture_arguments(config: ViTConfig, pooling: Pooling = Pooling.CLASS_TOKEN) -> dict[str, Any]:
    """The arguments with which timm builds this encoder; plain JSON values, so that a file can carry them.

    The number of classes is not among them: a file says it elsewhere, and transformers refuses to hear it twice.
    With ``PATCH_MEAN`` timm would move the final norm behind the pooling; ``fc_norm=False`` keeps it before, so that
    the model's own forward equals ``pooled`` and the weights keep their names.
    """
    return {
        "img_size": config.img_size,
        "patch_size": config.patch_size,
        "in_chans": config.in_chans,
        "embed_dim": config.embed_dim,
        "depth": config.depth,
        "num_heads": config.num_heads,
        "mlp_ratio": config.mlp_ratio,
        "global_pool": "token" if pooling is Pooling.CLASS_TOKEN else "avg",
        "fc_norm": False,
    }


def construction_arguments(config: ViTConfig, pooling: Pooling = Pooling.CLASS_TOKEN) -> dict[str, Any]:
    """``architecture_arguments``, no classes, and what is no JSON: our norm, and no initialization by timm."""
    return {
        **architecture_arguments(config, pooling),
        "num_classes": 0,
        "norm_layer": partial(LayerNorm, eps=NORM_EPS),
        "weight_init": "skip",
    }


def config_of(vit: VisionTransformer) -> ViTConfig:
    """Read an encoder's shape back from its layers.

    Raises:
        ModelError: the encoder is not a plain ViT of the kind this project releases.
    """
    plain = (
        vit.num_prefix_tokens == 1
        and vit.has_class_token
        and isinstance(vit.head, nn.Identity)
        and isinstance(vit.norm, nn.LayerNorm)
        and vit.norm.eps == NORM_EPS
    )
    if not plain:
        raise ModelError(
            "this VisionTransformer is not a plain encoder; expected one class token, no register tokens, no head, "
            f"and a final LayerNorm with eps {NORM_EPS:g}"
        )
    block = cast("Block", vit.blocks[0])  # timm's blocks are all alike
    return ViTConfig(
        img_size=vit.patch_embed.img_size[0],
        patch_size=vit.patch_embed.patch_size[0],
        in_chans=vit.patch_embed.proj.in_channels,
        embed_dim=vit.embed_dim,
        depth=len(vit.blocks),
        num_heads=cast("Attention", block.attn).num_heads,
        mlp_ratio=cast("nn.Linear", cast("Mlp", block.mlp).fc1).out_features / vit.embed_dim,
    )


def vit_with_weights(
    config: ViTConfig, weights: dict[str, Tensor], pooling: Pooling = Pooling.CLASS_TOKEN
) -> VisionTransformer:
    """Build an encoder around tensors that already exist, in eval mode; they are used as they are, not copied.

    Raises:
        ModelError: a key is missing or extra, or a tensor has another shape.
    """
    with torch.device("meta"):  # no memory, no random numbers
        vit = VisionTransformer(**construction_arguments(config, pooling))
    expected = {key: tensor.shape for key, tensor in vit.state_dict().items()}
    missing, extra = sorted(expected.keys() - weights.keys()), sorted(weights.keys() - expected.keys())
    if missing or extra:
        raise ModelError(
            f"encoder weights do not fit a ViT of {config}: {_some(missing)} missing, {_some(extra)} not expected; "
            "give the encoder's own weights"
        )
    for key, shape in expected.items():
        if weights[key].shape != shape:
            raise ModelError(f"encoder weight {key} has shape {tuple(weights[key].shape)}, expected {tuple(shape)}")
    vit.load_state_dict(weights, assign=True)
    class_token_and_positions(vit)[1].requires_grad_(False)
    return vit.eval()


def class_token_and_positions(vit: VisionTransformer) -> tuple[nn.Parameter, nn.Parameter]:
    """The two parameters that timm leaves optional and every encoder here has: (1, 1, D) and (1, 1 + L, D)."""
    assert vit.cls_token is not None
    assert vit.pos_embed is not None
    return vit.cls_token, vit.pos_embed


def _some(keys: list[str]) -> str:
    shown = ", ".join(keys[:3]) or "nothing"
    return f"{shown} and {len(keys) - 3} more" if len(keys) > 3 else shown


@torch.no_grad()
def initialize_encoder(vit: VisionTransformer) -> None:
    """Fill an encoder as MAE does, and fix its positions; call inside ``seeded_rng``.

    Source: He et al. 2021, ``models_mae.py`` of facebookresearch/mae.
    """
    initialize_transformer(vit)
    initialize_patch_projection(vit.patch_embed.proj.weight)
    class_token, positions = class_token_and_positions(vit)
    nn.init.normal_(class_token, std=0.02)  # as BERT, ViT and MAE
    positions.copy_(sincos_positions(vit.embed_dim, vit.patch_embed.grid_size[0])).requires_grad_(False)


def random_vit(config: ViTConfig, seed: int) -> VisionTransformer:
    """An encoder that has seen nothing: the floor every trained one must clear. Same seed, same weights."""
    with seeded_rng(seed_of(seed, "vit")):
        vit = VisionTransformer(**construction_arguments(config))
        initialize_encoder(vit)
    return vit.eval()


def pooled(vit: VisionTransformer, images: Tensor, pooling: Pooling) -> Tensor:
    """One embedding per image, after the final norm: (B, D); see ``pooled_and_patches``."""
    return pooled_and_patches(vit, images, pooling)[0]


def pooled_and_patches(
    vit: VisionTransformer, images: Tensor, pooling: Pooling, seen: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """One embedding per image and the tokens of its patches, all after the final norm.

    Args:
        vit: an encoder, also one with LoRA adapters.
        images: normalised (B, C, S, S).
        pooling: the class token, or the mean over patch tokens (each normed first).
        seen: places of the patches that go through the blocks, int64 (B, K), the others being as if they were not
            there; None sends all of them.

    Returns:
        (B, D) and (B, L, D), patches row by row; or (B, K, D), patches in the order of ``seen``.
    """
    tokens = vit.forward_features(images) if seen is None else _of_seen(vit, images, seen)  # (B, 1 + L or K, D)
    patches = tokens[:, vit.num_prefix_tokens :]  # the class token (and registers, where there are any) come first
    return _pooled(tokens, patches, pooling), patches


def pooled_each(vit: VisionTransformer, images: Tensor, poolings: Sequence[Pooling]) -> tuple[Tensor, ...]:
    """``pooled`` by each of several poolings, in one forward pass: (B, D) each."""
    tokens = vit.forward_features(images)
    return tuple(_pooled(tokens, tokens[:, vit.num_prefix_tokens :], each) for each in poolings)


def _pooled(tokens: Tensor, patches: Tensor, pooling: Pooling) -> Tensor:
    return tokens[:, 0] if pooling is Pooling.CLASS_TOKEN else patches.mean(dim=1)


def _of_seen(vit: VisionTransformer, images: Tensor, seen: Tensor) -> Tensor:
    """Class token and chosen patches through the blocks and the final norm: (B, 1 + K, D)."""
    class_token, positions = class_token_and_positions(vit)
    patches = vit.patch_embed(images) + positions[:, 1:]  # (B, L, D); place 0 is the class token's
    kept = patches.gather(1, seen[..., None].expand(-1, -1, patches.shape[-1]))  # (B, K, D)
    first = (class_token + positions[:, :1]).expand(len(kept), -1, -1)  # (B, 1, D)
    return cast("Tensor", vit.norm(vit.blocks(torch.cat([first, kept], dim=1))))


def patch_tokens(vit: VisionTransformer, images: Tensor) -> Tensor:
    """One token per patch, row by row, after the final norm: (B, L, D) from normalised (B, C, S, S)."""
    return vit.forward_features(images)[:, vit.num_prefix_tokens :]
