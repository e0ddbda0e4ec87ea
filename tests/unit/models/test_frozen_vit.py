"""The frozen forward pass is the plain one to rounding, computes less, and steps back where it does not apply."""

import pytest
import torch
from torch import Tensor

from pacx.models.adapters import add_lora
from pacx.models.adapters_config import LoRAConfig
from pacx.models.encoders import frozen_vit
from pacx.models.encoders.frozen_vit import frozen_pooled, frozen_pooled_each
from pacx.models.onednn import is_suitable
from pacx.models.vit import pooled_each, random_vit
from pacx.models.vit_config import Pooling, ViTConfig

CONFIGS = (
    ViTConfig(img_size=32, patch_size=8, embed_dim=32, depth=1, num_heads=4),
    ViTConfig(img_size=64, patch_size=16, embed_dim=96, depth=3, num_heads=3, in_chans=1),
)
BOTH = (Pooling.CLASS_TOKEN, Pooling.PATCH_MEAN)


def images(config: ViTConfig, count: int = 5) -> Tensor:
    size = (count, config.in_chans, config.img_size, config.img_size)
    return torch.randn(size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("poolings", [BOTH, BOTH[:1], BOTH[1:], BOTH[::-1]])
@pytest.mark.parametrize("config", CONFIGS)
@torch.inference_mode()
def test_it_gives_what_the_plain_pass_gives(config: ViTConfig, poolings: tuple[Pooling, ...]) -> None:
    vit = random_vit(config, seed=1)
    expected, found = (each(vit, images(config), poolings) for each in (pooled_each, frozen_pooled_each))
    assert len(found) == len(poolings)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one, rtol=2e-6, atol=2e-6)
    torch.testing.assert_close(frozen_pooled(vit, images(config), poolings[0]), expected[0], rtol=2e-6, atol=2e-6)


@pytest.fixture
def num_rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of every product that is taken."""
    rows: list[int] = []
    product = frozen_vit._product

    def counted(left: Tensor, *more: object, **options: object) -> Tensor:
        rows.append(left.flatten(0, -2).shape[0])
        return product(left, *more, **options)

    monkeypatch.setattr(frozen_vit, "_product", counted)
    return rows


@pytest.mark.skipif(not is_suitable(torch.zeros(1)), reason="torch has no oneDNN here")
@pytest.mark.parametrize(("config", "at_once"), [(CONFIGS[0], 3), (CONFIGS[1], 2), (CONFIGS[1], 5)])
@torch.inference_mode()
def test_no_more_images_go_through_a_block_than_memory_is_kept_of(
    config: ViTConfig, at_once: int, num_rows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    vit, tokens = random_vit(config, seed=1), 1 + config.num_patches
    monkeypatch.setattr(frozen_vit, "_MOST_BYTES", at_once * tokens * 4 * config.embed_dim * 4)  # float32, 4 x wide
    found = frozen_pooled_each(vit, images(config), BOTH)
    assert max(num_rows) == at_once * tokens
    for one, other in zip(found, pooled_each(vit, images(config), BOTH), strict=True):
        torch.testing.assert_close(one, other, rtol=2e-6, atol=2e-6)


@pytest.mark.skipif(not is_suitable(torch.zeros(1)), reason="torch has no oneDNN here")
@torch.inference_mode()
def test_for_the_class_token_the_last_block_computes_one_token(num_rows: list[int]) -> None:
    config = CONFIGS[1]
    vit, films, tokens = random_vit(config, seed=1), 5, 1 + 16
    frozen_pooled(vit, images(config, films), Pooling.CLASS_TOKEN)
    assert num_rows == [films * tokens] * 4 * 2 + [films, films * tokens, films, films, films]
    num_rows.clear()
    frozen_pooled_each(vit, images(config, films), BOTH)
    assert num_rows == [films * tokens] * 4 * 3


def test_with_gradients_with_adapters_and_in_training_it_is_the_plain_pass(num_rows: list[int]) -> None:
    config = CONFIGS[0]
    vit = random_vit(config, seed=1)
    found = frozen_pooled_each(vit, images(config), BOTH)
    assert all(each.requires_grad for each in found)
    with torch.inference_mode():
        frozen_pooled_each(vit.train(), images(config), BOTH)
        adapted = add_lora(vit, LoRAConfig(), seed=0).eval().base_model.model
        frozen_pooled_each(adapted, images(config), BOTH)
    assert num_rows == []
