"""Processors and caches: each is looked up in one place."""

import os
import platform
import re
from pathlib import Path

import pytest

from pacx.core.host import (
    available_memory_bytes,
    cache_folder,
    limit_threads,
    num_processors,
    processor_lines,
    threads_within_quota,
)

SOURCES = Path(__file__).resolve().parents[3] / "src" / "pacx"


def test_the_cache_is_where_the_user_wants_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "pacx"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "pacx"


@pytest.mark.skipif(platform.system() != "Linux", reason="only Linux lets a process choose its processors")
def test_only_processors_that_may_be_used_are_counted() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert num_processors() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert num_processors() == len(before)


def _kernel(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V1 = "proc/self/cgroup", "9:name=systemd:/\n4:cpu,cpuacct:/slurm/job_7/step_0\n1:cpuset:/\n0::/\n"
V2 = "proc/self/cgroup", "0::/system.slice/pacx.service\n"


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({}, 64),
        ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, 64),
        ({"sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ({"sys/fs/cgroup/cpu.max": "250000 100000\n"}, 3),
        ({"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        ({"sys/fs/cgroup/cpu.max": "12800000 100000\n"}, 64),
        (dict([V2]) | {"sys/fs/cgroup/system.slice/pacx.service/cpu.max": "400000 100000\n"}, 4),
        (
            dict([V2])
            | {
                "sys/fs/cgroup/system.slice/cpu.max": "300000 100000\n",
                "sys/fs/cgroup/system.slice/pacx.service/cpu.max": "max 100000\n",
            },
            3,
        ),
        ({"proc/self/cgroup": "0::/../../pod\n", "sys/fs/cgroup/pod/cpu.max": "500000 100000\n"}, 5),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 2),
        (
            {  # a container without a name space of its own: its path is the host's, its mount the container's
                "proc/self/cgroup": "4:cpu,cpuacct:/docker/0123\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "150000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "50000\n",
            },
            3,
        ),
        (
            dict([V1])
            | {
                "sys/fs/cgroup/cpu,cpuacct/slurm/job_7/cpu.cfs_quota_us": "800000\n",
                "sys/fs/cgroup/cpu,cpuacct/slurm/job_7/cpu.cfs_period_us": "100000\n",
            },
            8,
        ),
        ({"sys/fs/cgroup/cpu.max": "\n"}, 64),
        ({"sys/fs/cgroup/cpu.max": "200000 0\n"}, 64),
    ],
)
def test_a_quota_of_processor_time_counts_as_so_many_processors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], count: int
) -> None:
    """On a host of 64, which the process sees whatever its container is given."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(64)))
    assert num_processors(_kernel(tmp_path, files)) == count


GB = 10**9
HOST = "proc/meminfo", f"MemTotal: {64 * GB // 1024} kB\nMemAvailable: {50 * GB // 1024} kB\n"


def _v2(folder: str, limit: object, usage: int, stat: str = "anon 5\n") -> dict[str, str]:
    place = f"sys/fs/cgroup/{folder}"
    return {f"{place}memory.max": f"{limit}\n", f"{place}memory.current": f"{usage}\n", f"{place}memory.stat": stat}


def _v1(folder: str, limit: int, usage: int, stat: str = "cache 7\n") -> dict[str, str]:
    place = f"sys/fs/cgroup/memory/{folder}memory."
    return {f"{place}limit_in_bytes": f"{limit}\n", f"{place}usage_in_bytes": f"{usage}\n", f"{place}stat": stat}


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, None),
        (dict([HOST]), 50),
        (dict([HOST]) | _v2("", "max", GB), 50),
        (dict([HOST]) | _v2("", 8 * GB, 3 * GB), 5),
        (dict([HOST]) | _v2("", 90 * GB, GB), 50),
        (dict([HOST]) | _v2("", 2 * GB, 3 * GB), 0),
        (_v2("", 8 * GB, 3 * GB), 5),
        (dict([HOST]) | _v2("", 8 * GB, 7 * GB, f"anon 5\ninactive_file {4 * GB}\nactive_file {2 * GB}\n"), 7),
        (
            dict([HOST, V2])
            | _v2("system.slice/", 4 * GB, GB)
            | _v2("system.slice/pacx.service/", "max", GB)
            | _v2("", 30 * GB, GB),
            3,
        ),
        (dict([HOST]) | _v1("", 2**63 - 4096, GB), 50),
        (dict([HOST]) | _v1("", 8 * GB, 6 * GB, f"total_inactive_file {GB}\ninactive_file {5 * GB}\n"), 3),
        (
            dict([HOST])
            | {"proc/self/cgroup": "7:memory:/slurm/job_7/step_0\n4:cpu,cpuacct:/\n0::/\n"}
            | _v1("slurm/job_7/", 16 * GB, 2 * GB)
            | _v1("slurm/job_7/step_0/", 2**63 - 4096, GB),
            14,
        ),
        (dict([HOST]) | _v2("", "8 GB", 3 * GB), 50),
    ],
)
def test_memory_is_what_the_host_has_and_no_more_than_the_container_has_left(
    tmp_path: Path, files: dict[str, str], free: int | None
) -> None:
    found = available_memory_bytes(_kernel(tmp_path, files))
    assert found == (None if free is None else pytest.approx(free * GB, abs=2048))


def test_libraries_are_told_the_quota_and_nothing_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(64)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    limit_threads(tmp_path)
    assert "OMP_NUM_THREADS" not in os.environ
    assert threads_within_quota(tmp_path) == 0
    _kernel(tmp_path, {"sys/fs/cgroup/cpu.max": "200000 100000"})
    limit_threads(tmp_path)
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert threads_within_quota(tmp_path) == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    limit_threads(tmp_path)
    assert os.environ["OMP_NUM_THREADS"] == "7"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="processors of other makes say other things")
def test_what_the_processor_says_of_itself() -> None:
    (name,) = processor_lines("model name")
    assert name.partition(":")[2].strip()
    both = processor_lines("model name", "flags")
    assert name in both
    assert re.search(r"\bfpu\b", "\n".join(both))
    assert processor_lines("no such line") == []


@pytest.mark.parametrize("fact", ["XDG_CACHE_HOME", "cpuinfo", "sched_getaffinity", "meminfo", "cgroup"])
def test_nobody_else_looks(fact: str) -> None:
    assert [path.name for path in SOURCES.rglob("*.py") if fact in path.read_text()] == ["host.py"]
