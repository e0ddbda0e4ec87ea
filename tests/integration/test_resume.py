"""Kill a real training process again and again; what it ends with must be the bits of one that was never killed."""

import multiprocessing
import signal
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import resume_worker
import torch
from PIL import Image
from safetensors.torch import load_file

from pacx.core.preprocessing import Preprocessing
from pacx.data.datasets.folder import DATASET, FolderOptions
from pacx.data.pack import Pack
from pacx.data.packing import pack_records
from pacx.training.journal import TRAIN, VALIDATION, curve, read_journal
from pacx.training.loop import train

_PATIENCE_S = 60.0


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    rng = np.random.default_rng(3)
    root = tmp_path / "films"
    root.mkdir()
    for index in range(40):
        Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)).save(root / f"{index}.png")
    files = [f"{index}.png" for index in range(40)]
    splits = ["val" if index < 8 else "train" for index in range(40)]
    table = pd.DataFrame({"file": files, "sample_id": files, "patient_id": files, "split": splits})
    table.to_csv(root / "index.csv", index=False)
    records = DATASET.read(root, FolderOptions())
    return pack_records(records, tmp_path / "pack", preprocessing=Preprocessing(image_size_px=32))


def start(pack: Pack, run: Path, *, resume: bool, num_workers: int = 0) -> ForkServerProcess:
    context = multiprocessing.get_context("forkserver")  # imports torch once, for all of them
    context.set_forkserver_preload(["pacx.training.tasks.mae", "pacx.training.loop"])
    process = context.Process(target=resume_worker.run, args=(pack.path, run, resume, num_workers))
    process.start()
    return process


def newest_step(run: Path) -> int:
    return max((int(path.name[5:]) for path in run.glob("checkpoints/step-*")), default=-1)


def kill_after_step(process: ForkServerProcess, run: Path, step: int) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while newest_step(run) < step:
        assert process.is_alive(), "the run was over before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.join(_PATIENCE_S)
    assert process.exitcode == -signal.SIGKILL


def test_killed_twice_and_resumed_ends_in_the_same_bits(pack, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(resume_worker.task(pack), resume_worker.config(), whole)
    kill_after_step(start(pack, cut, resume=False), cut, 8)
    first = newest_step(cut)
    kill_after_step(start(pack, cut, resume=True, num_workers=1), cut, first + 8)
    assert not (cut / "summary.json").exists()
    finished = start(pack, cut, resume=True)
    finished.join(_PATIENCE_S)
    assert finished.exitcode == 0

    for name in ("mae.safetensors", "checkpoints/step-00000048/optimizer.safetensors"):
        expected, resumed = load_file(whole / name), load_file(cut / name)
        assert expected.keys() == resumed.keys()
        assert all(torch.equal(tensor, resumed[key]) for key, tensor in expected.items())
    journals = [read_journal(run / "journal.jsonl") for run in (whole, cut)]
    for kind, metric in ((TRAIN, "loss"), (TRAIN, "lr"), (VALIDATION, "masked_mse"), (VALIDATION, "mean_image_mse")):
        assert curve(journals[0], kind, metric) == curve(journals[1], kind, metric)
    assert not list(cut.rglob(".partial-*"))
