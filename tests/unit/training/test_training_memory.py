"""What a step has freed is there for the next one, and goes back when training is over."""

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps memory its own way")
MIB = 128
# What glibc begins with. Left alone it learns from what is freed, and then keeps some of it or nothing: that is chance.
AS_IT_BEGINS = "glibc.malloc.mmap_threshold=131072:glibc.malloc.trim_threshold=131072"
SCRIPT = """
import contextlib, resource, sys
from pathlib import Path
import torch
from pacx.training.memory import freed_memory_kept

def step():  # sixteen gradients of 8 MiB, all freed at its end; gives the pages that had to be touched anew
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    gradients = [torch.empty(8, 2**20, dtype=torch.uint8).fill_(1) for _ in range(16)]
    del gradients
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20

with freed_memory_kept() if sys.argv[1] == "kept" else contextlib.nullcontext():
    *_, late, last = [step() for _ in range(8)]  # the gaps that small things leave are filled by the third
    print(late + last, resident_mib())
print(resident_mib())
"""


def run(way: str) -> tuple[float, float, float]:
    """Pages of two late steps, and MiB resident inside and after; in a process whose heap is fresh."""
    settings = {**os.environ, "GLIBC_TUNABLES": AS_IT_BEGINS}
    command = [sys.executable, "-c", SCRIPT, way]
    done = subprocess.run(command, capture_output=True, text=True, env=settings, check=True)
    pages, inside, after = map(float, done.stdout.split())
    return pages, inside, after


def test_later_steps_find_the_memory_of_the_first_until_training_ends():
    pages, inside, after = run("kept")
    assert pages < 0.01 * run("plain")[0]
    assert after < inside - MIB / 2
