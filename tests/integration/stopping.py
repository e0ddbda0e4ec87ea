"""Trainings that are asked to stop by a signal to their whole process group, as a cluster does it.

``python tests/integration/stopping.py 20`` does it twenty times for each signal and number of workers.
"""

import itertools
import multiprocessing
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
import psutil
import resume_worker
import torch
from PIL import Image

from pacx.core.preprocessing import Preprocessing
from pacx.data.datasets.folder import DATASET, FolderOptions
from pacx.data.packs.pack import Pack
from pacx.data.packs.packing import pack_records

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
NUM_WORKERS = (0, 2, 4)
_PATIENCE_S = 300.0


def train(pack: Path, run: Path, num_workers: int, said: Path) -> None:
    """In a process group of its own."""
    os.setsid()
    with said.open("w") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    resume_worker.run(pack, run, False, num_workers, 5000, 0.0)


def start(pack: Path, run: Path, num_workers: int, said: Path) -> ForkServerProcess:
    """A training that has begun."""
    context = multiprocessing.get_context("forkserver")  # imports torch once, for all of them
    context.set_forkserver_preload(["pacx.training.tasks.mae", "pacx.training.loop"])
    process = context.Process(target=train, args=(pack, run, num_workers, said))
    process.start()
    deadline = time.monotonic() + _PATIENCE_S
    while not (run / "journal.jsonl").exists():
        assert process.is_alive(), "it ended before it was asked to"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


def faults(pack: Path, folder: Path, number: signal.Signals, num_workers: int, wait_s: float) -> list[str]:
    """What is wrong with a training that is asked to stop so long after its first steps."""
    run, said = folder / "run", folder / "said.txt"
    process = start(pack, run, num_workers, said)
    assert process.pid is not None
    time.sleep(wait_s)
    family = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, number)
    process.join(_PATIENCE_S)
    found = []
    if process.exitcode != 75:
        found.append(f"exit code {process.exitcode}")
    text = said.read_text()
    match = re.search(rf"asked to stop \({number.name}\) and is saved at step (\d+)", text)
    if match is None or not (run / "checkpoints" / f"step-{int(match[1]):08d}").is_dir():
        found.append(f"not saved: {sorted(path.name for path in run.glob('checkpoints/*'))}")
    if "Traceback" in text:
        found.append(f"a traceback: {text[-500:]}")
    if psutil.wait_procs(family, timeout=_PATIENCE_S)[1]:
        found.append("an orphan")
    return found


def _films(folder: Path, count: int) -> Pack:
    (folder / "films").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (count, 32, 32), np.uint8)
    for number, film in enumerate(noise):
        Image.fromarray(film).save(folder / "films" / f"{number:03d}.png")
    records = DATASET.read(folder / "films", FolderOptions())
    split = ["val" if row % 5 == 4 else "train" for row in range(count)]
    records.table["split"] = split
    return pack_records(records, folder / "pack", preprocessing=Preprocessing(image_size_px=32))


def main(rounds: int) -> None:
    """Print what came of every combination."""
    rng = random.Random(0)
    torch.set_num_threads(1)
    for number, num_workers in itertools.product(SIGNALS, NUM_WORKERS):
        came: Counter[str] = Counter()
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                pack = _films(Path(folder), 45)
                wrong = faults(pack.path, Path(folder), number, num_workers, rng.uniform(0, 0.5))
                came["; ".join(wrong) or "75, saved, nothing left"] += 1
        sys.stdout.write(f"{number.name} {num_workers} workers: {dict(came)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
