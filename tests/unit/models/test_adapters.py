import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from pacx.core.errors import ModelError
from pacx.models.adapters import LoRAConfig, NormsTrained, add_lora, merge_lora, trainable_summary
from pacx.models.vit import Pooling, ViTConfig, pooled, random_vit

TINY = ViTConfig(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2)


def images() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def moved(model: torch.nn.Module) -> torch.nn.Module:
    """Every trainable parameter takes a step, as after training."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def test_vit_b_counts_are_the_methods():
    with torch.device("meta"):
        vit = VisionTransformer(num_classes=0)
        summary = trainable_summary(add_lora(vit, LoRAConfig(), seed=0))
        final = trainable_summary(add_lora(vit, LoRAConfig(norms=NormsTrained.FINAL), seed=0))
    assert summary.num_lora == 1_032_192
    assert summary.num_norm == 25 * 2 * 768
    assert summary.num_trainable == summary.num_lora + summary.num_norm
    assert summary.num_total == 85_798_656 + summary.num_lora
    assert final.num_norm == 2 * 768
    assert summary.trainable_fraction == pytest.approx(0.0123, abs=1e-4)


def test_only_adapters_and_norms_train():
    model = add_lora(random_vit(TINY, 0), LoRAConfig(rank=2), seed=0)
    names = {name.removeprefix("base_model.model.") for name, p in model.named_parameters() if p.requires_grad}
    layers = [f"blocks.{i}.{layer}" for i in range(2) for layer in ("attn.qkv", "mlp.fc1", "mlp.fc2")]
    norms = ["norm", *(f"blocks.{i}.norm{j}" for i in range(2) for j in (1, 2))]
    expected = {f"{layer}.lora_{side}.default.weight" for layer in layers for side in "AB"}
    expected |= {f"{norm}.{part}" for norm in norms for part in ("weight", "bias")}
    assert names == expected
    pooled(model, images(), Pooling.CLASS_TOKEN).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


def test_final_norm_alone_can_be_trained():
    model = add_lora(random_vit(TINY, 0), LoRAConfig(norms=NormsTrained.FINAL, targets=("qkv",)), seed=0)
    names = {name for name, p in model.named_parameters() if p.requires_grad and ".lora_" not in name}
    assert names == {"base_model.model.norm.weight", "base_model.model.norm.bias"}


def test_adding_adapters_changes_no_output_no_weight_and_no_random_number():
    vit = random_vit(TINY, 0)
    before = {key: tensor.clone() for key, tensor in vit.state_dict().items()}
    state = torch.get_rng_state()
    model = add_lora(vit, LoRAConfig(), seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert type(vit.blocks[0].attn.qkv) is torch.nn.Linear
    assert all(torch.equal(vit.state_dict()[key], tensor) for key, tensor in before.items())
    assert torch.equal(pooled(model.eval(), images(), Pooling.CLASS_TOKEN), vit(images()))


def test_adapters_are_seeded():
    vit = random_vit(TINY, 0)
    first, again, other = (add_lora(vit, LoRAConfig(), seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    key = "base_model.model.blocks.0.attn.qkv.lora_A.default.weight"
    assert not torch.equal(first[key], other[key])


@pytest.mark.parametrize("alpha", [8, 16.0])
@torch.no_grad()
def test_merging_gives_a_plain_encoder_with_the_same_embeddings(alpha: float):
    vit = random_vit(TINY, 0)
    model = moved(add_lora(vit, LoRAConfig(rank=4, alpha=alpha), seed=0)).eval()
    adapted = pooled(model, images(), Pooling.CLASS_TOKEN)
    merged = merge_lora(model)
    assert type(merged) is VisionTransformer
    assert merged.state_dict().keys() == vit.state_dict().keys()
    torch.testing.assert_close(merged(images()), adapted, rtol=1e-5, atol=1e-5)
    assert (merged(images()) - vit(images())).norm() > 0.1 * vit(images()).norm()
    torch.testing.assert_close(pooled(model, images(), Pooling.CLASS_TOKEN), adapted, rtol=0, atol=0)
    qkv = model.get_base_model().blocks[1].attn.qkv
    update = alpha / 4 * qkv.lora_B["default"].weight @ qkv.lora_A["default"].weight
    torch.testing.assert_close(merged.blocks[1].attn.qkv.weight, vit.blocks[1].attn.qkv.weight + update)


def test_merging_ignores_dropout_and_training_mode():
    model = moved(add_lora(random_vit(TINY, 0), LoRAConfig(dropout=0.5), seed=0)).train()
    merged = merge_lora(model)
    assert model.training
    torch.testing.assert_close(merged(images()), pooled(model.eval(), images(), Pooling.CLASS_TOKEN))


def test_a_merge_that_changes_the_output_is_refused():
    model = add_lora(random_vit(TINY, 0), LoRAConfig(), seed=0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B" in name:  # an update so large that float32 loses the weight it is added to
                parameter.fill_(1e7)
    with pytest.raises(ModelError, match="merging the adapters changed"):
        merge_lora(model)


@pytest.mark.parametrize("options", [{"rank": 0}, {"alpha": 0}, {"dropout": 1.0}, {"targets": ()}])
def test_unusable_configurations_are_refused(options: dict):
    with pytest.raises(ModelError, match="no usable adapter"):
        LoRAConfig(**options)


def test_unknown_target_is_named():
    with pytest.raises(ModelError, match="'fc3'"):
        add_lora(random_vit(TINY, 0), LoRAConfig(targets=("qkv", "fc3")), seed=0)
    with pytest.raises(ModelError, match=r"'attn\.qkv' is no linear layer"):  # a path, where a name is asked for
        add_lora(random_vit(TINY, 0), LoRAConfig(targets=("attn.qkv",)), seed=0)


def test_the_released_codes_epsilon_holds_in_training_and_not_after():
    """LayerNorm under epsilon e of a vector with variance v has variance v / (v + e)."""
    vit = random_vit(TINY, 0)
    adapted = moved(add_lora(vit, LoRAConfig(norm_eps=0.5), seed=0)).eval()
    norm = adapted.get_base_model().blocks[0].norm1
    x = torch.randn(1, 24, generator=torch.Generator().manual_seed(2))
    plain = torch.nn.functional.layer_norm(x, (24,), eps=0)
    expected = plain * (x.var(unbiased=False) / (x.var(unbiased=False) + 0.5)).sqrt() * norm.weight + norm.bias
    torch.testing.assert_close(norm(x), expected)
    assert {layer.eps for layer in vit.modules() if isinstance(layer, torch.nn.LayerNorm)} == {1e-6}
    merged = merge_lora(adapted)  # compared under 0.5, or it would be refused
    assert {layer.eps for layer in merged.modules() if isinstance(layer, torch.nn.LayerNorm)} == {1e-6}
    with torch.no_grad():
        assert not torch.allclose(merged(images()), pooled(adapted, images(), Pooling.CLASS_TOKEN), atol=1e-3)
    with pytest.raises(ModelError, match="positive rank, alpha and epsilon"):
        LoRAConfig(norm_eps=0)
