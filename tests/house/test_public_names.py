"""Every room's public names: loaded when used, described with an example, hidden by no module."""

import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import pacx

ROOMS = ["pacx", *(info.name for info in pkgutil.iter_modules(pacx.__path__, "pacx.") if info.ispkg)]
PUBLIC = [
    (room, name)
    for room in ROOMS
    for name in getattr(importlib.import_module(room), "__all__", ())
    if not name.startswith("__")
]


def test_each_stage_of_the_way_has_public_names() -> None:
    rooms = {room for room, _ in PUBLIC}
    assert rooms >= {f"pacx.{room}" for room in ("data", "recipes", "evaluation", "reporting", "exporting", "models")}
    assert 40 <= len(PUBLIC) <= 70


@pytest.mark.parametrize(("room", "name"), PUBLIC)
def test_a_public_name_is_described_with_an_example(room: str, name: str) -> None:
    public = getattr(importlib.import_module(room), name)
    assert not inspect.ismodule(public)
    assert name not in {info.name for info in pkgutil.iter_modules(importlib.import_module(room).__path__)}
    examples = [each for each in doctest.DocTestParser().get_examples(inspect.getdoc(public) or "") if each.source]
    assert examples, f"{room}.{name} has no example (lines that begin with >>>)"


def test_importing_every_room_opens_no_heavy_library() -> None:
    heavy = {"torch", "timm", "transformers", "peft", "sklearn", "scipy", "pandas", "matplotlib", "onnxruntime"}
    code = f"import sys\nfor room in {ROOMS}:\n    __import__(room)\nassert not {heavy} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
