"""Corruption and loss of the lab autoencoder against slow loops written from the formulas."""

import pytest
import torch

from pacx.models.panel.autoencoder import Corruption, corrupt, dae_loss
from pacx.models.panel.labs import LabsDenoisingAutoencoder


@pytest.fixture(scope="module")
def case() -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    observed = (torch.rand(7, 50, generator=draw) < 0.7).double()
    observed[0] = 0
    observed[0, 3] = 1  # a patient with one lab: the pooled mean and the per-patient mean differ
    return {
        "values": torch.rand(7, 50, generator=draw).double(),
        "observed": observed,
        "noise": torch.rand(7, 50, generator=draw).double(),
        "reconstruction": torch.rand(7, 50, generator=draw).double(),
    }


@pytest.mark.parametrize("corruption", Corruption)
def test_corruption(case, corruption):
    values, shown = corrupt(case["values"], case["observed"], case["noise"], corruption=corruption)
    for i in range(7):
        for j in range(50):
            is_observed = case["observed"][i, j] == 1
            is_dropped = is_observed and case["noise"][i, j] < 0.15
            expected_value = case["values"][i, j] if is_observed and not is_dropped else 0
            seen = is_observed and not (is_dropped and corruption is Corruption.VALUE_AND_MASK)
            assert values[i, j] == expected_value
            assert shown[i, j] == float(seen)


def test_loss_is_pooled_over_all_observed_entries(case):
    total, count = 0.0, 0
    for i in range(7):
        for j in range(50):
            if case["observed"][i, j]:
                total += float(case["reconstruction"][i, j] - case["values"][i, j]) ** 2
                count += 1
    loss = dae_loss(case["reconstruction"], case["values"], case["observed"])
    assert float(loss) == pytest.approx(total / (count + 1e-6), rel=1e-12)


def test_loss_ignores_what_was_not_measured(case):
    elsewhere = torch.where(case["observed"] == 1, case["reconstruction"], torch.tensor(9.0, dtype=torch.float64))
    full = dae_loss(case["reconstruction"], case["values"], case["observed"])
    assert torch.equal(dae_loss(elsewhere, case["values"], case["observed"]), full)


def test_forward_written_out(case):
    model = LabsDenoisingAutoencoder(seed=1).double().requires_grad_(False)
    w = model.state_dict()
    x = torch.cat([case["values"] * case["observed"], case["observed"]], 1)
    h = x @ w["encoder.0.weight"].T + w["encoder.0.bias"]
    h = (h - h.mean(1, keepdim=True)) / (h.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    h = h * w["encoder.1.weight"] + w["encoder.1.bias"]

    def gelu(t):
        return t * 0.5 * (1 + torch.erf(t / 2**0.5))

    z = gelu(h) @ w["encoder.3.weight"].T + w["encoder.3.bias"]
    torch.testing.assert_close(model.encode(case["values"], case["observed"]), z, rtol=1e-10, atol=1e-12)
    out = torch.sigmoid(
        gelu(z @ w["decoder.0.weight"].T + w["decoder.0.bias"]) @ w["decoder.2.weight"].T + w["decoder.2.bias"]
    )
    torch.testing.assert_close(model(case["values"], case["observed"]), out, rtol=1e-10, atol=1e-12)
