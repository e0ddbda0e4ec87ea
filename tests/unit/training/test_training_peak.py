"""The share of a GPU's peak, by what chips call themselves; the formula of the arithmetic has its own oracle."""

from dataclasses import replace

import pytest
import torch

from pacx.models.mae.config import MAEConfig, SampledDecoder
from pacx.models.mae.flops import training_flops
from pacx.training.monitoring.gpu_peak import share_of, share_of_peak


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H100 NVL", 835),
        ("NVIDIA H200", 989),
        ("NVIDIA H200 NVL", 835),
    ],
)
def test_half_of_a_chips_peak_is_half(name, tflops):
    assert share_of(tflops * 1e12 / 2, name) == pytest.approx(0.5)


def test_an_unknown_chip_has_no_share():
    assert share_of(1e12, "NVIDIA GeForce RTX 4090") is None


def test_the_papers_model_could_not_go_faster_than_23_thousand_films_a_second():
    """989 TFLOP/s over the arithmetic of a film; nearly twice that with the sampled decoder."""
    full, sampled = MAEConfig(), replace(MAEConfig(), decoder=SampledDecoder())
    assert share_of(23_300 * training_flops(full), "NVIDIA H200") == pytest.approx(1, abs=0.01)
    assert share_of(23_300 * training_flops(sampled), "NVIDIA H200") == pytest.approx(0.5, abs=0.01)


def test_nothing_is_said_where_the_peak_would_be_another():
    assert share_of_peak(100.0, 1e9, torch.device("cpu"), "bf16-mixed") is None
    assert share_of_peak(100.0, 1e9, torch.device("cuda"), "32-true") is None
    assert share_of_peak(100.0, None, torch.device("cuda"), "bf16-mixed") is None
