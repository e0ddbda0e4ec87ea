import socket
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from timm.layers import LayerNorm

from pacx.core.errors import ModelError
from pacx.models.vit import (
    Pooling,
    ViTConfig,
    config_of,
    imagenet_vit,
    patch_tokens,
    pooled,
    random_vit,
    sincos_positions,
    vit_with_weights,
)

TINY = ViTConfig(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2)


def test_random_vit_is_seeded_and_private():
    state = torch.get_rng_state()
    first, again, other = random_vit(TINY, 3), random_vit(TINY, 3), random_vit(TINY, 4)
    assert torch.equal(torch.get_rng_state(), state)
    images = torch.ones(1, 3, 32, 32)
    assert torch.equal(first(images), again(images))
    assert not torch.equal(first(images), other(images))


def test_every_norm_has_the_one_epsilon():
    norms = [module for module in random_vit(TINY, 0).modules() if isinstance(module, torch.nn.LayerNorm)]
    assert len(norms) == 2 * 2 + 1
    assert {norm.eps for norm in norms} == {1e-6}
    assert all(isinstance(norm, LayerNorm) for norm in norms)


def test_positions_match_the_formula_place_by_place():
    positions = sincos_positions(8, 3)[0].double().numpy()
    assert not positions[0].any()
    for row in range(3):
        for column in range(3):
            ours = positions[1 + 3 * row + column]
            expected = [
                *(np.sin(column / 10000 ** (i / 2)) for i in range(2)),
                *(np.cos(column / 10000 ** (i / 2)) for i in range(2)),
                *(np.sin(row / 10000 ** (i / 2)) for i in range(2)),
                *(np.cos(row / 10000 ** (i / 2)) for i in range(2)),
            ]
            np.testing.assert_allclose(ours, expected, atol=1e-7)


def test_pooling_is_the_class_token_or_the_mean_of_normed_patches():
    vit, images = random_vit(TINY, 0), torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    tokens = vit.forward_features(images)
    assert torch.equal(pooled(vit, images, Pooling.CLASS_TOKEN), tokens[:, 0])
    assert torch.equal(patch_tokens(vit, images), tokens[:, 1:])
    torch.testing.assert_close(pooled(vit, images, Pooling.PATCH_MEAN), tokens[:, 1:].mean(1))
    by_mean = vit_with_weights(TINY, vit.state_dict(), Pooling.PATCH_MEAN)
    torch.testing.assert_close(by_mean(images), pooled(vit, images, Pooling.PATCH_MEAN), rtol=1e-6, atol=1e-6)


def test_config_is_read_back_from_the_layers():
    odd = ViTConfig(img_size=24, patch_size=6, in_chans=1, embed_dim=20, depth=3, num_heads=5, mlp_ratio=2.5)
    assert config_of(random_vit(odd, 0)) == odd


def test_weights_that_do_not_fit_are_named():
    weights = random_vit(TINY, 0).state_dict()
    without = {key: tensor for key, tensor in weights.items() if key != "cls_token"}
    with pytest.raises(ModelError, match=r"cls_token missing"):
        vit_with_weights(TINY, without)
    with pytest.raises(ModelError, match=r"head\.weight not expected"):
        vit_with_weights(TINY, {**weights, "head.weight": torch.zeros(2, 24)})
    with pytest.raises(ModelError, match=r"cls_token has shape \(1, 1, 8\)"):
        vit_with_weights(TINY, {**weights, "cls_token": torch.zeros(1, 1, 8)})


@pytest.mark.parametrize(
    "sizes", [{"img_size": 33}, {"embed_dim": 30, "num_heads": 5}, {"num_heads": 7}, {"depth": 0}, {"in_chans": -1}]
)
def test_sizes_that_do_not_divide_are_refused(sizes: dict):
    with pytest.raises(ModelError):
        ViTConfig(**{**vars(TINY), **sizes})


def test_imagenet_weights_exist_for_one_size_only():
    with pytest.raises(ModelError, match="ViT-B/16 at 224"):
        imagenet_vit(TINY)


def test_imagenet_without_network_says_so_quickly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with socket.socket() as unused:  # bound, not listening: a connection is refused at once
        unused.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", nowhere)
        monkeypatch.setattr(
            huggingface_hub.constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            nowhere + "/{repo_id}/resolve/{revision}/{filename}",
        )
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
        with pytest.raises(ModelError, match="connect to the network once"):
            imagenet_vit(ViTConfig())
