"""The moving average against its closed form, and what it must never touch."""

import copy

import pytest
import torch
from torch import nn

from pacx.core.errors import ModelError, UsageError
from pacx.models.ema import MovingAverage, blend, follow

DECAY = 0.9


def a_module() -> nn.Module:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    module[2].bias.requires_grad_(False)
    return module


def take_steps(module: nn.Module, count: int) -> list[dict[str, torch.Tensor]]:
    """Weights before the first and after every step of some optimiser."""
    generator = torch.Generator().manual_seed(0)
    history = [{name: each.detach().clone() for name, each in module.named_parameters()}]
    for _ in range(count):
        with torch.no_grad():
            for each in module.parameters():
                each.add_(torch.randn(each.shape, generator=generator))
        history.append({name: each.detach().clone() for name, each in module.named_parameters()})
    return history


def closed_form(history: list[dict[str, torch.Tensor]], name: str) -> torch.Tensor:
    """decay^T w_0 + (1 - decay) sum_t decay^(T - t) w_t, in 64 bit."""
    last = len(history) - 1
    total = DECAY**last * history[0][name].double()
    for t in range(1, last + 1):
        total = total + (1 - DECAY) * DECAY ** (last - t) * history[t][name].double()
    return total.float()


def test_a_module_and_a_teacher_both_follow_the_closed_form():
    module = a_module()
    teacher, average = copy.deepcopy(module), MovingAverage(module, DECAY)
    history = take_steps(copy.deepcopy(module), 7)
    for weights in history[1:]:
        with torch.no_grad():
            for name, each in module.named_parameters():
                each.copy_(weights[name])
        module[1].running_mean += 1
        average.update()
        follow(teacher, module, DECAY)
    for name, mean in average.state_dict().items():
        torch.testing.assert_close(mean, closed_form(history, name))
        torch.testing.assert_close(teacher.get_parameter(name).detach(), closed_form(history, name))
    assert "2.bias" not in average.state_dict()
    assert torch.equal(teacher[1].running_mean, torch.full((4,), 7.0))


def test_the_average_is_kept_in_32_bit_beside_weights_of_16():
    module = nn.Linear(2, 1, bias=False).to(torch.bfloat16)
    with torch.no_grad():
        module.weight.fill_(1.0)
    average = MovingAverage(module, 0.9999)
    with torch.no_grad():
        module.weight.fill_(2.0)
    average.update()
    mean = average.state_dict()["weight"]
    assert mean.dtype == torch.float32
    torch.testing.assert_close(mean, torch.full((1, 2), 1.0001))  # in bfloat16 it would still be 1


def test_in_place_it_is_the_average_and_afterwards_the_weights_to_the_bit():
    module = a_module()
    average = MovingAverage(module, DECAY)
    before = take_steps(module, 1)[-1]
    average.update()
    with pytest.raises(KeyError), average.in_place():
        for name, mean in average.state_dict().items():
            assert torch.equal(module.get_parameter(name).detach(), mean)
            assert not torch.equal(mean, before[name])
        raise KeyError("whatever happens inside")
    assert all(torch.equal(each, before[name]) for name, each in module.named_parameters())
    average.put_in_place()
    assert torch.equal(module[0].weight.detach(), average.state_dict()["0.weight"])


def test_averages_come_back_as_they_were_saved():
    module = a_module()
    average = MovingAverage(module, DECAY)
    take_steps(module, 1)
    average.update()
    saved = {name: mean.clone() for name, mean in average.state_dict().items()}
    other = MovingAverage(a_module(), DECAY)
    other.load_state_dict(saved)
    assert all(torch.equal(mean, saved[name]) for name, mean in other.state_dict().items())


def test_nothing_is_matched_by_luck():
    with pytest.raises(ModelError, match=r"2\.bias is not alike"):
        follow(a_module(), nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 5)), DECAY)
    with pytest.raises(ModelError, match=r"0\.bias is not alike"):
        MovingAverage(a_module(), DECAY).load_state_dict({})
    with pytest.raises(ValueError, match="zip"):
        blend([torch.zeros(1)], [], DECAY)
    for decay in (0.0, 1.0, 1.5):
        with pytest.raises(UsageError, match="between 0 and 1"):
            MovingAverage(a_module(), decay)
