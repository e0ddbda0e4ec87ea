"""Precision 16-mixed: the gradient scaler is torch's own, on the CPU, where Fabric would choose bfloat16 by itself."""

import math
import signal
from dataclasses import replace

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from test_training_loop import same_weights
from tiny_task import CONFIG, TinyTask

from pacx.core.artifacts import read_json
from pacx.core.errors import InterruptedRunError
from pacx.training import loop
from pacx.training.loop import train
from pacx.training.monitoring.journal import TRAIN, VALIDATION, curve, read_journal

SCALED = replace(CONFIG, precision="16-mixed", log_every_steps=100)
TOO_LARGE = 2.0**18  # the first steps overflow and are skipped, and the scale is halved until one does not


@pytest.fixture(autouse=True)
def scaler_on_the_cpu(monkeypatch):
    def build(*_: object) -> Fabric:
        precision = MixedPrecision("16-mixed", device="cpu", scaler=torch.amp.GradScaler("cpu", init_scale=TOO_LARGE))
        fabric = Fabric(accelerator="cpu", devices=1, plugins=precision)
        fabric.launch()
        return fabric

    monkeypatch.setattr(loop, "build_fabric", build)


def stopped_in_step(number: int) -> TinyTask:
    """The task, and SIGUSR1 while it takes that step."""
    task = TinyTask()
    honest, steps = task.loss, iter(range(1, 10_000))

    def loss(batch, epoch):
        if next(steps) == number:
            signal.raise_signal(signal.SIGUSR1)
        return honest(batch, epoch)

    task.loss = loss
    return task


def test_stopped_in_a_window_with_an_overflow_a_run_is_saved_and_ends_in_the_same_bits(tmp_path):
    train(TinyTask(), SCALED, tmp_path / "whole")
    with pytest.raises(InterruptedRunError, match="saved at step 2 of 16"):
        train(stopped_in_step(2), SCALED, tmp_path / "cut")
    (checkpoint,) = (tmp_path / "cut/checkpoints").glob("*")
    state = read_json(checkpoint / "state.json")["state"]
    assert state["totals"]["gradient_norm"] is None
    assert state["precision"]["scale"] < TOO_LARGE
    train(TinyTask(), SCALED, tmp_path / "cut", resume=True)
    assert same_weights(tmp_path / "whole/tiny.safetensors", tmp_path / "cut/tiny.safetensors")
    whole, cut = (read_journal(tmp_path / name / "journal.jsonl") for name in ("whole", "cut"))
    for kind, metric in ((TRAIN, "loss"), (VALIDATION, "mse")):
        assert curve(whole, kind, metric) == curve(cut, kind, metric)
    errors = curve(whole, VALIDATION, "mse")[1]
    assert errors[-1] < errors[0]
    assert math.isnan(curve(cut, TRAIN, "gradient_norm")[1][0])
