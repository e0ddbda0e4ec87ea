"""The serve extra alone, in an environment of its own: no torch, no pandas, and the server answers as anywhere."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from film_bytes import dicom, film
from running_server import serving

import pacx

ROOT = Path(__file__).resolve().parents[2]
ABSENT = ("torch", "timm", "pandas", "sklearn", "scipy", "matplotlib", "onnx")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment into which pacx[serve] was installed."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    found = folder / "bin" / "python"
    install = [str(found), "-m", "pip", "install", "-q", "--retries", "1", "--timeout", "10", "--no-compile"]
    build = [*install, "-c", str(ROOT / "constraints.txt"), f"{ROOT}[serve]"]
    done = subprocess.run(build, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        if "NewConnectionError" in done.stderr or "No matching distribution" in done.stderr:
            pytest.skip("no package registry can be reached from here")
        raise AssertionError(done.stderr)
    return found


@pytest.mark.slow
def test_the_serve_extra_alone_serves(python: Path, export: Path, tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ask = "import importlib.util, sys; print([name for name in sys.argv[1:] if importlib.util.find_spec(name)])"
    found = subprocess.run([python, "-c", ask, *ABSENT], capture_output=True, text=True, env=clean, check=True)
    assert found.stdout.strip() == "[]"
    here = subprocess.run([sys.executable, "-c", ask, *ABSENT], capture_output=True, text=True, check=True)
    assert "torch" in here.stdout  # the question finds what there is
    (tmp_path / "film.dcm").write_bytes(dicom(film(6), "MONOCHROME1"))
    with serving([str(export)], tmp_path, python=python) as server:
        answer = server.post((tmp_path / "film.dcm").read_bytes(), attention=True, film=True)
        assert answer.status_code == 200
        said = np.array(answer.json()["models"]["mae"]["embedding"])
        assert server.stop() == 0
    assert np.abs(said - pacx.load_encoder(export).embed([tmp_path / "film.dcm"])[0]).max() < 1e-4
