"""The two objectives of Stage 2 against values of the original implementation, in float64."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pacx.objectives.contrastive import info_nce
from pacx.objectives.cosine import cosine_distance

CASES = {"full": ("ecg", "labs"), "ecg_only": ("ecg",), "labs_only": ("labs",)}
WIDTH = {"ecg": 1024, "labs": 256}


@pytest.fixture(scope="module")
def golden(shared: Path) -> dict[str, np.ndarray]:
    return dict(np.load(shared / "golden" / "distillation.npz"))


@pytest.fixture(scope="module")
def inputs(shared: Path, golden: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    spec = importlib.util.spec_from_file_location("golden_fill_distillation", shared / "golden" / "fill.py")
    assert spec is not None
    assert spec.loader is not None
    rule = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rule)
    meta = json.loads(str(golden["meta"]))
    shapes = {"cxr_shared": 256, "ecg_shared": 256, "labs_shared": 256}
    shapes |= {f"{name}_{kind}": width for name, width in WIDTH.items() for kind in ("prediction", "target")}
    batch, seed = meta["batch"], meta["seed"]
    return {name: torch.from_numpy(rule.array(name, (batch, width), seed=seed)) for name, width in shapes.items()}


def relative_l2(ours: torch.Tensor, theirs: np.ndarray) -> float:
    return float(np.linalg.norm(ours.detach().numpy() - theirs) / np.linalg.norm(theirs))


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_the_original(case: str, golden: dict[str, np.ndarray], inputs: dict[str, torch.Tensor]):
    image = inputs["cxr_shared"].clone().requires_grad_()
    # the original's log scale is a float32 parameter, cast to float64 with the rest
    log_scale = torch.tensor(np.log(1 / 0.07), dtype=torch.float32).double().requires_grad_()
    names = CASES[case]
    contrastive = torch.stack(
        [info_nce(image, inputs[f"{name}_shared"], log_scale, label_smoothing=0.02) for name in names]
    ).mean()
    regression = torch.stack(
        [cosine_distance(inputs[f"{name}_prediction"], inputs[f"{name}_target"]).mean() for name in names]
    ).mean()
    total = 0.5 * contrastive + 1.0 * regression
    total.backward()
    assert image.grad is not None
    assert log_scale.grad is not None
    assert relative_l2(contrastive, golden[f"{case}_contrastive"]) <= 1e-9
    assert relative_l2(regression, golden[f"{case}_regression"]) <= 1e-9
    assert relative_l2(total, golden[f"{case}_total"]) <= 1e-9
    assert relative_l2(image.grad, golden[f"{case}_grad_cxr"]) <= 1e-9
    assert relative_l2(log_scale.grad, golden[f"{case}_grad_log_scale"]) <= 1e-9
