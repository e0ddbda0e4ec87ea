"""The serve extra alone, in an environment of its own: no torch, no pandas, and the server answers as anywhere."""

import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from dockerfile import ROOT, all_of, pip_words
from film_bytes import dicom, film
from running_server import TOKEN, Running, serving

import pacx

ABSENT = ("torch", "timm", "pandas", "sklearn", "scipy", "matplotlib", "onnx")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment into which pacx[serve] was installed, as the Dockerfile installs it."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    found = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(found)]
    build = [*pip, *pip_words(), "-q", "--retries", "1", "--timeout", "10", "--no-compile"]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
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


def files_of(*folders: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_the_images_command_serves_the_page_and_writes_to_its_cache_alone(
    python: Path, export: Path, tmp_path: Path
) -> None:
    image = python.parents[1]
    before = files_of(image, export)
    elsewhere = {"8080": "0", "0.0.0.0": "127.0.0.1", "/tmp/pacx": str(tmp_path / "cache"), "pacx": f"{image}/bin/pacx"}
    words = [elsewhere.get(word, word) for word in json.loads(all_of("ENTRYPOINT")[0])]
    settings = dict(each.split("=", 1) for rest in all_of("ENV") for each in rest.split())
    environment = {**settings, "PATH": "/usr/bin:/bin", "PACX_TOKEN": TOKEN, "TMPDIR": str(tmp_path)}
    command = [*words, f"mae={export}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=tmp_path, text=True) as process:
        try:
            said = next(line for line in process.stdout if " at http://" in line)
            running = Running(process, int(re.findall(r":(\d+)/", said)[0]), tmp_path / "log", said)
            with running.client() as client:
                for path in (ROOT / "src" / "pacx" / "serving" / "page").iterdir():
                    served = client.get("/" if path.name == "index.html" else f"/{path.name}")
                    assert served.content == path.read_bytes()
            check = json.loads(all_of("HEALTHCHECK")[0].partition("CMD ")[2].replace(":8080/", f":{running.port}/"))
            check[0] = str(image / "bin" / check[0])
            assert subprocess.run(check, check=False).returncode == 0
            assert running.stop() == 0
            assert subprocess.run(check, capture_output=True, check=False).returncode != 0
        finally:
            process.kill()
    assert files_of(image, export) == before
