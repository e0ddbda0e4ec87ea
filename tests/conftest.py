"""Fixtures every test may use, and how the tests are spread over processes."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# Test tensors are tiny: one thread is faster than two, its sums do not depend on the machine, and the tests of another
# process have a core of their own. Whatever counts threads reads this when it is loaded, here and in processes.
os.environ["OMP_NUM_THREADS"] = "1"
if sys.dont_write_bytecode:  # then each of the hundred processes that tests start would compile torch for itself
    compiled = str(Path(__file__).resolve().parents[1] / "build" / "bytecode")
    sys.dont_write_bytecode, sys.pycache_prefix = False, compiled
    os.environ["PYTHONPYCACHEPREFIX"] = compiled
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

from pacx.core.host import available_memory_bytes, num_processors

settings.register_profile("on a busy machine too", deadline=None)
settings.load_profile("on a busy machine too")
_MOST_OF_A_PROCESS = 3 * 2**30
"""Bytes that tests with their own processes hold at once, at most."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Processes for ``-n auto``: one per processor and as memory allows; none beside this one for single files."""
    if all(Path(word.partition("::")[0]).is_file() for word in config.args):
        return 0
    memory = available_memory_bytes()
    return max(1, min(num_processors(), memory // _MOST_OF_A_PROCESS if memory else 1))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that hold a slow test begin first, so that no process is left with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of parity arrays and real recordings that lies beside a developer's checkout."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("parity arrays and real recordings are not distributed with the code (no ../shared folder)")
    return folder
