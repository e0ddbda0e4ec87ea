"""A signal to a whole process group, as clusters and terminals send it: the work is kept, and said to be."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import stopping
from PIL import Image

from pacx.data.packs.pack import Pack

_PATIENCE_S = 300.0


@pytest.mark.parametrize("num_workers", stopping.NUM_WORKERS)
@pytest.mark.parametrize("number", stopping.SIGNALS)
def test_a_training_saves_whatever_reaches_its_workers(
    pack: Pack, tmp_path: Path, number: signal.Signals, num_workers: int
) -> None:
    assert stopping.faults(pack.path, tmp_path, number, num_workers, wait_s=0.1) == []


@pytest.fixture
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (400, 64, 64), np.uint8)
    for number, film in enumerate(noise):
        Image.fromarray(film).save(folder / f"{number:03d}.png")
    return folder


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 128 + signal.SIGUSR1)]
)
def test_packing_says_what_is_kept_and_leaves_no_process(
    films: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    command = [sys.executable, "-m", "pacx", "data", "pack", "folder", "--root", str(films), "--image-size-px", "400"]
    command += ["--out", str(tmp_path / "pack"), "--num-workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    journal, deadline = tmp_path / ".partial-pack" / "journal.jsonl", time.monotonic() + _PATIENCE_S
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= 2):
        assert process.poll() is None, "it ended before it was asked to"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    family = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, number)
    os.killpg(process.pid, number)  # as timeout does
    _, said = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == code, said
    assert f"pacx: interrupted ({number.name}); " in said
    assert "films are kept; run the same command again to go on" in said
    assert "Traceback" not in said
    assert not psutil.wait_procs(family, timeout=_PATIENCE_S)[1]
    assert subprocess.run(command, check=False).returncode == 0
