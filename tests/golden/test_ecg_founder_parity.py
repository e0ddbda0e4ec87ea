"""ECGFounder against features and logits computed with the official implementation."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from pacx.models.ecg.founder import ECGFounder


def relative_error(ours, theirs):
    return float(np.linalg.norm(ours.double().numpy() - theirs) / np.linalg.norm(theirs))


def filled(shared: Path, num_leads: int) -> tuple[ECGFounder, dict, dict]:
    rule = runpy.run_path(str(shared / "golden" / "fill.py"))
    case = np.load(shared / "golden" / f"ecgfounder_{num_leads}lead.npz")
    with torch.device("meta"):
        network = ECGFounder(num_leads)
    state = {
        key: torch.from_numpy(rule["fill"](key, tuple(value.shape), seed=7)).to(value.dtype)
        for key, value in network.state_dict().items()
    }
    network.load_state_dict(state, strict=True, assign=True)
    return network, rule, case


def test_the_state_dict_has_the_official_keys_shapes_and_order(shared):
    official = json.loads((shared / "golden" / "state_dict_keys.json").read_text())["ecgfounder_12lead"]
    with torch.device("meta"):
        ours = {key: list(value.shape) for key, value in ECGFounder(12).state_dict().items()}
    assert list(ours.items()) == list(official.items())


@pytest.mark.parametrize("num_leads", [1, 12])
def test_features_and_logits_equal_the_official_ones(shared, num_leads):
    network, rule, case = filled(shared, num_leads)
    signals = torch.from_numpy(rule["array"](f"ecg{num_leads}", (2, num_leads, 5000), seed=7)).float()
    network.requires_grad_(False).eval()
    logits, features = network(signals)
    assert relative_error(features, case["features"]) < 1e-5
    assert relative_error(logits, case["logits"]) < 1e-5
    trained = network.train()(signals)
    assert torch.equal(trained.features, features)
    for key, value in network.state_dict().items():
        if "bn" in key:
            value.fill_(7)
    assert torch.equal(network(signals).features, features), "batch normalisation is stored and must never act"


@pytest.mark.parametrize("num_leads", [1, 12])
@pytest.mark.parametrize("length", [4321, 4999])
def test_odd_lengths_agree_between_single_and_double_precision(shared, length, num_leads):
    network, rule, _ = filled(shared, num_leads)
    signals = torch.from_numpy(rule["array"]("odd", (1, num_leads, length), seed=7))
    network.requires_grad_(False)
    single = network(signals.float()).features
    double = network.double()(signals).features
    assert relative_error(single, double.numpy()) < 1e-5
