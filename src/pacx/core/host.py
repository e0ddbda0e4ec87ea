"""The machine that this process runs on: its processors, and where its user keeps caches."""

import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pacx.core.errors import DataError

_ROOT = Path("/")

_OF_PRODUCTS = frozenset(
    (
        *("avx", "fma", "avx2", "avx512f", "avx512bw", "avx_vnni", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
        *("amx_tile", "amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm", "bf16", "sve", "sve2", "svei8mm", "svebf16"),
    )
)
"""As Linux writes them, of x86 and of ARM."""


def num_processors(root: Path = _ROOT) -> int:
    """Processors that this process may use: those it may run on, and no more than its container has time on.

    Args:
        root: of the file system in which the kernel says so.
    """
    return min([_num_visible(), *(math.ceil(quota) for quota in _quotas(root))])


def threads_within_quota(root: Path = _ROOT) -> int:
    """Threads to ask of a library that counts processors itself: 0, its own choice, where no quota allows fewer."""
    allowed = num_processors(root)
    return allowed if allowed < _num_visible() else 0


def limit_threads(root: Path = _ROOT) -> None:
    """Let libraries that are loaded from now on, here and in worker processes, start no more threads than the quota.

    They count the processors of the host and know no quota; threads beyond it wait for each other.
    """
    if threads := threads_within_quota(root):
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))


def _num_visible() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """How many processors each control group that holds this process grants, by the kernel's version 1 and 2."""
    for folder in _groups(root):
        try:
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()  # "200000 100000" or "max 100000"
        except (OSError, ValueError):
            try:
                quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii")  # -1: none
                period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii")
            except (OSError, ValueError):
                continue
        if quota.strip().isdecimal() and int(quota) and int(period):
            yield int(quota) / int(period)


def _groups(root: Path) -> Iterator[Path]:
    """The folders of the groups, with those around them up to the mount, which in a container may be all there is."""
    mounts = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = {"": "/", "cpu": "/", "cpu,cpuacct": "/", "unified": "/"}
    for line in lines:  # "4:cpu,cpuacct:/slurm/job_1" (version 1) or "0::/user.slice" (version 2)
        _, controllers, path = line.split(":", 2)
        if not controllers:
            names[""] = names["unified"] = path
        elif "cpu" in controllers.split(","):
            names["cpu"] = names[controllers] = path
    for mount, path in names.items():
        inside = PurePosixPath(*(part for part in PurePosixPath(path).parts if part not in ("/", "..")))
        for group in (inside, *inside.parents):
            yield mounts / mount / group


def processor_lines(*names: str) -> list[str]:
    """What Linux says of its processors under these names ("model name", "flags"): each line once, sorted.

    Empty on other systems.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return sorted({line for line in lines if line.startswith(names)})


def processor_name() -> str:
    """What its maker calls the processor; "" where nobody says."""
    names = [line.partition(":")[2].strip() for line in processor_lines("model name")]
    return names[0] if names else platform.processor()


def instruction_sets() -> list[str]:
    """Of those that matrix products are computed with, what the processors here have; empty on other than Linux."""
    flags = {flag for line in processor_lines("flags", "Features") for flag in line.partition(":")[2].split()}
    return sorted(flags & _OF_PRODUCTS)


def available_memory_bytes() -> int | None:
    """Memory that new arrays may take without anything being swapped out; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return kilobytes[0] * 1024 if kilobytes else None


def require_memory(num_bytes: int, what: str) -> None:
    """Refuse work that would need more memory than there is, before it is asked for.

    Raises:
        DataError: there is not so much.
    """
    available = available_memory_bytes()
    if available is not None and num_bytes > available:
        raise DataError(
            f"{what} need {num_bytes / 1e9:.0f} GB of memory and {available / 1e9:.0f} GB are free; give a part of "
            "them at a time (a folder of targets for each part goes into one distillation), or a larger machine"
        )


def cache_folder() -> Path:
    """Where PaCX keeps what it can find out again; the environment variable XDG_CACHE_HOME moves it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pacx"
