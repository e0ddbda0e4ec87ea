"""The masked autoencoder against arrays of the original implementation, same weights and same noise."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from pacx.models.mae.model import MAEConfig, MaskedAutoencoder
from pacx.models.vit import Pooling, pooled

CASES = ("r90_pix", "r90_normpix", "r75_pix", "r75_normpix")
FIXED = {"pos_embed", "decoder_pos_embed"}


@pytest.fixture(scope="module")
def fill_rule(shared: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_fill", shared / "golden" / "fill.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def relative_l2(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.linalg.norm(ours.astype(np.float64) - theirs) / np.linalg.norm(theirs))


def filled_model(meta: dict, fill_rule: ModuleType) -> MaskedAutoencoder:
    sizes = ("embed_dim", "depth", "num_heads", "decoder_embed_dim", "decoder_depth", "decoder_num_heads")
    model = MaskedAutoencoder(
        MAEConfig(mask_ratio=meta["ratio"], norm_pix_loss=meta["norm_pix_loss"], **{size: meta[size] for size in sizes})
    )
    weights = {
        key: tensor
        if key in FIXED
        else torch.from_numpy(fill_rule.fill(key, tuple(tensor.shape), seed=meta["seed"])).to(tensor.dtype)
        for key, tensor in model.state_dict().items()
    }
    model.load_state_dict(weights)
    return model.eval()


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_agrees_with_the_original(case: str, shared: Path, fill_rule: ModuleType):
    golden = np.load(shared / "golden" / f"mae_{case}.npz")
    meta = json.loads(str(golden["meta"]))
    model = filled_model(meta, fill_rule)
    images = torch.from_numpy(fill_rule.array("images", (3, 3, 224, 224), seed=meta["seed"])).float()
    noise = torch.from_numpy(fill_rule.array("noise", (3, 196), seed=meta["seed"], uniform=True))
    output = model(images, noise)
    assert np.array_equal(output.mask.numpy(), golden["mask"])
    assert relative_l2(output.latent.numpy(), golden["latent"]) <= 1e-5
    assert relative_l2(output.prediction[:, :4].numpy(), golden["pred_first_patches"]) <= 1e-5
    assert abs(output.loss.item() - float(golden["loss"])) <= 1e-5 * float(golden["loss"])
    embedding = pooled(model.encoder(), images, Pooling.CLASS_TOKEN)
    assert relative_l2(embedding.numpy(), golden["cls"]) <= 1e-5


def test_state_dict_keys_and_shapes_are_the_originals(shared: Path):
    expected = json.loads((shared / "golden" / "state_dict_keys.json").read_text())["mae_small"]
    config = MAEConfig(embed_dim=96, depth=3, num_heads=3, decoder_embed_dim=64, decoder_depth=2, decoder_num_heads=4)
    ours = {key: list(tensor.shape) for key, tensor in MaskedAutoencoder(config).state_dict().items()}
    assert ours == expected
