"""Two processes see the same global batches as one, also when a run moves from one to two in the middle."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_training_loop import stop_after
from tiny_task import CONFIG, TinyTask

from pacx.training.journal import TRAIN, curve, read_journal
from pacx.training.loop import train


def test_run_begun_on_one_device_ends_alike_on_two(tmp_path):
    train(TinyTask(dropout=0.0), CONFIG, tmp_path / "one")
    with pytest.raises(KeyboardInterrupt):
        train(stop_after(TinyTask(dropout=0.0), 2), CONFIG, tmp_path / "two")
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(here)]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(here / "ddp_worker.py"), str(tmp_path / "two"), "2"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 processes" in done.stderr
    one, two = (load_file(tmp_path / name / "tiny.safetensors") for name in ("one", "two"))
    for name, weights in one.items():
        torch.testing.assert_close(two[name], weights, rtol=1e-5, atol=1e-6)
    curves = [curve(read_journal(tmp_path / name / "journal.jsonl"), TRAIN, "loss") for name in ("one", "two")]
    assert curves[0][0] == curves[1][0]
    assert curves[0][1] == pytest.approx(curves[1][1], rel=1e-5)
