"""Muon for matrices and AdamW for the rest: what torch's two do side by side, and one to everybody else."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from test_training_loop import same_weights, stop_after
from tiny_task import CONFIG, TinyTask
from torch import nn
from torch.optim import AdamW

from pacx.core.errors import TrainingError, UsageError
from pacx.core.typed_json import plain
from pacx.models.adapters import add_lora
from pacx.models.adapters_config import LoRAConfig
from pacx.models.vit import random_vit
from pacx.models.vit_config import ViTConfig
from pacx.training.checkpoints import flatten_optimizer, unflatten_optimizer
from pacx.training.config import MatrixOptimizer, Strategy, changed_fields, config_sha256
from pacx.training.loop import train
from pacx.training.stepping.muon import half_orthogonal
from pacx.training.stepping.optimizers import MuonWithAdamW, build_optimizer
from pacx.training.task import ParameterGroup, decay_matrices_only

MUON = replace(CONFIG, matrix_optimizer=MatrixOptimizer.MUON)
CPU = torch.device("cpu")


def small_module() -> nn.Module:
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        return nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(12, 2))


def step(module: nn.Module, *optimizers: torch.optim.Optimizer, rate: float) -> None:
    x = torch.linspace(-1, 1, 20).view(4, 5)
    module[4](module[3](module[2](module[1](module[0](x))[:, None]))).square().mean().backward()
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()


def test_its_steps_are_those_of_torchs_two_side_by_side(monkeypatch):
    """Rates change from step to step; matrices decay and the rest does not; a convolution is no matrix.

    In bfloat16, the only arithmetic that torch's Muon has.
    """
    monkeypatch.setattr(
        "pacx.training.stepping.muon.half_orthogonal", lambda matrix, _: half_orthogonal(matrix, torch.bfloat16)
    )
    ours, theirs = small_module(), small_module()
    one = build_optimizer(decay_matrices_only(ours, 0.1), MUON, CPU)
    matrices = [each for each in theirs.parameters() if each.ndim == 2]
    assert len(matrices) == 2
    muon = torch.optim.Muon(matrices, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    rest = [
        {"params": [each for each in theirs.parameters() if each.ndim == 3], "weight_decay": 0.1},
        {"params": [each for each in theirs.parameters() if each.ndim == 1], "weight_decay": 0.0},
    ]
    adamw = AdamW(rest, betas=MUON.betas, fused=True)
    for rate in (0.01, 0.02, 0.005):
        step(ours, one, rate=rate)
        step(theirs, muon, adamw, rate=rate)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, other)


@pytest.mark.parametrize("shape", [(8, 64), (64, 8), (96, 96)])
def test_directions_stay_and_their_strengths_become_one(shape):
    """Against the singular value decomposition: U of V stays, and no strength leaves 0.65 to 1.25."""
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    left, strengths, right = torch.linalg.svd(matrix, full_matrices=False)
    strengths = torch.logspace(0, -1.5, len(strengths), dtype=torch.float64)
    made = left.T @ half_orthogonal(left @ strengths.diag() @ right, torch.float64) @ right.T
    kept = made.diagonal()
    assert (made - kept.diag()).abs().max() < 1e-6
    assert kept.min() > 0.65
    assert kept.max() < 1.25
    assert torch.equal(half_orthogonal(torch.zeros(shape), torch.float32), torch.zeros(shape))


def test_on_a_processor_matrices_are_multiplied_in_the_format_they_have(monkeypatch):
    """bfloat16 takes thirty times as long on processors that do not have it."""
    met = []
    monkeypatch.setattr(
        "pacx.training.stepping.muon.half_orthogonal",
        lambda matrix, dtype: met.append(dtype) or torch.zeros_like(matrix),
    )
    module = small_module()
    step(module, build_optimizer(decay_matrices_only(module, 0.1), MUON, CPU), rate=0.1)
    assert met == [torch.float32, torch.float32]


def test_a_step_moves_all_directions_of_a_matrix_alike_and_as_far_as_adamw_would():
    """A gradient whose directions differ thirtyfold; a step's root mean square is near 0.2 times rate and factor."""
    weight = nn.Parameter(torch.zeros(8, 64))
    directions = torch.linalg.qr(torch.randn(64, 8, generator=torch.Generator().manual_seed(0)))[0].T
    optimizer = MuonWithAdamW(
        [ParameterGroup(parameters=(weight,), weight_decay=0.0)], lr=0.1, factor=3.0, betas=(0.9, 0.999), fused=False
    )
    weight.grad = torch.logspace(0, -1.5, 8)[:, None] * directions
    optimizer.step()
    strengths = torch.linalg.svdvals(weight.detach())
    assert strengths.max() / strengths.min() < 2
    assert weight.detach().square().mean().sqrt().item() == pytest.approx(3 * 0.2 * 0.1, rel=0.2)


def test_adapters_and_heads_are_stepped_by_muon_and_norms_by_adamw():
    vit = random_vit(ViTConfig(img_size=32, patch_size=8, embed_dim=32, depth=1, num_heads=2), 0)
    model = add_lora(vit, LoRAConfig(rank=2), seed=0)
    optimizer = build_optimizer(decay_matrices_only(model, 0.1), MUON, CPU)
    matrices = {id(each) for group in optimizer.param_groups if "momentum" in group for each in group["params"]}
    named = {name: each for name, each in model.named_parameters() if each.requires_grad}
    assert {name for name, each in named.items() if id(each) in matrices} == {name for name in named if "lora_" in name}
    others = {id(each) for group in optimizer.param_groups if "momentum" not in group for each in group["params"]}
    assert len(others) + len(matrices) == len(named)


def test_its_state_survives_a_checkpoint_exactly():
    module, again = small_module(), small_module()
    optimizer, fresh = (build_optimizer(decay_matrices_only(each, 0.1), MUON, CPU) for each in (module, again))
    step(module, optimizer, rate=0.01)
    again.load_state_dict(module.state_dict())
    tensors, rest = flatten_optimizer(copy.deepcopy(optimizer.state_dict()))  # torch loads without copying
    fresh.load_state_dict(unflatten_optimizer(tensors, json.loads(json.dumps(rest))))
    assert fresh.state_dict()["param_groups"] == optimizer.state_dict()["param_groups"]
    for each, one in ((module, optimizer), (again, fresh)):
        step(each, one, rate=0.02)
    for mine, other in zip(module.parameters(), again.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_interrupted_it_ends_in_the_same_bits_and_elsewhere_than_adamw(tmp_path):
    clipped = replace(MUON, gradient_clip=0.5)
    train(TinyTask(), clipped, tmp_path / "whole")
    for resume, epochs in ((False, 1), (True, 3)):
        with pytest.raises(KeyboardInterrupt):
            train(stop_after(TinyTask(), epochs), clipped, tmp_path / "cut", resume=resume)
    train(TinyTask(), clipped, tmp_path / "cut", resume=True)
    train(TinyTask(), replace(clipped, matrix_optimizer=None), tmp_path / "adamw")
    assert same_weights(tmp_path / "whole/tiny.safetensors", tmp_path / "cut/tiny.safetensors")
    assert not same_weights(tmp_path / "whole/tiny.safetensors", tmp_path / "adamw/tiny.safetensors")
    with pytest.raises(UsageError, match="matrix_optimizer"):
        train(TinyTask(), replace(clipped, matrix_optimizer=None), tmp_path / "cut", resume=True)


def test_in_bfloat16_too(tmp_path):
    train(TinyTask(), replace(MUON, precision="bf16-mixed"), tmp_path / "run")
    assert (tmp_path / "run/tiny.safetensors").exists()


def test_no_matrix_moves_on_a_number_that_is_none_although_muon_would(tmp_path, monkeypatch):
    """As on a GPU, where AdamW skips by itself: the host looks before each step of Muon."""
    monkeypatch.setattr("pacx.training.loop.looking_is_free", lambda device: False)
    task = TinyTask(poison=5)
    with pytest.raises(TrainingError, match="loss nan"):
        train(task, replace(MUON, log_every_steps=100), tmp_path / "run")
    assert all(tensor.isfinite().all() for tensor in task.module.state_dict().values())


def test_what_cannot_be_had_is_refused():
    with pytest.raises(UsageError, match="Muon needs whole matrices"):
        replace(MUON, strategy=Strategy.FSDP)
    with pytest.raises(UsageError, match="give a factor above 0 with an optimizer of matrices"):
        replace(CONFIG, matrix_rate_factor=4.0)
    with pytest.raises(UsageError, match="matrix_rate_factor is 0"):
        replace(MUON, matrix_rate_factor=0.0)
    nothing = [ParameterGroup(parameters=(nn.Parameter(torch.zeros(3)),), weight_decay=0.0)]
    with pytest.raises(UsageError, match="no weight matrix trains here"):
        build_optimizer(nothing, MUON, CPU)


def test_a_run_without_it_keeps_the_fingerprint_it_had():
    """Runs begun before there was such a setting go on."""
    config = {"training": plain(CONFIG)}
    before = {"training": {name: value for name, value in config["training"].items() if name != "matrix_optimizer"}}
    assert config_sha256(config) == config_sha256(before)
    assert not changed_fields(before, config)
    assert changed_fields(before, {"training": plain(MUON)}).keys() == {"training.matrix_optimizer"}
