"""Kill a distillation; what it ends with must be the bits of one that was never killed."""

import multiprocessing
import signal
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import distill_worker
import pytest
import torch
from safetensors.torch import load_file

from pacx.data.packs.pack import Pack
from pacx.training.loop import train
from pacx.training.monitoring.journal import TRAIN, VALIDATION, curve, read_journal

_PATIENCE_S = 300.0


def start(pack: Pack, run: Path, *, resume: bool, pause_s: float) -> ForkServerProcess:
    context = multiprocessing.get_context("forkserver")  # imports torch once, for all of them
    context.set_forkserver_preload(["pacx.training.tasks.distill", "pacx.training.loop"])
    process = context.Process(target=distill_worker.run, args=(pack.path, run, resume, pause_s))
    process.start()
    return process


def wait_until(condition: Callable[[], bool], process: ForkServerProcess) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert process.is_alive(), "the run was over before anything could happen to it"
        assert time.monotonic() < deadline
        time.sleep(0.001)


def num_checkpoints(run: Path) -> int:
    return max((int(path.name[5:]) for path in run.glob("checkpoints/step-*")), default=-1)


@pytest.mark.slow
def test_killed_between_and_within_checkpoints_it_ends_in_the_same_bits(pack, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(distill_worker.task(pack), distill_worker.CONFIG, whole)
    for resume, wait in (
        (False, lambda: num_checkpoints(cut) >= 4),
        (True, lambda: any(cut.glob("checkpoints/.partial-*"))),
    ):
        process = start(pack, cut, resume=resume, pause_s=0.03)
        wait_until(wait, process)
        process.kill()
        process.join(_PATIENCE_S)
        assert process.exitcode == -signal.SIGKILL
        assert not (cut / "summary.json").exists()
    process = start(pack, cut, resume=True, pause_s=0.0)
    process.join(_PATIENCE_S)
    assert process.exitcode == 0
    last = f"checkpoints/{max(path.name for path in whole.glob('checkpoints/step-*'))}"
    for name in ("encoder/model.safetensors", f"{last}/module.safetensors", f"{last}/optimizer.safetensors"):
        expected, resumed = load_file(whole / name), load_file(cut / name)
        assert expected.keys() == resumed.keys()
        assert all(torch.equal(tensor, resumed[key]) for key, tensor in expected.items())
    assert any(".teacher." in f".{key}" for key in load_file(cut / last / "module.safetensors"))
    journals = [read_journal(run / "journal.jsonl") for run in (whole, cut)]
    for kind, metric in ((TRAIN, "loss"), (TRAIN, "teacher"), (VALIDATION, "loss"), (VALIDATION, "embedding_spread")):
        assert curve(journals[0], kind, metric) == curve(journals[1], kind, metric)
