"""The machine that this process runs on: its processors, and where its user keeps caches."""

import os
from pathlib import Path


def num_processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor_lines(*names: str) -> list[str]:
    """What Linux says of its processors under these names ("model name", "flags"): each line once, sorted.

    Empty on other systems.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return sorted({line for line in lines if line.startswith(names)})


def cache_folder() -> Path:
    """Where PaCX keeps what it can find out again; the environment variable XDG_CACHE_HOME moves it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pacx"
