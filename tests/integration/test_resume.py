"""Kill a real training process again and again; what it ends with must be the bits of one that was never killed."""

import itertools
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
import psutil
import pytest
import resume_worker
import torch
from safetensors.torch import load_file

from pacx.core.errors import InterruptedRunError
from pacx.data.batches import Batch
from pacx.data.packs.pack import Pack
from pacx.training.loop import train
from pacx.training.monitoring.journal import TRAIN, VALIDATION, curve, read_journal
from pacx.training.task import StepLoss

_PATIENCE_S = 300.0
_PAUSE_S = 0.02
"""A victim's checkpoint of three files takes at least three times as long."""


def start(
    pack: Pack, run: Path, *, resume: bool, num_workers: int = 0, epochs: int = 12, pause_s: float = _PAUSE_S
) -> ForkServerProcess:
    context = multiprocessing.get_context("forkserver")  # imports torch once, for all of them
    context.set_forkserver_preload(["pacx.training.tasks.mae", "pacx.training.loop"])
    process = context.Process(target=resume_worker.run, args=(pack.path, run, resume, num_workers, epochs, pause_s))
    process.start()
    return process


def newest_step(run: Path) -> int:
    return max((int(path.name[5:]) for path in run.glob("checkpoints/step-*")), default=-1)


def wait_until(condition: Callable[[], bool], process: ForkServerProcess) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert process.is_alive(), "the run was over before anything could happen to it"
        assert time.monotonic() < deadline
        time.sleep(0.001)


def kill(process: ForkServerProcess) -> None:
    process.kill()
    process.join(_PATIENCE_S)
    assert process.exitcode == -signal.SIGKILL


def finish(pack: Pack, run: Path, epochs: int = 12) -> None:
    process = start(pack, run, resume=True, epochs=epochs, pause_s=0.0)
    process.join(_PATIENCE_S)
    assert process.exitcode == 0


def assert_same_end(whole: Path, cut: Path, metrics: Sequence[str] = ("loss", "gradient_norm", "lr")) -> None:
    """Weights, optimiser, moving average and the whole history, of training these metrics, to the bit."""
    last = f"checkpoints/{max(path.name for path in whole.glob('checkpoints/step-*'))}"
    for name in ("mae.safetensors", *(f"{last}/{part}.safetensors" for part in ("module", "optimizer", "average"))):
        expected, resumed = load_file(whole / name), load_file(cut / name)
        assert expected.keys() == resumed.keys()
        assert all(torch.equal(tensor, resumed[key]) for key, tensor in expected.items())
    journals = [read_journal(run / "journal.jsonl") for run in (whole, cut)]
    for kind, names in ((TRAIN, metrics), (VALIDATION, ("masked_mse", "mean_image_mse"))):
        for metric in names:
            assert curve(journals[0], kind, metric) == curve(journals[1], kind, metric)
    assert not list(cut.rglob(".partial-*"))


def fetching(pack: Pack) -> list[int]:
    """Processes other than this one that still hold the pack's films open: a killed session's workers."""
    films = str(pack.path / "images.npy")
    holding = []
    for process in psutil.process_iter(["pid", "memory_maps"]):
        maps = process.info["memory_maps"] or ()
        if process.info["pid"] != os.getpid() and any(each.path == films for each in maps):
            holding.append(process.info["pid"])
    return holding


@pytest.mark.slow
def test_killed_at_twenty_moments_ends_in_the_same_bits(pack, tmp_path):
    """Mid-step at random, in the middle of writing a checkpoint, before anything was written, by one worker or none."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    epochs = 50
    train(resume_worker.task(pack), resume_worker.config(epochs=epochs), whole)
    rng = np.random.default_rng(7)
    seen = []
    for number in range(20):
        process = start(pack, cut, resume=number > 0, num_workers=number % 5 == 4, epochs=epochs)
        before = newest_step(cut)
        if number == 0:
            wait_until((cut / "config.json").exists, process)
        elif number % 2:
            wait_until(lambda before=before: newest_step(cut) > before, process)
            time.sleep(rng.uniform(0, 0.05))
        else:
            wait_until(lambda: any(cut.glob("checkpoints/.partial-*")), process)
        kill(process)
        seen.append(newest_step(cut))
    assert seen == sorted(seen)
    assert len(set(seen)) >= 8, "hardly any of the sessions got anywhere"
    assert not (cut / "summary.json").exists()
    finish(pack, cut, epochs)
    assert_same_end(whole, cut)
    deadline = time.monotonic() + _PATIENCE_S
    while fetching(pack):
        assert time.monotonic() < deadline, "workers of a killed session live on"
        time.sleep(0.1)


def test_asked_to_stop_it_saves_within_the_epoch_and_asks_to_be_run_again(pack, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(resume_worker.task(pack), resume_worker.config(epochs=25), whole)
    saved = []
    for resume, number in ((False, signal.SIGTERM), (True, signal.SIGUSR1)):
        process = start(pack, cut, resume=resume, epochs=25)
        before = newest_step(cut)
        wait_until(lambda before=before: newest_step(cut) > before, process)
        os.kill(process.pid, number)
        process.join(_PATIENCE_S)
        assert process.exitcode == 75
        saved.append(newest_step(cut))
    assert saved[0] < saved[1] < 100
    assert not (cut / "summary.json").exists()
    finish(pack, cut, 25)
    assert_same_end(whole, cut)


@pytest.mark.parametrize("stop_step", [5, 8])
def test_saved_in_the_middle_of_an_epoch_the_history_has_no_seam(pack, tmp_path, stop_step):
    """Four steps an epoch, a note every two: stopped between two notes, and at the end of an epoch."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(resume_worker.task(pack), resume_worker.config(epochs=3), whole)
    stopped = resume_worker.task(pack)
    honest, count = stopped.loss, itertools.count(1)

    def loss(batch: Batch, epoch: int) -> StepLoss:
        if next(count) == stop_step:
            signal.raise_signal(signal.SIGUSR1)
        return honest(batch, epoch)

    stopped.loss = loss
    before = signal.getsignal(signal.SIGUSR1)
    with pytest.raises(InterruptedRunError, match=rf"SIGUSR1\) and is saved at step {stop_step} of 12 .*--resume"):
        train(stopped, resume_worker.config(epochs=3), cut)
    assert signal.getsignal(signal.SIGUSR1) == before
    assert newest_step(cut) == stop_step
    train(resume_worker.task(pack), resume_worker.config(epochs=3), cut, resume=True)
    assert_same_end(whole, cut)
