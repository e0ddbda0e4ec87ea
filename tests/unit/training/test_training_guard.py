"""No weight moves on a number that is none, although the host looks only now and then."""

import itertools
import signal
from dataclasses import replace

import pytest
import torch
from tiny_task import CONFIG, TinyTask
from torch import nn
from torch.optim import AdamW

from pacx.core.artifacts import read_json
from pacx.core.errors import TrainingError
from pacx.training.loop import train
from pacx.training.stepping.nonfinite import Guard

CPU = torch.device("cpu")


def step(guard: Guard, module: nn.Module, optimizer: AdamW, number: int, scale: float) -> None:
    loss = (module(torch.ones(2, 4)) * scale).square().mean()
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(module.parameters(), torch.inf)
    guard.watch(number, loss, norm)
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_from_the_first_bad_step_on_nothing_changes(bad):
    module = nn.Linear(4, 3)
    optimizer = AdamW(module.parameters(), lr=0.1, fused=True)
    guard = Guard(optimizer, CPU, is_scaled=False)
    for number in (0, 1):
        step(guard, module, optimizer, number, 1.0)
    assert guard.look() is None
    before = [tensor.clone() for tensor in module.parameters()]
    state = [{name: value.clone() for name, value in each.items()} for each in optimizer.state.values()]
    for number, scale in ((2, bad), (3, 1.0), (4, bad), (5, 1.0)):
        step(guard, module, optimizer, number, scale)
    refusal = guard.look()
    assert refusal.step == 2
    assert not torch.isfinite(torch.tensor(refusal.loss))
    assert all(torch.equal(one, other) for one, other in zip(before, module.parameters(), strict=True))
    for one, other in zip(state, optimizer.state.values(), strict=True):
        assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_good_steps_are_the_optimisers_own():
    results = []
    for is_guarded in (True, False):
        module = nn.Linear(4, 3)
        with torch.no_grad():
            module.weight.fill_(0.3), module.bias.fill_(0.1)
        optimizer = AdamW(module.parameters(), lr=0.1, fused=True)
        guard = Guard(optimizer if is_guarded else AdamW([nn.Parameter(torch.zeros(1))]), CPU, is_scaled=False)
        for number in range(3):
            step(guard, module, optimizer, number, 1.0)
        results.append(module.state_dict())
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_with_a_gradient_scaler_only_the_loss_counts():
    guard = Guard(AdamW([nn.Parameter(torch.zeros(1))]), CPU, is_scaled=True)
    guard.watch(0, torch.tensor(1.0), torch.tensor(torch.inf))
    assert guard.look() is None
    guard.watch(1, torch.tensor(torch.nan), torch.tensor(1.0))
    assert guard.look().step == 1


def test_a_run_that_looks_rarely_names_the_samples_of_the_bad_step(tmp_path, monkeypatch):
    """As on a GPU: the host reads the verdict at the end of the epoch, four steps after case-5 spoilt one of them."""
    monkeypatch.setattr("pacx.training.loop.looking_is_free", lambda device: False)
    config = replace(CONFIG, log_every_steps=100)
    task = TinyTask(poison=5)
    order = [[task.ids[row] for row in batch] for batch in task.batches(0, config, 0, 1)]
    bad_step = next(number for number, ids in enumerate(order) if "case-5" in ids)
    assert bad_step < 3, "the poisoned case has to come before the host looks"
    with pytest.raises(TrainingError, match=rf"epoch 0, step {bad_step}: loss nan.*case-"):
        train(task, config, tmp_path / "late")
    refused = read_json(tmp_path / "late/refused-batch-rank0.json")
    assert refused["sample_ids"] == order[bad_step]
    monkeypatch.undo()
    prompt = TinyTask(poison=5)
    with pytest.raises(TrainingError):
        train(prompt, config, tmp_path / "prompt")
    late, prompt = task.module.state_dict(), prompt.module.state_dict()
    assert all(torch.equal(tensor, prompt[name]) for name, tensor in late.items())
    assert not list(tmp_path.glob("*/checkpoints/*"))


def test_a_bad_step_is_not_saved_when_the_run_is_asked_to_stop_before_anybody_looked(tmp_path, monkeypatch):
    monkeypatch.setattr("pacx.training.loop.looking_is_free", lambda device: False)
    task = TinyTask(poison=5)
    honest, steps = task.loss, itertools.count()

    def loss(batch, epoch):
        if next(steps) == 3:
            signal.raise_signal(signal.SIGTERM)
        return honest(batch, epoch)

    task.loss = loss
    with pytest.raises(TrainingError, match="loss nan"):
        train(task, replace(CONFIG, log_every_steps=100), tmp_path / "run")
    assert not list(tmp_path.glob("run/checkpoints/*"))
