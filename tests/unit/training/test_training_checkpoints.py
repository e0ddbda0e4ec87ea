import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

from pacx.core.errors import TrainingError
from pacx.training.checkpoints import Checkpoints, RunState, flatten_optimizer, unflatten_optimizer


def trained(steps: int = 3, *, seed: int = 0) -> tuple[nn.Module, AdamW]:
    generator = torch.Generator().manual_seed(seed)
    module = nn.Linear(4, 3)
    for parameter in module.parameters():
        nn.init.uniform_(parameter, generator=generator)
    groups = [{"params": [module.weight], "weight_decay": 0.1}, {"params": [module.bias], "weight_decay": 0.0}]
    optimizer = AdamW(groups, lr=0.1, betas=(0.9, 0.95), fused=True)
    for _ in range(steps):
        module(torch.rand(5, 4, generator=generator)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return module, optimizer


def assert_same_state(one: dict, other: dict) -> None:
    assert one["param_groups"] == other["param_groups"]
    assert one["state"].keys() == other["state"].keys()
    for index, values in one["state"].items():
        assert values.keys() == other["state"][index].keys()
        for name, value in values.items():
            again = other["state"][index][name]
            assert value.dtype == again.dtype
            assert torch.equal(value, again)


def test_optimizer_survives_flattening_exactly():
    state = trained()[1].state_dict()
    tensors, rest = flatten_optimizer(state)
    assert_same_state(state, unflatten_optimizer(tensors, json.loads(json.dumps(rest))))


def test_optimizer_values_that_are_not_tensors_survive():
    module = nn.Linear(2, 1)
    optimizer = SGD(module.parameters(), lr=0.1, momentum=0.9)
    state = optimizer.state_dict()
    state["state"] = {0: {"momentum_buffer": torch.ones(1, 2), "count": 3}, 1: {"momentum_buffer": None}}
    tensors, rest = flatten_optimizer(state)
    assert unflatten_optimizer(tensors, json.loads(json.dumps(rest)))["state"][0]["count"] == 3
    assert unflatten_optimizer(tensors, rest)["state"][1] == {"momentum_buffer": None}


def test_saved_and_restored_into_a_fresh_module(tmp_path):
    module, optimizer = trained()
    state = RunState(epoch=2, step=7, elapsed_s=1 / 3, best_step=4, best_value=0.1 + 0.2, precision={"scale": 65536.0})
    Checkpoints(tmp_path, config_sha256="a").save(module, optimizer, state)
    fresh, fresh_optimizer = trained(0, seed=1)
    assert Checkpoints(tmp_path, config_sha256="a").restore(fresh, fresh_optimizer) == state
    assert torch.equal(fresh.weight, module.weight)
    assert_same_state(optimizer.state_dict(), fresh_optimizer.state_dict())


def test_empty_folder_restores_nothing(tmp_path):
    assert Checkpoints(tmp_path / "none", config_sha256="a").restore(*trained()) is None


def test_keeps_two_and_the_best(tmp_path):
    checkpoints = Checkpoints(tmp_path, config_sha256="a")
    for step in range(1, 6):
        checkpoints.save(*trained(), RunState(step=step, best_step=2))
    assert [path.name for path in checkpoints.folders()] == ["step-00000002", "step-00000004", "step-00000005"]


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def alter_the_step(path: Path) -> None:
    path.write_text(path.read_text().replace('"step": 2', '"step": 9'))


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("module.safetensors", flip_a_byte),
        ("optimizer.safetensors", shorten),
        ("optimizer.safetensors", Path.unlink),
        ("state.json", shorten),
        ("state.json", alter_the_step),
        ("state.json", Path.unlink),
    ],
)
def test_damaged_newest_gives_way_to_the_one_before(tmp_path, file, damage):
    checkpoints = Checkpoints(tmp_path, config_sha256="a")
    older = trained(1)
    checkpoints.save(*older, RunState(step=1))
    checkpoints.save(*trained(2), RunState(step=2))
    damage(tmp_path / "step-00000002" / file)
    fresh = trained(0, seed=1)
    state = checkpoints.restore(*fresh)
    assert state is not None
    assert state.step == 1
    assert torch.equal(fresh[0].weight, older[0].weight)
    checkpoints.discard_after(1)
    assert [path.name for path in checkpoints.folders()] == ["step-00000001"]


def test_all_damaged_is_refused(tmp_path):
    checkpoints = Checkpoints(tmp_path, config_sha256="a")
    checkpoints.save(*trained(), RunState(step=1))
    flip_a_byte(tmp_path / "step-00000001/module.safetensors")
    with pytest.raises(TrainingError, match="none of 1 checkpoints"):
        checkpoints.restore(*trained())
    with pytest.raises(TrainingError, match="best checkpoint"):
        checkpoints.load_best(trained()[0], 1)


def test_other_configuration_or_module_is_refused(tmp_path):
    Checkpoints(tmp_path, config_sha256="a").save(*trained(), RunState(step=1))
    with pytest.raises(TrainingError, match="another configuration"):
        Checkpoints(tmp_path, config_sha256="b").restore(*trained())
    other = nn.Linear(4, 2)
    with pytest.raises(TrainingError, match="does not fit the module"):
        Checkpoints(tmp_path, config_sha256="a").restore(other, AdamW(other.parameters()))


def test_half_written_leftovers_go(tmp_path):
    checkpoints = Checkpoints(tmp_path, config_sha256="a")
    checkpoints.save(*trained(), RunState(step=1))
    (tmp_path / ".partial-abc-step-00000002").mkdir()
    assert len(checkpoints.folders()) == 1
    checkpoints.discard_after(1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_only_safetensors_and_json_are_written(tmp_path):
    folder = Checkpoints(tmp_path, config_sha256="a").save(*trained(), RunState(step=1))
    assert {path.suffix for path in folder.iterdir()} == {".safetensors", ".json"}
