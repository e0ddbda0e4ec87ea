"""Fixtures that several test files of this room share."""

from pathlib import Path

import pytest
from film_folders import write_films

from pacx.data.records import Records


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """70 films: more than two chunks of the packing."""
    return write_films(tmp_path / "source", 70)
