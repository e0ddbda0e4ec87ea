import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer

from pacx.core.artifacts import sha256_of
from pacx.core.errors import ModelError
from pacx.core.preprocessing import Preprocessing
from pacx.models.encoders.folder import load_encoder, save_encoder
from pacx.models.vit import Pooling, ViTConfig, pooled, random_vit

TINY = ViTConfig(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3, mlp_ratio=3.0)
ODD = ViTConfig(img_size=30, patch_size=5, in_chans=1, embed_dim=20, depth=1, num_heads=5)
CONTRACTS = {
    TINY: Preprocessing(image_size_px=32),
    ODD: Preprocessing(image_size_px=30, num_channels=1, mean=(0.5,), std=(0.25,)),
}


def saved(out: Path, config: ViTConfig = TINY, pooling: Pooling = Pooling.CLASS_TOKEN) -> VisionTransformer:
    vit = random_vit(config, 5)
    save_encoder(
        vit, out, preprocessing=CONTRACTS[config], pooling=pooling, card="# An encoder", provenance={"seed": 5}
    )
    return vit


def images_for(config: ViTConfig) -> torch.Tensor:
    size = (2, config.in_chans, config.img_size, config.img_size)
    return torch.randn(size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("pooling", Pooling)
@pytest.mark.parametrize("config", [TINY, ODD])
@torch.no_grad()
def test_we_and_timm_open_the_same_encoder(config: ViTConfig, pooling: Pooling, tmp_path: Path):
    vit, images = saved(tmp_path / "encoder", config, pooling), images_for(config)
    expected = pooled(vit, images, pooling)
    ours = load_encoder(tmp_path / "encoder")
    theirs = timm.create_model(f"local-dir:{tmp_path / 'encoder'}", pretrained=True).eval()
    assert (ours.pooling, ours.preprocessing) == (pooling, CONTRACTS[config])
    assert not ours.vit.training
    for opened in (ours.vit, theirs):
        weights = opened.state_dict()
        assert weights.keys() == vit.state_dict().keys()
        assert all(torch.equal(weights[key], tensor) for key, tensor in vit.state_dict().items())
        torch.testing.assert_close(opened(images), expected, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(pooled(opened, images, pooling), expected, rtol=1e-6, atol=1e-6)


def test_timm_prepares_input_as_the_contract_says(tmp_path: Path):
    saved(tmp_path / "encoder")
    model = timm.create_model(f"local-dir:{tmp_path / 'encoder'}", pretrained=True)
    data = timm.data.resolve_model_data_config(model)
    assert data["input_size"] == (3, 32, 32)
    assert (tuple(data["mean"]), tuple(data["std"])) == (CONTRACTS[TINY].mean, CONTRACTS[TINY].std)
    assert (data["interpolation"], data["crop_mode"], data["crop_pct"]) == ("bilinear", "squash", 1.0)


def test_loading_leaves_the_global_generator_alone(tmp_path: Path):
    saved(tmp_path / "encoder")
    state = torch.get_rng_state()
    load_encoder(tmp_path / "encoder")
    assert torch.equal(torch.get_rng_state(), state)


def test_card_ends_with_provenance_and_an_old_folder_is_replaced(tmp_path: Path):
    out = tmp_path / "encoder"
    out.mkdir()
    (out / "stale.txt").write_text("old")
    saved(out)
    assert sorted(path.name for path in out.iterdir()) == [
        "MODEL_CARD.md", "config.json", "model.safetensors", "origin.json", "preprocessing.json",
    ]  # fmt: skip
    card = (out / "MODEL_CARD.md").read_text()
    assert card.startswith("# An encoder\n")
    assert '"seed": 5' in card


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "preprocessing.json"])
def test_missing_file_is_named(name: str, tmp_path: Path):
    saved(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ModelError, match=rf"{name} is missing"):
        load_encoder(tmp_path)


def test_altered_weights_or_config_are_refused(tmp_path: Path):
    saved(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    save_file({**weights, "cls_token": weights["cls_token"] + 1e-3}, path)
    with pytest.raises(ModelError, match=r"model\.safetensors is not the file .* SHA-256"):
        load_encoder(tmp_path)
    saved(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace('"num_heads": 3', '"num_heads": 6'))  # the same shapes, other outputs
    with pytest.raises(ModelError, match=r"config\.json is not the file"):
        load_encoder(tmp_path)


def rehashed(folder: Path, **changes: object) -> None:
    """Make the contract agree with altered files, so that the later checks are the ones that speak."""
    contract = json.loads((folder / "preprocessing.json").read_text())
    contract["sha256"] = {name: sha256_of(folder / name) for name in contract["sha256"]}
    (folder / "preprocessing.json").write_text(json.dumps({**contract, **changes}))


@pytest.mark.parametrize(
    ("alter", "complaint"),
    [
        (lambda w: {k: v for k, v in w.items() if k != "norm.weight"}, r"norm\.weight missing"),
        (lambda w: {**w, "decoder_pred.weight": torch.zeros(3)}, r"decoder_pred\.weight not expected"),
        (lambda w: {**w, "norm.weight": torch.zeros(7)}, r"norm\.weight has shape \(7,\), expected \(24,\)"),
        (lambda w: {**w, "norm.weight": w["norm.weight"].half()}, r"stores norm\.weight as torch\.float16"),
    ],
)
def test_weights_that_do_not_fit_are_refused(alter, complaint: str, tmp_path: Path):
    saved(tmp_path)
    save_file(alter(load_file(tmp_path / "model.safetensors")), tmp_path / "model.safetensors")
    rehashed(tmp_path)
    with pytest.raises(ModelError, match=complaint):
        load_encoder(tmp_path)


def test_damaged_files_are_refused(tmp_path: Path):
    saved(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not safetensors")
    rehashed(tmp_path)
    with pytest.raises(ModelError, match="not a readable safetensors file"):
        load_encoder(tmp_path)
    saved(tmp_path)
    (tmp_path / "config.json").write_text('{"model_args": {"img_size": 32}}')
    rehashed(tmp_path)
    with pytest.raises(ModelError, match="does not say the encoder's patch_size"):
        load_encoder(tmp_path)
    (tmp_path / "preprocessing.json").write_text("{")
    with pytest.raises(ModelError, match="not valid JSON"):
        load_encoder(tmp_path)
    (tmp_path / "preprocessing.json").write_text("[]")
    with pytest.raises(ModelError, match="expected a JSON object"):
        load_encoder(tmp_path)


def test_another_contract_is_refused(tmp_path: Path):
    saved(tmp_path)
    rehashed(tmp_path, format_version=2)
    with pytest.raises(ModelError, match="format version 2"):
        load_encoder(tmp_path)
    saved(tmp_path)
    rehashed(tmp_path, preprocessing={**CONTRACTS[TINY].to_json(), "clahe": True})
    with pytest.raises(ModelError, match="another version"):
        load_encoder(tmp_path)
    saved(tmp_path)
    rehashed(tmp_path, preprocessing=Preprocessing(image_size_px=64).to_json())
    with pytest.raises(ModelError, match="32 pixels but its preprocessing gives 3 of 64"):
        load_encoder(tmp_path)
    saved(tmp_path)
    rehashed(tmp_path, pooling="max")
    with pytest.raises(ModelError, match="pooling 'max'"):
        load_encoder(tmp_path)


def test_unfit_encoders_are_not_saved(tmp_path: Path):
    options = {"pooling": Pooling.CLASS_TOKEN, "card": "", "provenance": {}}
    vit = random_vit(TINY, 0)
    with pytest.raises(ModelError, match="gives 3 of 224"):
        save_encoder(vit, tmp_path / "a", preprocessing=Preprocessing(), **options)
    with torch.no_grad():
        vit.norm.bias[0] = float("nan")
    with pytest.raises(ModelError, match=r"norm\.bias holds NaN"):
        save_encoder(vit, tmp_path / "a", preprocessing=CONTRACTS[TINY], **options)
    classifier = VisionTransformer(img_size=32, patch_size=8, embed_dim=24, depth=1, num_heads=2, num_classes=3)
    with pytest.raises(ModelError, match="no head"):
        save_encoder(classifier, tmp_path / "a", preprocessing=CONTRACTS[TINY], **options)
    assert not list(tmp_path.iterdir())
