"""Files as facebookresearch/mae, Lightning and this project write them, read back strictly."""

import argparse
import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from test_mae import TINY, tiny_images, tiny_noise

from pacx.core.errors import ModelError
from pacx.models.mae.checkpoints import convert_mae_encoder, load_mae, load_mae_encoder, save_for_mae
from pacx.models.mae.model import MAEConfig, MaskedAutoencoder
from pacx.models.vit import ViTConfig

ENCODER = ViTConfig(**{field: getattr(TINY, field) for field in ViTConfig.__dataclass_fields__})


class Payload:
    """Stands for any object: a pickle that could run code."""


def official(state: dict, path: Path) -> None:
    """As a training run of facebookresearch/mae leaves it, arguments and all."""
    extras = {"args": argparse.Namespace(model="mae_vit_base_patch16", mask_ratio=0.75), "epoch": 400, "scaler": {}}
    torch.save({"model": state, "optimizer": {"state": {}, "param_groups": []}, **extras}, path)


def lightning(state: dict, path: Path) -> None:
    """As the authors of PaCX-MAE release it."""
    content = {"state_dict": {f"model.{key}": tensor for key, tensor in state.items()}, "epoch": 399}
    torch.save({**content, "hyper_parameters": {"mask_ratio": 0.9, "lr": 1.5e-4}, "global_step": 174_800}, path)


def data_parallel(state: dict, path: Path) -> None:
    torch.save({"model": {f"module.{key}": tensor for key, tensor in state.items()}}, path)


def ours(state: dict, path: Path) -> None:
    save_file(state, path)


WRITERS = {"official.pth": official, "pacx.ckpt": lightning, "parallel.pth": data_parallel, "mae.safetensors": ours}


@pytest.fixture
def model() -> MaskedAutoencoder:
    return MaskedAutoencoder(TINY, seed=3)


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file_gives_the_same_model(model, tmp_path, name):
    WRITERS[name](model.state_dict(), tmp_path / name)
    loaded = load_mae(tmp_path / name, TINY)
    assert torch.equal(loaded(tiny_images(), tiny_noise()).loss, model(tiny_images(), tiny_noise()).loss)
    trained = {key for key, parameter in loaded.named_parameters() if parameter.requires_grad}
    assert trained == {key for key, parameter in model.named_parameters() if parameter.requires_grad}
    encoder = load_mae_encoder(tmp_path / name, ENCODER)
    torch.testing.assert_close(encoder(tiny_images()), model.encoder()(tiny_images()))


def test_file_of_an_encoder_alone_is_an_encoder_and_no_autoencoder(model, tmp_path):
    """As mae_pretrain_vit_base.pth."""
    official(model.encoder().state_dict(), tmp_path / "encoder.pth")
    encoder = load_mae_encoder(tmp_path / "encoder.pth", ENCODER)
    torch.testing.assert_close(encoder(tiny_images()), model.encoder()(tiny_images()))
    with pytest.raises(ModelError, match=r"encoder\.pth does not fit MaskedAutoencoder: \d+ keys are missing"):
        load_mae(tmp_path / "encoder.pth", TINY)


def test_exported_file_has_the_originals_keys_and_comes_back(shared, tmp_path):
    expected = json.loads((shared / "golden" / "state_dict_keys.json").read_text())["mae_small"]
    config = MAEConfig(embed_dim=96, depth=3, num_heads=3, decoder_embed_dim=64, decoder_depth=2, decoder_num_heads=4)
    small = MaskedAutoencoder(config, seed=4)
    save_for_mae(small, tmp_path / "small.pth")
    written = torch.load(tmp_path / "small.pth", weights_only=True)["model"]
    assert {key: list(tensor.shape) for key, tensor in written.items()} == expected
    again = load_mae(tmp_path / "small.pth", config).state_dict()
    assert all(torch.equal(tensor, again[key]) for key, tensor in small.state_dict().items())


def test_converted_encoder_opens_in_timm(model, tmp_path):
    lightning(model.state_dict(), tmp_path / "pacx.ckpt")
    convert_mae_encoder(tmp_path / "pacx.ckpt", tmp_path / "encoder", ENCODER)
    by_timm = timm.create_model(f"local-dir:{tmp_path / 'encoder'}", pretrained=True, num_classes=0).eval()
    with torch.no_grad():
        torch.testing.assert_close(by_timm(tiny_images()), model.encoder()(tiny_images()), rtol=1e-4, atol=1e-5)


def test_what_does_not_fit_or_could_run_code_is_refused(model, tmp_path):
    state = model.state_dict()
    path = tmp_path / "file.pth"
    for changed, reason in (
        ({key: tensor for key, tensor in state.items() if key != "norm.bias"}, r"1 keys are missing \(norm\.bias\)"),
        ({**state, "head.weight": torch.zeros(2)}, r"1 are unknown \(head\.weight\)"),
        ({**state, "cls_token": torch.zeros(1, 1, 25)}, r"cls_token is .*\(1, 1, 25\), expected .*\(1, 1, 24\)"),
        ({**state, "cls_token": torch.full((1, 1, 24), torch.nan)}, "NaN or infinite values in cls_token"),
    ):
        official(changed, path)
        with pytest.raises(ModelError, match=reason):
            load_mae(path, TINY)
    with pytest.raises(ModelError, match=r"file\.pth"):
        official({key: tensor for key, tensor in state.items() if key != "norm.bias"}, path)
        load_mae_encoder(path, ENCODER)
    torch.save({"model": state, "extra": Payload()}, path)
    with pytest.raises(ModelError, match="more than tensors and numbers"):
        load_mae(path, TINY)
