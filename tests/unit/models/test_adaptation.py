import pytest
import torch
from safetensors.torch import load_file

from pacx.core.errors import ModelError
from pacx.models.adaptation import Adapters, LastBlocks
from pacx.models.vit import Pooling, ViTConfig, pooled, random_vit

TINY = ViTConfig(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=2)
WAYS = [Adapters(), LastBlocks(num_blocks=1), LastBlocks()]


def images() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("way", WAYS)
def test_begins_as_the_encoder_and_ends_as_a_plain_one(way, tmp_path):
    vit = random_vit(TINY, 0)
    model = way.adapted(vit, seed=0)
    before = pooled(vit, images(), Pooling.CLASS_TOKEN)
    torch.testing.assert_close(pooled(model, images(), Pooling.CLASS_TOKEN), before, rtol=1e-5, atol=1e-6)
    pooled(model, images(), Pooling.CLASS_TOKEN).square().sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            assert (parameter.grad is not None) == parameter.requires_grad
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    model.eval()
    released = way.release(model, tmp_path)
    assert type(released) is type(vit)
    assert set(released.state_dict()) == set(vit.state_dict())
    after = pooled(released, images(), Pooling.CLASS_TOKEN)
    torch.testing.assert_close(after, pooled(model, images(), Pooling.CLASS_TOKEN), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(after, before, atol=1e-3)


def test_only_what_was_named_moves():
    names = {
        name for name, p in LastBlocks(num_blocks=1).adapted(random_vit(TINY, 0), seed=0).named_parameters()
        if p.requires_grad
    }  # fmt: skip
    assert names
    assert all(name.startswith(("blocks.2.", "norm.")) for name in names)
    full = LastBlocks().adapted(random_vit(TINY, 0), seed=0)
    assert {name for name, p in full.named_parameters() if not p.requires_grad} == {"pos_embed"}


def test_adapters_are_kept_alone(tmp_path):
    model = Adapters().adapted(random_vit(TINY, 0), seed=0)
    Adapters().release(model, tmp_path)
    assert any("lora_A" in key for key in load_file(tmp_path / "adapter" / "adapter_model.safetensors"))


@pytest.mark.parametrize("num_blocks", [0, 4])
def test_blocks_that_are_not_there_are_refused(num_blocks):
    with pytest.raises(ModelError, match="3 blocks"):
        LastBlocks(num_blocks=num_blocks).adapted(random_vit(TINY, 0), seed=0)
