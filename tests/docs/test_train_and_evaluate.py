"""The example of the whole method in Python, as a newcomer runs it, on few patients; it uses public names alone."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from pacx.evaluation import read_rows

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "train_and_evaluate.py"
SMALL = ("--patients", "40", "--epochs", "1", "--batch-size", "16", "--num-draws", "20")


@pytest.mark.slow
def test_the_example_trains_evaluates_and_reports(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--out", str(tmp_path), *SMALL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "4 films embedded, 128 numbers each" in done.stdout
    rows = read_rows(tmp_path / "results.json")
    assert {row.encoder for row in rows} == {"random", "mae", "pacx"}
    assert {row.protocol for row in rows} == {"linear-probe", "low-data"}
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_the_example_imports_public_names_alone() -> None:
    for node in ast.walk(ast.parse(SCRIPT.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pacx"):
            assert {alias.name for alias in node.names} <= set(import_module(node.module).__all__)
