"""One model trained by several processes: on one machine, and on two that only a network joins."""

import contextlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import host_worker
import pytest
import torch
from safetensors.torch import load_file
from test_resume import assert_same_end, newest_step

from pacx.data.packs.pack import Pack
from pacx.training.config import TrainingConfig
from pacx.training.monitoring.journal import TRAIN, VALIDATION, curve, read_journal
from ports import free_port

_PATIENCE_S = 300.0
_WORKER = Path(__file__).with_name("host_worker.py")
_ADDRESSES = ("10.213.7.1", "10.213.7.2")
_PORT = "29513"


def start_two(pack: Pack, out: Path, config: TrainingConfig) -> list[ForkServerProcess]:
    """Two processes on this machine."""
    port = free_port()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pacx.training.tasks.mae", "pacx.training.loop"])
    arguments = [(pack.path, out, replace(config, devices=2), rank, port) for rank in (0, 1)]
    ranks = [context.Process(target=host_worker.run_rank, args=each) for each in arguments]
    for process in ranks:
        process.start()
    return ranks


def exit_codes(ranks: list[ForkServerProcess]) -> list[int | None]:
    for process in ranks:
        process.join(_PATIENCE_S)
    return [process.exitcode for process in ranks]


def run_two(pack: Pack, out: Path, config: TrainingConfig) -> None:
    """Both to the end."""
    assert exit_codes(start_two(pack, out, config)) == [0, 0]


def gradients(run: Path) -> torch.Tensor:
    """AdamW's first moment after one step from zero: a fixed part of the gradient."""
    state = load_file(run / "checkpoints/step-00000001/optimizer.safetensors")
    return torch.cat([state[name].flatten() for name in sorted(state) if name.endswith("exp_avg")])


def test_two_processes_have_the_gradients_of_one(pack: Pack, tmp_path: Path) -> None:
    one_step = replace(host_worker.node_config(), epochs=1, warmup_epochs=0, batch_size=32, log_every_steps=1)
    host_worker.run(pack.path, tmp_path / "one", one_step)
    run_two(pack, tmp_path / "two", one_step)
    one, two = gradients(tmp_path / "one"), gradients(tmp_path / "two")
    assert (one - two).norm() < 1e-6 * one.norm()


def test_a_run_moves_from_one_process_to_two(pack: Pack, tmp_path: Path) -> None:
    """The losses of all steps agree; the rate is low, so that Adam does not blow rounding up."""
    config = replace(host_worker.node_config(), epochs=4, learning_rate=1e-5)
    host_worker.run(pack.path, tmp_path / "one", config)
    one, moved = tmp_path / "one", tmp_path / "moved"
    shutil.copytree(one, moved)
    (moved / "summary.json").unlink()
    shutil.rmtree(moved / "checkpoints/step-00000016")  # back to the end of the third epoch
    run_two(pack, moved, config)
    journals = [read_journal(run / "journal.jsonl") for run in (one, moved)]
    for kind, metric in ((TRAIN, "loss"), (VALIDATION, "masked_mse")):
        steps, values = zip(*(curve(journal, kind, metric) for journal in journals), strict=True)
        assert steps[0] == steps[1]
        assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_a_signal_to_one_process_stops_both_at_the_same_step(pack: Pack, tmp_path: Path) -> None:
    config = replace(host_worker.node_config(), epochs=200)
    ranks = start_two(pack, tmp_path / "run", config)
    deadline = time.monotonic() + _PATIENCE_S
    while newest_step(tmp_path / "run") < 8:
        assert all(process.is_alive() for process in ranks)
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert ranks[1].pid is not None
    os.kill(ranks[1].pid, signal.SIGTERM)
    assert exit_codes(ranks) == [75, 75]
    assert newest_step(tmp_path / "run") < 800


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    """Two network namespaces joined by a cable: each sees an address of its own and the other's, and nothing else."""
    names = (f"pacx-a-{os.getpid()}", f"pacx-b-{os.getpid()}")
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", "eth-a", "netns", names[0], "type", "veth", "peer", "name", "eth-b", "netns", names[1])
        for name, end, address in zip(names, ("eth-a", "eth-b"), _ADDRESSES, strict=True):
            ip("-n", name, "address", "add", f"{address}/24", "dev", end)
            for device in ("lo", end):
                ip("-n", name, "link", "set", device, "up")
    except (OSError, subprocess.CalledProcessError) as error:
        for name in names:
            with contextlib.suppress(OSError, subprocess.CalledProcessError):
                ip("netns", "delete", name)
        pytest.skip(f"network namespaces cannot be made here ({error})")
    yield names
    for name in names:
        ip("netns", "delete", name)


def start_host(number: int, name: str, pack: Pack, run: Path, *, pause_s: float = 0.0) -> subprocess.Popen:
    """One machine's torchrun; the first machine keeps the rendezvous."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    torchrun += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"{_ADDRESSES[0]}:{_PORT}", "--rdzv-id", "pacx"]
    torchrun += ["--rdzv-conf", f"is_host={1 - number}", "--local-addr", _ADDRESSES[number]]
    return subprocess.Popen(
        ["ip", "netns", "exec", name, *torchrun, str(_WORKER), str(pack.path), str(run), "2", str(pause_s)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": ("eth-a", "eth-b")[number]},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
def test_one_of_two_hosts_dies_and_the_run_ends_in_the_same_bits(pack, hosts, tmp_path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run_two(pack, whole, host_worker.node_config())
    pair = [start_host(number, name, pack, cut, pause_s=0.05) for number, name in enumerate(hosts)]
    deadline = time.monotonic() + _PATIENCE_S
    while newest_step(cut) < 12:
        assert time.monotonic() < deadline
        assert all(host.poll() is None for host in pair), [host.communicate()[1][-2000:] for host in pair]
        time.sleep(0.01)
    os.killpg(pair[1].pid, signal.SIGKILL)
    pids = subprocess.run(["ip", "netns", "pids", hosts[1]], capture_output=True, text=True, check=True).stdout.split()
    for pid in pids:  # torchrun gives its workers a session of their own
        with contextlib.suppress(ProcessLookupError):  # it may have ended since it was listed
            os.kill(int(pid), signal.SIGKILL)
    for host in pair:
        host.communicate(timeout=_PATIENCE_S)
        assert host.returncode != 0
    assert not (cut / "summary.json").exists()
    assert newest_step(cut) < 120
    for host in [start_host(number, name, pack, cut) for number, name in enumerate(hosts)]:
        _, said = host.communicate(timeout=_PATIENCE_S)
        assert host.returncode == 0, said[-3000:]
    assert_same_end(whole, cut)
