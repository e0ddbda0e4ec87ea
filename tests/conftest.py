"""Fixtures every test may use."""

from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Test tensors are tiny: one thread is faster than two, and its sums do not depend on the machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of parity arrays and real recordings that lies beside a developer's checkout."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("parity arrays and real recordings are not distributed with the code (no ../shared folder)")
    return folder
