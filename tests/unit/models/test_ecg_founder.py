"""Structure and loading of ECGFounder; its numbers are compared in tests/golden."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from pacx.core.errors import DataError, ModelError
from pacx.models.ecg.founder import ECGFounder, _Block, _SameConv, load_ecg_founder


@pytest.fixture(scope="module")
def network() -> ECGFounder:
    return ECGFounder(1).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def checkpoint(network, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "1_lead.pth"
    state = {f"module.{key}": value for key, value in network.state_dict().items()}
    torch.save({"epoch": 3, "score": np.float64(0.5), "state_dict": state}, path)
    return path


def test_parameter_counts():
    with torch.device("meta"):
        twelve, one = ECGFounder(12), ECGFounder(1)
    assert sum(p.numel() for p in twelve.parameters()) == 30_819_014
    assert sum(p.numel() for p in one.parameters()) == 30_807_750
    assert len(twelve.state_dict()) == 509


@pytest.mark.parametrize(("length", "stride", "left", "right"), [(50, 1, 7, 8), (50, 2, 7, 7), (51, 2, 7, 8)])
def test_same_padding_puts_the_odd_zero_on_the_right(length, stride, left, right):
    layer = _SameConv(2, 3, 16, stride).requires_grad_(False)
    x = torch.randn(1, 2, length, generator=torch.Generator().manual_seed(0))
    by_hand = F.conv1d(F.pad(x, (left, right)), layer.conv.weight, layer.conv.bias, stride=stride)
    assert layer(x).shape[-1] == -(-length // stride)
    torch.testing.assert_close(layer(x), by_hand)


def test_shortcut_of_an_odd_length_ends_in_a_window_with_a_zero():
    block = _Block(2, 64, is_first=False, downsamples=True)
    x = torch.tensor([[[1.0, 2.0, -3.0], [-1.0, -2.0, 5.0]]])
    out = block._shortcut(x)
    assert out.shape == (1, 64, 2)
    assert out[0, 31:33].tolist() == [[2.0, 0.0], [-1.0, 5.0]], "max(x_last, 0), channels padded evenly on both sides"
    assert out.abs().sum() == 8


def test_input_with_time_before_leads_is_refused(network):
    with pytest.raises(DataError, match=re.escape("(2, 5000, 12), expected (records, 12 leads, time)")):
        ECGFounder.forward(type("Twelve", (), {"num_leads": 12})(), torch.zeros(2, 5000, 12))
    with pytest.raises(DataError, match="transpose"):
        network(torch.zeros(2, 64, 1))


def test_checkpoints_of_both_kinds_give_the_same_features(network, checkpoint, tmp_path):
    signals = torch.randn(1, 1, 640, generator=torch.Generator().manual_seed(1))
    flat = tmp_path / "weights.safetensors"
    save_file(network.state_dict(), flat)
    for path in (checkpoint, flat):
        loaded = load_ecg_founder(path)
        assert not loaded.training
        assert not any(p.requires_grad for p in loaded.parameters())
        state = loaded.state_dict()
        assert all(torch.equal(state[key], value) for key, value in network.state_dict().items())
        torch.testing.assert_close(loaded.embed(signals), network(signals).features, rtol=1e-3, atol=1e-6)


def test_a_missing_key_an_unknown_key_and_a_wrong_shape_are_each_named(network, tmp_path):
    path = tmp_path / "weights.safetensors"
    good = network.state_dict()

    def refused(state: dict, message: str) -> None:
        save_file(state, path)
        with pytest.raises(ModelError, match=message):
            load_ecg_founder(path)

    refused(
        {k: v for k, v in good.items() if k != "first_bn.running_var"}, r"1 keys are missing \(first_bn.running_var\)"
    )
    refused({**good, "extra": torch.zeros(1)}, r"1 are unknown \(extra\)")
    refused({**good, "dense.weight": torch.zeros(3, 1024)}, r"dense.weight is torch.float32 \(3, 1024\)")
    refused({**good, "dense.bias": torch.full((150,), float("nan"))}, "NaN or infinite values in dense.bias")


class _Runs:
    """A pickle that would call a function when opened: here a harmless one."""

    def __reduce__(self):
        return (print, ("this ran",))


def test_a_file_with_code_in_it_is_not_opened(tmp_path):
    path = tmp_path / "calls.pth"
    torch.save({"state_dict": {"a": torch.zeros(1)}, "scheduler": _Runs()}, path)
    with pytest.raises(ModelError, match="a pickle can run code"):
        load_ecg_founder(path)
    path.write_bytes(pickle.dumps(_Runs(), protocol=2))
    with pytest.raises(ModelError):
        load_ecg_founder(path)


def test_missing_and_damaged_files_are_said_in_a_sentence(checkpoint, tmp_path):
    with pytest.raises(ModelError, match="is not a file"):
        load_ecg_founder(tmp_path / "nothing.pth")
    cut = tmp_path / "cut.pth"
    cut.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"cut\.pth is not a readable torch file"):
        load_ecg_founder(cut)
    half = tmp_path / "half.safetensors"
    half.write_bytes(b"\x10\x00\x00\x00")
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        load_ecg_founder(half)
