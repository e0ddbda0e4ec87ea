"""The scripts of docs/figures still draw the pictures that are committed, of the same size."""

import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image

DOCS = Path(__file__).resolve().parents[2] / "docs"
PICTURES = {"pictures.py": "pacx.png", "method.py": "method.svg", "simulated_films.py": "simulated_films.png"}


def _size(path: Path) -> object:
    """Of a PNG its pixels, of an SVG the line that says its size."""
    if path.suffix == ".png":
        with Image.open(path) as image:
            return image.size
    return next(line for line in path.read_text().splitlines() if "viewBox" in line)


def test_every_script_is_run_here() -> None:
    assert sorted(PICTURES) == sorted(path.name for path in (DOCS / "figures").glob("*.py"))


@pytest.mark.parametrize("script", PICTURES)
def test_a_script_draws_its_picture(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / PICTURES[script]
    monkeypatch.setattr(sys, "argv", [script, "--out", str(out)])
    runpy.run_path(str(DOCS / "figures" / script), run_name="__main__")
    assert _size(out) == _size(DOCS / "images" / PICTURES[script])
