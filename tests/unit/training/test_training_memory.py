"""What a step has freed is there for the next one, and goes back when training is over."""

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps memory its own way")
MIB = 128
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
    step()
    print(step() + step(), resident_mib())
print(resident_mib())
"""


def run(way: str) -> tuple[float, float, float]:
    """Pages of the second and third step, and MiB resident inside and after; in a process whose heap is fresh."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, way], capture_output=True, text=True, check=True)
    pages, inside, after = map(float, done.stdout.split())
    return pages, inside, after


def test_later_steps_find_the_memory_of_the_first_until_training_ends():
    pages, inside, after = run("kept")
    assert pages < 0.3 * run("plain")[0]
    assert after < inside - MIB / 2
