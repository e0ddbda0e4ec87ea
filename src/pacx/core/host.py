"""The machine that this process runs on: its processors and memory, and where its user keeps caches."""

import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pacx.core.errors import DataError

_ROOT = Path("/")
_MOUNTS = {"cpu": ("cpu", "cpu,cpuacct"), "memory": ("memory",)}
"""Where the groups of a controller of version 1 are mounted; those of version 2 are all in one place."""
_WITHOUT_LIMIT = 2**62
"""Version 1 writes a number about so large where there is no limit."""

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
    for folder in _groups(root, "cpu"):
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


def _free_of_groups(root: Path) -> Iterator[int]:
    """Bytes that each control group that holds this process has left, by the kernel's version 1 and 2.

    What it holds of files is given back when somebody needs the room, and counts as free.
    """
    for folder in _groups(root, "memory"):
        for limit_of, usage_of, prefix in (
            ("memory.max", "memory.current", ""),  # "max": none
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
        ):
            try:
                limit, usage = ((folder / name).read_text(encoding="ascii").strip() for name in (limit_of, usage_of))
                lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
            except (OSError, ValueError):
                continue
            held = {f"{prefix}inactive_file", f"{prefix}active_file"}
            of_files = sum(int(line.split()[1]) for line in lines if line.split()[:1] and line.split()[0] in held)
            if limit.isdecimal() and usage.isdecimal() and int(limit) < _WITHOUT_LIMIT:
                yield max(0, int(limit) - max(0, int(usage) - of_files))


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The groups of a controller, with those around them up to the mount, which in a container may be all there is."""
    mounts = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = dict.fromkeys(("", "unified", *_MOUNTS[controller]), "/")
    for line in lines:  # "4:cpu,cpuacct:/slurm/job_1" (version 1) or "0::/user.slice" (version 2)
        _, controllers, path = line.split(":", 2)
        if not controllers:
            names[""] = names["unified"] = path
        elif controller in controllers.split(","):
            names[controller] = names[controllers] = path
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


def available_memory_bytes(root: Path = _ROOT) -> int | None:
    """Memory that new arrays may take: what the host has without swapping, and no more than the container has left.

    None where the system says neither.

    Args:
        root: of the file system in which the kernel says so.
    """
    try:
        lines = (root / "proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    of_host = (int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    return min((*of_host, *_free_of_groups(root)), default=None)


def require_memory(num_bytes: int, what: str) -> None:
    """Refuse work that would need more memory than there is, before it is asked for.

    Raises:
        DataError: there is not so much.
    """
    available = available_memory_bytes()
    if available is not None and num_bytes > available:
        raise DataError(
            f"{what} need {num_bytes / 1e9:.3g} GB of memory and {available / 1e9:.3g} GB are free; give a part of "
            "them at a time (a folder of targets for each part goes into one distillation), or a larger machine"
        )


def cache_folder() -> Path:
    """Where PaCX keeps what it can find out again; the environment variable XDG_CACHE_HOME moves it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pacx"
