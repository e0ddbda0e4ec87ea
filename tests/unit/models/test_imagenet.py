import time
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file

from pacx.core.errors import ModelError
from pacx.models.imagenet import ImageNetModel, imagenet_vit
from pacx.models.vit import Pooling, pooled


def test_without_network_it_says_so_quickly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    began = time.monotonic()
    with pytest.raises(ModelError, match=r"cannot fetch model\.safetensors of timm/vit_base_patch16_224"):
        imagenet_vit()
    assert time.monotonic() - began < 15


def test_weights_in_the_local_cache_are_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The cache is laid out by hand as the hub client lays it out; the weights are a model of timm's own making."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        published = timm.create_model("vit_tiny_patch16_224", num_classes=1000).eval()
    repository = tmp_path / f"models--timm--{ImageNetModel.TINY.value}"
    snapshot = repository / "snapshots" / "0123456789abcdef"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(snapshot.name)
    save_file(published.state_dict(), snapshot / "model.safetensors")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    vit = imagenet_vit(ImageNetModel.TINY)
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        expected = published.forward_features(images)[:, 0]
        torch.testing.assert_close(pooled(vit, images, Pooling.CLASS_TOKEN), expected, rtol=1e-6, atol=1e-6)
