"""A short run of what ``benchmarks/fuzz_images.py`` does at length, and that it goes on where it stopped."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "fuzz_images.py"


def fuzz(out: Path, cases: int) -> dict[str, Any]:
    command = [sys.executable, str(SCRIPT), "--out", str(out), "--cases", str(cases), "--processes", "1", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_damaged_files_never_end_a_decoder(tmp_path: Path) -> None:
    half, whole = fuzz(tmp_path / "again", 500), fuzz(tmp_path / "again", 1500)
    assert (half["done"], whole["done"], whole["processes_ended"]) == (500, 1500, {})
    counts = dict(whole["counts"])
    assert set(counts) <= {"decoded", "400", "413", "422"}
    assert sum(counts.values()) == 1500
    assert min(counts["decoded"], counts["400"], counts["422"]) > 50
    assert whole["peak_mib"] < 1024
