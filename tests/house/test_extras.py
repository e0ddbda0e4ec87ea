"""Every extra keeps its promise: with its packages alone, and those of other extras out of reach, its verbs really run.

Which packages are whose is read from pyproject.toml; nothing is installed or removed, they are only hidden.
"""

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from pacx.core.extras import extra_of

ROOT = Path(__file__).resolve().parents[2]
TABLE = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
USERS = sorted(set(TABLE) - {"dev"})
SHORT = "--training.epochs 1 --training.batch-size 8 --training.warmup-epochs 0"

HIDE = """
import json, sys

class Hiding:
    '''A finder that does not find some packages.'''
    def __init__(self, finder): self.finder = finder
    def __getattr__(self, name): return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in HIDDEN else self.finder.find_spec(name, path, target)

HIDDEN, calls = json.loads(sys.argv[1])
sys.meta_path[:] = map(Hiding, sys.meta_path)
from pacx.cli.main import main
for words in calls:
    try:
        main(words)
    except SystemExit as stop:
        if stop.code:
            raise SystemExit(f"{words}: exit code {stop.code}")
"""


def brought_by(extra: str) -> set[str]:
    """Names of the distributions that an extra brings, those of extras it includes with them."""
    names = set()
    for requirement in TABLE[extra]:
        name = re.split(r"[^\w-]", requirement)[0]
        inner = re.match(r"pacx\[([\w,]+)\]", requirement)
        names |= set().union(*(brought_by(each) for each in inner[1].split(","))) if inner else {name}
    return names


def hidden_from(extras: set[str]) -> list[str]:
    """Import names of what only other extras bring."""
    others = set().union(*map(brought_by, set(USERS) - extras)) - set().union(*map(brought_by, extras))
    imports = importlib.metadata.packages_distributions()
    return sorted(name for name, owners in imports.items() if others & set(owners))


def run_with(extras: set[str], *calls: str) -> str:
    """What verbs say where only these extras are installed."""
    asked = json.dumps([hidden_from(extras), [call.split() for call in calls]])
    done = subprocess.run([sys.executable, "-c", HIDE, asked], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny twin, packed, pretrained on and embedded, by what `[train]` brings."""
    at = tmp_path_factory.mktemp("trained")
    run_with(
        {"train"},
        f"simulate nih14 --out {at}/twin --patients 24 --image-size-px 64",
        f"data doctor nih14 --root {at}/twin --samples 4 --state {at}/state",
        f"data pack nih14 --root {at}/twin --out {at}/pack --image-size-px 64 --num-workers 1",
        f"train mae-tiny --pack {at}/pack --out {at}/mae {SHORT}",
        f"embed {at}/mae/encoder {at}/twin --out {at}/films.npz",
        f"report {at}/mae --out {at}/report.html",
    )
    return at


@pytest.mark.slow
def test_train_brings_what_data_train_embed_and_report_need(trained: Path) -> None:
    assert (trained / "mae" / "encoder" / "model.safetensors").is_file()
    assert (trained / "films.npz").is_file()
    assert (trained / "report.html").stat().st_size > 1000


@pytest.mark.slow
def test_train_and_track_show_a_run_as_the_readme_says(trained: Path) -> None:
    call = f"train mae-tiny --pack {trained}/pack --out {trained}/tracked {SHORT} --training.tensorboard"
    run_with({"train", "track"}, call)
    assert any((trained / "tracked" / "tensorboard").rglob("events*"))


@pytest.mark.slow
def test_export_exports_and_serve_predicts_without_torch(trained: Path) -> None:
    out = trained / "export"
    run_with({"export"}, f"export {trained}/mae/encoder --out {out} --no-rollout --no-int8 --num-parity-films 64")
    assert any(out.rglob("fp32.onnx"))
    said = run_with({"serve"}, f"embed {out} {trained}/twin --out {trained}/served.npz")
    assert "embeddings of width" in said


def test_serve_starts_its_server_modules() -> None:
    code = (
        HIDE.partition("from pacx.cli.main")[0]
        + "import pacx.serving.app, pacx.serving.http_server, pacx.cli.verbs.predict"
    )
    asked = json.dumps([hidden_from({"serve"}), []])
    done = subprocess.run([sys.executable, "-c", code, asked], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_hiding_hides() -> None:
    assert {"onnxruntime", "fastapi", "onnx", "wandb"} <= set(hidden_from({"train"}))
    assert {"torch", "sklearn", "pandas", "onnx"} <= set(hidden_from({"serve"}))
    assert "onnxruntime" not in hidden_from({"serve"})
    asked = json.dumps([["onnxruntime"], []])
    code = HIDE + "import onnxruntime"
    done = subprocess.run([sys.executable, "-c", code, asked], capture_output=True, text=True, check=False)
    assert "No module named 'onnxruntime'" in done.stderr


def test_a_missing_library_is_one_sentence_with_the_extra_to_install() -> None:
    """As in an environment of ``pacx[serve]`` alone; help runs there all the same."""
    asked = json.dumps([["torch"], [["train", "distill", "--help"], ["convert", "ecgfounder", "w.pth", "--out", "x"]]])
    done = subprocess.run([sys.executable, "-c", HIDE, asked], capture_output=True, text=True, check=False)
    assert "usage: pacx train distill" in done.stdout
    assert "pacx convert needs torch, which is not installed; pip install '.[train]'" in done.stderr
    assert "'--out', 'x']: exit code 2" in done.stderr
    assert "Traceback" not in done.stderr


REQUIREMENTS = [f"{name}>=1; extra == '{extra}'" for extra in USERS for name in brought_by(extra)]


@pytest.mark.parametrize("extra", USERS)
def test_whatever_is_missing_the_advice_names_an_extra_that_brings_it(extra: str) -> None:
    imports = importlib.metadata.packages_distributions()
    for distribution in brought_by(extra):
        modules = [name for name, owners in imports.items() if distribution in owners and not name.startswith("_")]
        for module in set(modules) & {distribution.replace("-", "_"), "sklearn"}:
            for verb in ("train", "export", "serve", "data"):
                advised = extra_of(module, verb, REQUIREMENTS)
                assert advised in TABLE
                assert distribution in brought_by(advised)


def test_the_advice_is_no_circle() -> None:
    """Whoever has an extra is not told to install that extra."""
    assert extra_of("onnxruntime", "train", REQUIREMENTS) == "serve"
    assert extra_of("onnxruntime", "export", REQUIREMENTS) == "export"
    assert extra_of("torch", "data", REQUIREMENTS) == "train"
    assert extra_of("torch", "export", REQUIREMENTS) == "export"
    assert extra_of("sklearn", "train", REQUIREMENTS) == "train"
    assert extra_of("wandb", "train", REQUIREMENTS) == "track"
    assert extra_of("somebody_elses", "train", REQUIREMENTS) is None
    assert extra_of("starlette", "serve") == "serve", "fastapi brings it, and is imported after it"


def test_the_installed_package_says_the_same_of_its_extras() -> None:
    assert extra_of("torch", "train") == "train"
    assert extra_of("onnxruntime", "predict") == "serve"
    assert extra_of("tensorboard", "train") == "track"
