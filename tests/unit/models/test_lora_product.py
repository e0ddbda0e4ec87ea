"""A layer and its adapter multiplied at once, against peft's own layer."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from pacx.models.adapters import AdaptedLinear, multiply_at_once


class Two(nn.Module):
    def __init__(self, *, bias: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(24, 40, bias=bias), nn.Linear(40, 16, bias=bias)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(rows)))


def pair(*, bias: bool = True, dropout: float = 0.0, alpha: int = 16) -> tuple[nn.Module, nn.Module]:
    """peft's model with adapters that have moved, and the same one multiplying at once."""
    torch.manual_seed(3)
    config = LoraConfig(r=4, lora_alpha=alpha, lora_dropout=dropout, target_modules=["first", "second"])
    theirs = get_peft_model(Two(bias=bias), config)
    for name, parameter in theirs.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.3)
    ours = copy.deepcopy(theirs)
    multiply_at_once(ours)
    return theirs, ours


def gradients(model: nn.Module, rows: torch.Tensor) -> dict[str, torch.Tensor]:
    rows = rows.clone().requires_grad_()
    (model(rows).square() * torch.linspace(-1, 1, 16)).sum().backward()
    return {"rows": rows.grad, **{name: each.grad for name, each in model.named_parameters() if each.grad is not None}}


@pytest.mark.parametrize("shape", [(7, 24), (3, 5, 24)])
@pytest.mark.parametrize("bias", [True, False])
def test_output_and_gradients_are_those_of_peft(shape, bias):
    theirs, ours = pair(bias=bias)
    assert isinstance(ours.base_model.model.first, AdaptedLinear)
    rows = torch.randn(shape)
    torch.testing.assert_close(ours(rows), theirs(rows), rtol=1e-5, atol=1e-6)
    found, expected = gradients(ours, rows), gradients(theirs, rows)
    assert found.keys() == expected.keys()
    assert sum("lora_" in name for name in found) == 4
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_gradients_are_those_of_finite_differences():
    """In 32 bits a step of 1e-2 leaves errors of about 1e-3."""
    _, ours = pair()
    rows = torch.randn(6, 24)
    found = gradients(ours, rows)["base_model.model.first.lora_A.default.weight"]
    weight = ours.base_model.model.first.lora_A["default"].weight
    with torch.no_grad():
        for place in ((0, 0), (1, 7), (3, 23)):
            values = []
            for step in (1e-2, -1e-2):
                weight[place] += step
                values.append((ours(rows).double().square() * torch.linspace(-1, 1, 16)).sum().item())
                weight[place] -= step
            assert (values[0] - values[1]) / 2e-2 == pytest.approx(found[place].item(), rel=2e-2, abs=2e-2)


def test_what_is_not_one_plain_adapter_stays_with_peft():
    """Dropout, adapters that are off or merged, other numbers: what peft makes of it, to the bit."""
    rows = torch.randn(9, 24)
    theirs, ours = pair(dropout=0.5)
    torch.manual_seed(0)
    expected = theirs.train()(rows)
    torch.manual_seed(0)
    assert torch.equal(ours.train()(rows), expected)
    theirs, ours = pair()
    with theirs.disable_adapter(), ours.disable_adapter():
        assert torch.equal(ours(rows), theirs(rows))
    theirs, ours = theirs.double(), ours.double()
    assert torch.equal(ours(rows.double()), theirs(rows.double()))
    theirs.merge_adapter()
    ours.merge_adapter()
    assert torch.equal(ours(rows.double()), theirs(rows.double()))


def test_a_base_weight_that_trains_gets_its_gradient():
    theirs, ours = pair()
    for model in (theirs, ours):
        model.base_model.model.first.base_layer.weight.requires_grad_(True)
    rows = torch.randn(5, 24)
    name = "base_model.model.first.base_layer.weight"
    torch.testing.assert_close(gradients(ours, rows)[name], gradients(theirs, rows)[name], rtol=1e-4, atol=1e-5)
