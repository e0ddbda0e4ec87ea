"""Processors and caches: each is looked up in one place."""

import os
import platform
import re
from pathlib import Path

import pytest

from pacx.core.host import cache_folder, num_processors, processor_lines

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


@pytest.mark.skipif(platform.machine() != "x86_64", reason="processors of other makes say other things")
def test_what_the_processor_says_of_itself() -> None:
    (name,) = processor_lines("model name")
    assert name.partition(":")[2].strip()
    both = processor_lines("model name", "flags")
    assert name in both
    assert re.search(r"\bfpu\b", "\n".join(both))
    assert processor_lines("no such line") == []


@pytest.mark.parametrize("fact", ["XDG_CACHE_HOME", "cpuinfo", "sched_getaffinity"])
def test_nobody_else_looks(fact: str) -> None:
    assert [path.name for path in SOURCES.rglob("*.py") if fact in path.read_text()] == ["host.py"]
