"""One place decides where networks run, and whoever takes a device is told one."""

import ast
from pathlib import Path

import pytest
import torch

import pacx
from pacx.core.errors import UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.evaluation.comparison import Comparison
from pacx.inference.film_embedders import open_film_embedder
from pacx.models.device import chosen_device
from pacx.models.encoders.folder import save_encoder
from pacx.models.vit import random_vit
from pacx.models.vit_config import Pooling, ViTConfig

SOURCES = sorted(Path(pacx.__file__).parent.rglob("*.py"))
DECIDED = {"evaluation", "recipes", "audits", "suite", "demo", "reporting"}
"""Rooms whose functions take the device that was chosen."""


@pytest.mark.parametrize(("has_gpu", "device"), [(True, "cuda"), (False, "cpu")])
def test_a_gpu_is_taken_where_there_is_one(has_gpu: bool, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert chosen_device() == device
    assert Comparison(dataset="d").device == device
    assert chosen_device("cpu") == "cpu"


def test_films_are_embedded_where_the_one_place_says(tmp_path: Path) -> None:
    vit = random_vit(ViTConfig(img_size=32, patch_size=8, embed_dim=32, depth=1, num_heads=4), seed=0)
    contract = Preprocessing(image_size_px=32)
    folder = tmp_path / "encoder"
    save_encoder(vit, folder, preprocessing=contract, pooling=Pooling.CLASS_TOKEN, card="#", provenance={})
    assert open_film_embedder(folder).open().identity.startswith(f"torch {chosen_device()} ")
    with pytest.raises(UsageError, match="device gpu cannot be used"):
        open_film_embedder(folder, device="gpu").open()


@pytest.mark.parametrize("asked", ["gpu", "cuda:99", "meta", "mps:7"])
def test_a_device_that_is_not_there_is_one_sentence(asked: str) -> None:
    with pytest.raises(UsageError, match=rf"^device {asked} cannot be used \(.*\); take cpu") as raised:
        chosen_device(asked)
    assert "\n" not in str(raised.value)


def test_nobody_who_takes_a_device_is_left_to_its_default() -> None:
    taking, calls = set(), []
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        room = path.relative_to(Path(pacx.__file__).parent).parts[0]
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and room in DECIDED:
                names = [argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)]
                taking |= {node.name} if "device" in names else set()
            if isinstance(node, ast.Call) and room in DECIDED:
                calls.append((path.name, node))
    assert {"embed_pack", "train_probes", "rollout_maps", "decode_test_films"} <= taking
    forgotten = [
        f"{name}:{call.lineno} {call.func.id}"
        for name, call in calls
        if isinstance(call.func, ast.Name)
        and call.func.id in taking
        and not any(keyword.arg in ("device", None) for keyword in call.keywords)
        and not any(isinstance(argument, ast.Name) and argument.id == "device" for argument in call.args)
    ]
    assert forgotten == []
