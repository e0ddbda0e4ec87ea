import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from pacx.models.rollout import attention_rollout
from pacx.models.vit import ViTConfig, random_vit

TINY = ViTConfig(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=2)


def images() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def sharp_vit() -> VisionTransformer:
    """A random encoder with attention far from uniform."""
    vit = random_vit(TINY, 0)
    with torch.no_grad():
        for block in vit.blocks:
            block.attn.qkv.weight.mul_(4)
    return vit


def layer_norm(x: np.ndarray, norm: torch.nn.LayerNorm) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + norm.eps)
    return scaled * norm.weight.numpy() + norm.bias.numpy()


def slow_rollout(vit: VisionTransformer, image: torch.Tensor) -> np.ndarray:
    """Token by token in float64 for one image; attention from the definition, block outputs from the blocks."""
    num_tokens, num_heads, width = 17, 2, 12
    captured: list[torch.Tensor] = []
    hooks = [block.register_forward_pre_hook(lambda _, args: captured.append(args[0])) for block in vit.blocks]
    vit(image[None])
    for hook in hooks:
        hook.remove()
    flow = np.eye(num_tokens)
    for block, tokens in zip(vit.blocks, captured, strict=True):
        normed = layer_norm(tokens[0].double().numpy(), block.norm1)
        projected = normed @ block.attn.qkv.weight.double().numpy().T + block.attn.qkv.bias.double().numpy()
        averaged = np.zeros((num_tokens, num_tokens))
        for head in range(num_heads):
            query = projected[:, head * width : (head + 1) * width]
            key = projected[:, 24 + head * width : 24 + (head + 1) * width]
            for i in range(num_tokens):
                weights = np.exp([query[i] @ key[j] / np.sqrt(width) for j in range(num_tokens)])
                averaged[i] += weights / weights.sum() / num_heads
        mixing = averaged + np.eye(num_tokens)
        flow = (mixing / mixing.sum(1, keepdims=True)) @ flow
    grid = flow[0, 1:].reshape(4, 4)
    large = bilinear(grid, 32)
    return (large - large.min()) / (large.max() - large.min())


def bilinear(grid: np.ndarray, size: int) -> np.ndarray:
    side = len(grid)
    places = np.clip((np.arange(size) + 0.5) * side / size - 0.5, 0, side - 1)
    low = np.minimum(places.astype(int), side - 2)
    share = places - low
    rows = grid[low] * (1 - share)[:, None] + grid[low + 1] * share[:, None]
    return rows[:, low] * (1 - share) + rows[:, low + 1] * share


@torch.no_grad()
def test_equals_a_slow_rollout_from_the_definition():
    vit = sharp_vit()
    maps = attention_rollout(vit, images())
    assert maps.shape == (2, 32, 32)
    for ours, image in zip(maps, images(), strict=True):
        np.testing.assert_allclose(ours.numpy(), slow_rollout(vit, image), atol=2e-5)


def test_maps_span_zero_to_one_and_the_encoder_stays_as_it_was():
    vit = sharp_vit()
    before = {key: tensor.clone() for key, tensor in vit.state_dict().items()}
    output = vit(images())
    fused = [block.attn.fused_attn for block in vit.blocks]
    maps = attention_rollout(vit, images())
    assert not maps.requires_grad
    assert maps.amin(dim=(1, 2)).tolist() == [0, 0]
    assert maps.amax(dim=(1, 2)).tolist() == [1, 1]
    assert torch.equal(vit(images()), output)
    assert [block.attn.fused_attn for block in vit.blocks] == fused
    assert all(torch.equal(vit.state_dict()[key], tensor) for key, tensor in before.items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in vit.modules())


def test_uniform_attention_gives_a_flat_map():
    vit = random_vit(TINY, 0)
    with torch.no_grad():
        for block in vit.blocks:
            block.attn.qkv.weight[:24].zero_()  # no query: every key scores alike
            block.attn.qkv.bias.zero_()
    assert not attention_rollout(vit, images()).any()


@pytest.mark.parametrize("patch", [0, 5, 15])
def test_a_patch_that_everybody_attends_to_lights_up(patch: int):
    vit = random_vit(TINY, 0)
    beacon = torch.zeros(24)
    beacon[0] = 100.0
    with torch.no_grad():
        for block in vit.blocks:
            block.norm1.weight.fill_(1)
            block.attn.qkv.weight[:48].zero_()
            block.attn.qkv.bias[:24] = 5.0  # all tokens ask the same question
            block.attn.qkv.weight[24:48, 0] = 1.0  # and the beacon answers it
        vit.pos_embed[0, 1 + patch] += beacon
    row, column = divmod(patch, 4)
    brightest = np.unravel_index(int(attention_rollout(vit, images()[:1])[0].argmax()), (32, 32))
    assert (brightest[0] // 8, brightest[1] // 8) == (row, column)
