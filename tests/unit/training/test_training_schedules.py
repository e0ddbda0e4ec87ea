import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pacx.core.errors import UsageError
from pacx.core.randomness import sample_keys
from pacx.core.typed_json import plain
from pacx.training.config import Strategy, TrainingConfig, changed_fields, config_sha256
from pacx.training.stepping.schedules import learning_rate
from pacx.training.task import Selection, decay_matrices_only, shuffled_rows

LABS = TrainingConfig(epochs=50, batch_size=256, learning_rate=3e-4, warmup_steps=200, weight_decay=0.01)


@pytest.mark.parametrize(("step", "rate"), [(0, 0.0), (100, 1.5e-4), (200, 3e-4), (1075, 1.5e-4), (1950, 0.0)])
def test_labs_schedule_as_measured_upstream(step, rate):
    """Values of specs/ecg_labs.md section 3.3: 39 steps an epoch."""
    assert learning_rate(LABS, 39).at(step) == pytest.approx(rate, abs=1e-12)


def test_floor_and_no_warmup():
    config = TrainingConfig(epochs=2, batch_size=1, learning_rate=1.0, final_lr_fraction=0.01)
    schedule = learning_rate(config, 10)
    assert schedule.at(0) == 1.0
    assert schedule.at(20) == pytest.approx(0.01)
    assert schedule.at(10) == pytest.approx(0.01 + 0.99 / 2)
    assert all(schedule.at(step) > schedule.at(step + 1) for step in range(20))


def test_warmup_in_epochs_equals_steps():
    by_epochs = learning_rate(replace(LABS, warmup_steps=None, warmup_epochs=2.5), 40)
    assert by_epochs == learning_rate(replace(LABS, warmup_steps=100), 40)


def test_endless_warmup_is_refused():
    with pytest.raises(UsageError, match="warm-up takes 200 steps but the run has 50"):
        learning_rate(LABS, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"learning_rate": -1.0},
        {"final_lr_fraction": 1.5},
        {"warmup_epochs": 1.0},
        {"gradient_clip": 0.0},
        {"batch_size": 9, "devices": 2},
    ],
)
def test_impossible_settings_are_refused(change):
    with pytest.raises(UsageError):
        replace(LABS, **change)


def test_fingerprint_ignores_what_does_not_change_the_result():
    asked = plain({"training": LABS})
    harmless = plain({"training": replace(LABS, num_workers=4, devices=2, accelerator="cpu", strategy=Strategy.FSDP)})
    other = plain({"training": replace(LABS, betas=(0.9, 0.95))})
    assert config_sha256(asked) == config_sha256(harmless) != config_sha256(other)
    assert changed_fields(asked, harmless) == {}
    assert changed_fields(asked, other) == {"training.betas": ([0.9, 0.999], [0.9, 0.95])}


def test_decay_spares_vectors_tokens_and_positions():
    module = nn.Module()
    module.linear, module.norm = nn.Linear(3, 2), nn.LayerNorm(2)
    module.cls_token = nn.Parameter(torch.zeros(1, 1, 3))
    module.decoder_pos_embed = nn.Parameter(torch.zeros(1, 4, 3))
    module.frozen = nn.Parameter(torch.zeros(2, 2), requires_grad=False)
    decayed, spared = decay_matrices_only(module, 0.05)
    assert decayed.parameters == (module.linear.weight,)
    assert (decayed.weight_decay, spared.weight_decay) == (0.05, 0.0)
    assert len(spared.parameters) == 5


def test_ranks_share_the_global_batches():
    keys = sample_keys([str(i) for i in range(50)])
    config = replace(LABS, batch_size=12)
    whole = list(shuffled_rows(keys, config, 3, 0, 1))
    halves = zip(shuffled_rows(keys, config, 3, 0, 2), shuffled_rows(keys, config, 3, 1, 2), strict=True)
    assert len(whole) == 4
    assert all((np.concatenate(pair) == batch).all() for pair, batch in zip(halves, whole, strict=True))
    assert len(np.unique(np.concatenate(whole))) == 48
    assert not (whole[0] == next(shuffled_rows(keys, config, 4, 0, 1))).all()


def test_selection_never_prefers_nan():
    rule = Selection(metric="auroc", is_higher_better=True)
    assert rule.is_improvement(0.5, None)
    assert rule.is_improvement(0.6, 0.5)
    assert not rule.is_improvement(0.4, 0.5)
    assert not rule.is_improvement(math.nan, 0.5)
    assert not rule.is_improvement(math.nan, None)
