"""Damaged files of every kind through doctor and pack: no traceback, no hang, little memory, every bad one named.

PACX_FUZZ_COPIES=200 pytest tests/integration/test_fuzz.py   damages 200 copies of each kind; 40 otherwise.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NUM_COPIES = int(os.environ.get("PACX_FUZZ_COPIES", "40"))
SEED = int(os.environ.get("PACX_FUZZ_SEED", "0"))
MOST_MIB = 2000


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    worker = Path(__file__).with_name("fuzz_worker.py")
    folder = tmp_path_factory.mktemp("fuzz")
    command = [sys.executable, "-W", "error", str(worker), str(folder), str(NUM_COPIES), str(SEED)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240 + 5 * NUM_COPIES)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


def test_it_takes_little_memory(answers: dict[str, Any]) -> None:
    assert answers["peak_mib"] < MOST_MIB


@pytest.mark.parametrize("kind", ["png", "jpg", "dcm", "npy"])
def test_damaged_films_are_named_or_read(kind: str, answers: dict[str, Any]) -> None:
    answer = answers[kind]
    kept, quarantined, doctor = set(answer["kept"]), answer["quarantined"], answer["doctor"]
    assert len(kept) + len(quarantined) == answer["films"]
    assert kept.isdisjoint(quarantined)
    assert doctor == quarantined
    assert set(answer["hopeless"]) <= set(quarantined)
    assert {file for file in kept if "good" in file} == {file for file in kept | set(quarantined) if "good" in file}
    assert all(0 < len(reason) < 200 and "Doe" not in reason for reason in quarantined.values())


def test_damaged_tables_are_read_or_refused_in_a_sentence(answers: dict[str, Any]) -> None:
    answer = answers["csv"]
    assert answer["unclear"] == []
    assert answer["outcomes"]["refused"] > NUM_COPIES / 4
    assert sum(answer["outcomes"].values()) == NUM_COPIES
