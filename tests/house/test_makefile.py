"""What each target of the Makefile would install, asked of make itself."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def planned(target: str, environment: Path) -> str:
    done = subprocess.run(
        ["make", "--dry-run", target, f"VENV={environment}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_a_newcomers_demo_installs_what_the_demo_needs_and_no_more(tmp_path: Path) -> None:
    plan = planned("demo", tmp_path / "none")
    assert "-m venv" in plan
    assert '-e ".[train]"' in plan
    assert "[dev]" not in plan


@pytest.mark.parametrize("target", ["setup", "study", "illness", "test", "check", "bench"])
def test_every_other_target_installs_the_whole(target: str, tmp_path: Path) -> None:
    plan = planned(target, tmp_path / "none")
    assert '-e ".[dev]"' in plan
    assert "[train]" not in plan


def test_nothing_is_installed_twice(tmp_path: Path) -> None:
    """After the whole the demo finds what it needs; the demo's environment lacks what the tests need."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pip").touch()
    (tmp_path / ".trains").touch()
    assert "pip install" not in planned("demo", tmp_path)
    assert '-e ".[dev]"' in planned("test", tmp_path)
    touched = next(line for line in planned("setup", tmp_path).splitlines() if line.startswith("touch"))
    assert {Path(name).name for name in touched.split()[1:]} == {".trains", ".ready"}
