"""The web page as files: self-contained, allowed by its own security policy, and inside the wheel."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "src" / "pacx" / "serving" / "page"
FILES = sorted(PAGE.iterdir())
FORBIDDEN = {
    r"(?<!xmlns=\")(?<!SVG = \")https?:|[\"'(]//|@import": "nothing is fetched from elsewhere",
    r"localStorage|sessionStorage|indexedDB|document\.cookie|caches\b": "nothing is kept in the browser",
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(": "what a server says never becomes markup",
    r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\bsrc=)": "the security policy allows no inline style or script",
}

by_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)


@by_file
@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_a_file_of_the_page_keeps_to_itself(path: Path, pattern: str) -> None:
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        assert not re.search(pattern, line), f"line {number}: {FORBIDDEN[pattern]}"


def test_the_patterns_catch_what_they_are_for() -> None:
    offences = [
        'src="https://elsewhere/x.js"',
        "localStorage.token = t",
        "a.innerHTML = text",
        '<p style="color: red">',
    ]
    for offence, pattern in zip(offences, FORBIDDEN, strict=True):
        assert re.search(pattern, offence), offence
    assert not re.search(next(iter(FORBIDDEN)), 'const SVG = "http://www.w3.org/2000/svg";')


@by_file
def test_a_file_of_the_page_is_short(path: Path) -> None:
    assert path.read_text().count("\n") <= 350


def test_whatever_the_page_names_is_there() -> None:
    named = re.findall(r'(?:href|src)="([^"#][^"]*)"', (PAGE / "index.html").read_text())
    for script in PAGE.glob("*.js"):
        named += re.findall(r'from "\./([^"]+)"', script.read_text())
    assert len(named) >= 5
    assert {PAGE / name for name in named} | {PAGE / "index.html"} == set(FILES)


def test_the_research_line_stands_in_the_page_itself() -> None:
    assert re.search(r"<header>.*Research software, not a medical device\..*</header>", _html(), re.DOTALL)


def test_every_control_has_a_label() -> None:
    for tag in re.findall(r"<input[^>]*>", _html()):
        (name,) = re.findall(r'id="([^"]+)"', tag)
        assert "aria-label=" in tag or f'<label for="{name}"' in _html(), name


def test_the_wheel_holds_the_page(tmp_path: Path) -> None:
    """Built as pip builds it: what is missing here is missing on every server."""
    words = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for path in FILES:
            assert archive.read(f"pacx/serving/page/{path.name}") == path.read_bytes()


def _html() -> str:
    return (PAGE / "index.html").read_text()
