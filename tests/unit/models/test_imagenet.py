import time
from pathlib import Path

import huggingface_hub
import numpy as np
import pandas as pd
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from pacx.core.errors import ModelError
from pacx.core.preprocessing import Preprocessing
from pacx.data.augment import to_input
from pacx.data.datasets.folder import DATASET, FolderOptions
from pacx.data.packs.packing import pack_records
from pacx.models.encoders.imagenet import ImageNetModel, imagenet_vit
from pacx.models.mae.model import MAEConfig
from pacx.models.vit import Pooling, pooled
from pacx.recipes.mae import initial_encoder
from pacx.training.tasks.mae import MAETask, MAETaskConfig


def test_without_network_it_says_so_quickly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    with pytest.raises(ModelError, match=r"cannot fetch model\.safetensors of timm/vit_base_patch16_224"):
        imagenet_vit()
    assert sum(slept) < 15  # nothing listens there, so that between attempts is all the time it takes


def publish(model: ImageNetModel, cache: Path) -> nn.Module:
    """A model of timm's own making in a cache laid out by hand as the hub client lays it out, in half precision."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        published = timm.create_model(model.value, num_classes=1000).half().float().eval()
    repository = cache / f"models--timm--{model.value}"
    snapshot = repository / "snapshots" / "0123456789abcdef"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(snapshot.name)
    save_file({name: tensor.half() for name, tensor in published.state_dict().items()}, snapshot / "model.safetensors")
    return published


def test_weights_in_the_local_cache_are_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    published = publish(ImageNetModel.TINY, tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    vit = imagenet_vit(ImageNetModel.TINY)
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        expected = published.forward_features(images)[:, 0]
        torch.testing.assert_close(pooled(vit, images, Pooling.CLASS_TOKEN), expected, rtol=1e-6, atol=1e-6)


def test_pretraining_starts_from_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """``--init imagenet`` at the paper's size, on one channel: the encoder to be trained sees a film as timm's does."""
    published = publish(ImageNetModel.BASE, tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    root = tmp_path / "films"
    root.mkdir()
    for number, film in enumerate(np.random.default_rng(2).integers(0, 256, (3, 224, 224), dtype=np.uint8)):
        Image.fromarray(film).save(root / f"{number}.png")
    pd.DataFrame({"file": ["0.png", "1.png", "2.png"]}).to_csv(root / "index.csv", index=False)
    pack = pack_records(DATASET.read(root, FolderOptions()), tmp_path / "pack", preprocessing=Preprocessing())
    model = MAEConfig(in_chans=1, decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2)
    rows = np.arange(3)
    task = MAETask(pack, rows[:2], rows[2:], MAETaskConfig(model=model), 0, initial_encoder(Path("imagenet"), model))
    started = task.module.encoder()
    films = torch.from_numpy(pack.images[:].copy())
    with torch.inference_mode():
        expected = published.forward_features(to_input(films, pack.preprocessing))[:, 0]
        found = pooled(started, to_input(films, task.preprocessing), Pooling.CLASS_TOKEN)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
