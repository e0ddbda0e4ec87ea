"""timm and transformers models as film encoders: equal to the model itself, and refused in a sentence when broken."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf
from transformers import (
    AutoImageProcessor,
    BertConfig,
    BertModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    ResNetConfig,
    ResNetModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

from pacx.core.errors import ModelError
from pacx.data.augment import to_input
from pacx.models.encoders.film_encoder import FilmEncoder
from pacx.models.encoders.huggingface_encoder import open_huggingface
from pacx.models.encoders.timm_encoder import open_timm_folder, open_timm_model
from pacx.models.rollout import attention_rollout, rollout_network
from pacx.models.vit import Pooling

VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
SHAPE = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}


def films(size: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (2, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def by_hand(mean: Any, std: Any, size: int = 32) -> torch.Tensor:
    columns = [torch.tensor(values)[None, :, None, None] for values in (mean, std)]
    return (films(size)[:, None].float() / 255 - columns[0]) / columns[1]


def seen_by(encoder: FilmEncoder, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.inference_mode():
        images = to_input(films(size), encoder.preprocessing)
        return encoder.embed_images(images), encoder.patches(images)


def timm_folder(folder: Path, architecture: str, arguments: dict[str, Any], num_classes: int = 5) -> torch.nn.Module:
    """A folder as timm writes it for the hub."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model(architecture, num_classes=num_classes, **arguments).eval()
    model.pretrained_cfg |= {"input_size": (3, 32, 32), "mean": MEAN, "std": STD}
    save_for_hf(model, folder, model_args=arguments, safe_serialization=True)
    return model


@torch.inference_mode()
def test_a_timm_folder_gives_what_timm_gives(tmp_path: Path):
    model = timm_folder(tmp_path, "vit_small_patch14_reg4_dinov2", VIT)
    encoder = open_timm_folder(tmp_path)
    assert encoder.preprocessing.image_size_px == 32
    assert (encoder.preprocessing.mean, encoder.preprocessing.std) == (MEAN, STD)
    tokens = model.forward_features(by_hand(MEAN, STD))
    own, patches = seen_by(encoder)
    torch.testing.assert_close(own, tokens[:, 0])
    torch.testing.assert_close(patches, tokens[:, 5:])  # a class token and four registers
    torch.testing.assert_close(seen_by(encoder.pooled_by(Pooling.PATCH_MEAN))[0], tokens[:, 5:].mean(dim=1))
    maps = attention_rollout(rollout_network(encoder), to_input(films(), encoder.preprocessing))
    assert maps.shape == (2, 32, 32)


@pytest.mark.parametrize("architecture", ["resnet18", "swin_tiny_patch4_window7_224"])
@torch.inference_mode()
def test_networks_without_tokens_pool_and_give_a_grid(tmp_path: Path, architecture: str):
    arguments = {"img_size": 32, "window_size": 2, "embed_dim": 24, "depths": (1, 1), "num_heads": (2, 2)}
    model = timm_folder(tmp_path, architecture, arguments if "swin" in architecture else {})
    encoder = open_timm_folder(tmp_path)
    features = model.forward_features(by_hand(MEAN, STD))
    grid = features if "swin" in architecture else features.permute(0, 2, 3, 1)
    own, patches = seen_by(encoder)
    torch.testing.assert_close(own, grid.mean(dim=(1, 2)))
    torch.testing.assert_close(patches, grid.flatten(1, 2))
    with pytest.raises(ModelError, match=r"has no class token"):
        seen_by(encoder.pooled_by(Pooling.CLASS_TOKEN))
    with pytest.raises(ModelError, match=r"needs a timm VisionTransformer with a class token, this encoder is a"):
        rollout_network(encoder)


def test_a_vit_without_a_class_token_has_no_rollout(tmp_path: Path):
    timm_folder(tmp_path, "vit_base_patch16_224", {**VIT, "class_token": False, "global_pool": "avg"})
    with pytest.raises(ModelError, match="VisionTransformer without one; leave it out"):
        rollout_network(open_timm_folder(tmp_path))


@torch.inference_mode()
def test_eva_x_is_a_timm_folder_with_its_architecture_and_checkpoint(tmp_path: Path):
    """EVA-X: an EVA-02 with patches of 16; here a narrow one, its weights as the torch file its makers publish."""
    arguments = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, "ref_feat_shape": (4, 4)}
    model = timm_folder(tmp_path, "eva02_tiny_patch14_224", arguments, num_classes=0)
    torch.save({"model": load_file(tmp_path / "model.safetensors")}, tmp_path / "eva_x.pt")
    for written in (*tmp_path.glob("model.safetensors"), *tmp_path.glob("*.bin")):
        written.unlink()
    encoder = open_timm_folder(tmp_path)
    torch.testing.assert_close(seen_by(encoder)[0], model(by_hand(MEAN, STD)))


@torch.inference_mode()
def test_a_timm_name_with_a_checkpoint_of_ones_own(tmp_path: Path):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = timm.create_model("resnet18", num_classes=7).eval()
    save_file(model.state_dict(), tmp_path / "mine.safetensors")
    encoder = open_timm_model("resnet18", tmp_path / "mine.safetensors")
    mean, std = encoder.preprocessing.mean, encoder.preprocessing.std
    expected = model.forward_features(by_hand(mean, std, 224)).mean(dim=(2, 3))
    torch.testing.assert_close(seen_by(encoder, 224)[0], expected)


def test_timm_weights_that_do_not_fit_are_refused(tmp_path: Path):
    timm_folder(tmp_path, "vit_base_patch16_224", VIT)
    state = load_file(tmp_path / "model.safetensors")
    removed = state.pop("blocks.1.attn.qkv.bias")
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"does not fit .*blocks\.1\.attn\.qkv\.bias"):
        open_timm_folder(tmp_path)
    save_file({**state, "blocks.1.attn.qkv.bias": removed, "more": removed.clone()}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="does not fit"):
        open_timm_folder(tmp_path)
    for written in (*tmp_path.glob("*.safetensors"), *tmp_path.glob("*.bin")):
        written.unlink()
    with pytest.raises(ModelError, match="holds no weights; expected a file ending in"):
        open_timm_folder(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "vit_of_nobody"}))
    with pytest.raises(ModelError, match="names 'vit_of_nobody', which timm"):
        open_timm_folder(tmp_path)


def test_models_timm_does_not_know_are_refused():
    with pytest.raises(ModelError, match="knows no model 'vit_of_nobody'"):
        open_timm_model("vit_of_nobody")
    with pytest.raises(ModelError, match=r"has no weights 'resnet18\.of_nobody'"):
        open_timm_model("resnet18.of_nobody")


def processor(**settings: Any) -> ViTImageProcessor:
    return ViTImageProcessor(size={"height": 32, "width": 32}, image_mean=list(MEAN), image_std=list(STD), **settings)


def saved(model: Any, folder: Path, **settings: Any) -> Any:
    model.eval().save_pretrained(folder)
    processor(**settings).save_pretrained(folder)
    return model


@torch.inference_mode()
def test_dinov2_as_rad_dino_is_stored(tmp_path: Path):
    model = saved(Dinov2Model(Dinov2Config(image_size=32, patch_size=8, mlp_ratio=2, **{
        key: value for key, value in SHAPE.items() if key != "intermediate_size"
    })), tmp_path)  # fmt: skip
    encoder = open_huggingface(str(tmp_path))
    hidden = model(by_hand(MEAN, STD)).last_hidden_state
    own, patches = seen_by(encoder)
    torch.testing.assert_close(own, hidden[:, 0])
    torch.testing.assert_close(patches, hidden[:, 1:])
    with pytest.raises(ModelError, match="this encoder is a Dinov2Model"):
        rollout_network(encoder)


@torch.inference_mode()
def test_a_pooler_that_was_never_trained_is_not_used(tmp_path: Path):
    model = saved(ViTForImageClassification(ViTConfig(image_size=32, patch_size=8, **SHAPE)), tmp_path)
    own, _ = seen_by(open_huggingface(str(tmp_path)))
    torch.testing.assert_close(own, model.vit(by_hand(MEAN, STD)).last_hidden_state[:, 0])


@torch.inference_mode()
def test_the_image_tower_of_clip(tmp_path: Path):
    model = saved(CLIPVisionModel(CLIPVisionConfig(image_size=32, patch_size=8, **SHAPE)), tmp_path)
    expected = model(by_hand(MEAN, STD))
    own, patches = seen_by(open_huggingface(str(tmp_path)))
    torch.testing.assert_close(own, expected.pooler_output)
    torch.testing.assert_close(patches, expected.last_hidden_state[:, 1:])


@torch.inference_mode()
def test_a_convolutional_model_of_transformers(tmp_path: Path):
    model = saved(ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])), tmp_path)
    expected = model(by_hand(MEAN, STD))
    own, patches = seen_by(open_huggingface(str(tmp_path)))
    torch.testing.assert_close(own, expected.pooler_output.flatten(1))
    torch.testing.assert_close(patches, expected.last_hidden_state.flatten(2).transpose(1, 2))


@torch.inference_mode()
def test_a_processor_that_scales_in_its_own_way(tmp_path: Path):
    """Values over 127.5 instead of 255, then normalised: the contract folds both into mean and deviation."""
    model = saved(
        ViTForImageClassification(ViTConfig(image_size=32, patch_size=8, **SHAPE)), tmp_path, rescale_factor=1 / 127.5
    )
    encoder = open_huggingface(str(tmp_path))
    grey = films()[0].numpy()[..., None].repeat(3, axis=2)
    theirs = AutoImageProcessor.from_pretrained(tmp_path)(grey, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(to_input(films()[:1], encoder.preprocessing), theirs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(seen_by(encoder)[0][:1], model.vit(theirs).last_hidden_state[:, 0], rtol=1e-4, atol=1e-4)


def test_transformers_folders_that_will_not_do_are_refused(tmp_path: Path):
    saved(ViTForImageClassification(ViTConfig(image_size=32, patch_size=8, **SHAPE)), tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    gone = next(key for key in state if "layernorm_after" in key)
    del state[gone]
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 weights, first .*layernorm_after"):
        open_huggingface(str(tmp_path))
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="transformers cannot open"):
        open_huggingface(str(tmp_path))
    saved(BertModel(BertConfig(vocab_size=5, **SHAPE)), tmp_path)
    with pytest.raises(ModelError, match="does not take films of 32 pixels"):
        open_huggingface(str(tmp_path))
