"""Whatever ends a parent ends its workers, and theirs; none goes on to the next piece, and the next call finishes."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orphan_worker
import psutil
import pytest

_PATIENCE_S = 240.0  # until workers have begun, on a busy machine
_PROMPTLY_S = 40.0  # a piece takes a minute
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)


def parent(pool: str, folder: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, orphan_worker.__file__, pool, str(folder)], stderr=subprocess.DEVNULL)


def wait_until(condition: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def end(process: "subprocess.Popen[bytes]", number: signal.Signals, at_least: int) -> None:
    """End the parent, and see all that descend from it end."""
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= at_least
    process.send_signal(number)
    try:
        process.wait(_PROMPTLY_S)
        _, alive = psutil.wait_procs(family, timeout=_PROMPTLY_S)
        assert not alive
    finally:
        for each in [process, *family]:
            if isinstance(each, subprocess.Popen) or each.is_running():
                each.kill()
        process.wait()


def begun(folder: Path) -> int:
    return len(list(folder.glob("begun-*")))


@pytest.mark.slow
@pytest.mark.parametrize("number", _SIGNALS)
@pytest.mark.parametrize(("pool", "num_at_once"), [("side-by-side", 2), ("nested", 4)])
def test_workers_end_with_their_parent(pool, num_at_once, number, tmp_path):
    process = parent(pool, tmp_path)
    wait_until(lambda: begun(tmp_path) == num_at_once, process)
    end(process, number, at_least=num_at_once)
    assert begun(tmp_path) == num_at_once, "a worker was handed the next job"
    assert not list(tmp_path.glob("done-*"))
    if pool == "nested":
        (tmp_path / "quick").touch()
        assert parent(pool, tmp_path).wait(_PATIENCE_S) == 0
        assert len(list(tmp_path.glob("done-*"))) == 2 * orphan_worker.NUM_JOBS
