"""A package of somebody else adds a dataset, modality, objective, protocol by being installed, and breaks nothing."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pacx.core.errors import UsageError
from pacx.core.typed_json import plain
from pacx.objectives.objective import Objective
from pacx.recipes.distill import distill

ROOT = Path(__file__).resolve().parents[2]
CODE = '''
from dataclasses import dataclass
from pathlib import Path

from pacx.data.dataset import Dataset, DatasetCard, Task
from pacx.modalities.modality import Modality, ModalityCard
from pacx.objectives.regression_config import RegressionConfig


@dataclass(frozen=True, kw_only=True)
class Options:
    """How."""

    encoder: Path
    """Which."""


@dataclass(frozen=True, kw_only=True)
class NoOptions:
    """There is nothing to choose."""


class Spa(Dataset[NoOptions]):
    card = DatasetCard(name="spa", title="Films of a spa", task=Task.BINARY, licence="ours", access="ask", citation="-")
    options_type = NoOptions

    def read(self, root, options):
        raise NotImplementedError  # it is listed and described, never opened


class Gait(Modality[Options]):
    card = ModalityCard(name="gait", title="Gait", encoders="-", source="-", example="pacx embed gait --encoder e")
    options_type = Options

    def open(self, options):
        raise NotImplementedError  # it is listed and described, never opened


@dataclass(frozen=True, kw_only=True)
class MineConfig(RegressionConfig):
    """As regression."""


DATASET, MODALITY, OBJECTIVE = Spa(), Gait(), MineConfig()
'''
PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "spa-under-test"
version = "1.0"

[tool.hatch.build.targets.wheel]
include = ["*.py"]

[project.entry-points."pacx.datasets"]
spa = "spa_under_test:DATASET"
nih14 = "spa_under_test:DATASET"
broken = "spa_under_test_broken:DATASET"

[project.entry-points."pacx.modalities"]
gait = "spa_under_test:MODALITY"

[project.entry-points."pacx.objectives"]
mine = "spa_under_test:OBJECTIVE"

[project.entry-points."pacx.protocols"]
spread = "spa_under_test_spread:PROTOCOL"
torn = "spa_under_test_broken:PROTOCOL"
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, installed by pip into a folder of its own; docs/adding/protocol.md has its protocol."""
    project, site = (tmp_path_factory.mktemp(name) for name in ("project", "site"))
    spread = re.search(r"```python\n(.*?)```", (ROOT / "docs/adding/protocol.md").read_text(), re.DOTALL)
    assert spread is not None
    (project / "pyproject.toml").write_text(PROJECT)
    (project / "spa_under_test.py").write_text(CODE)
    (project / "spa_under_test_spread.py").write_text(spread[1])
    (project / "spa_under_test_broken.py").write_text("raise RuntimeError('no licence file')\n")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--target", str(site), str(project)], check=True)
    return site


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "spa_under_test", raising=False)
    return site


def pacx(installed: Path, words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(installed), *filter(None, sys.path)])
    command = [sys.executable, "-m", "pacx.cli.main", *words.split()]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)


def test_its_dataset_is_listed_and_what_is_wrong_is_named_once(installed: Path) -> None:
    done = pacx(installed, "data list")
    assert done.returncode == 0, done.stderr
    assert "spa              Films of a spa" in done.stdout
    assert "nih14            NIH ChestX-ray14" in done.stdout
    assert done.stdout.count("Films of a spa") == 1
    assert done.stderr.splitlines() == [
        "plug-in 'nih14' of package spa-under-test is left out: there is another of that name already",
        "plug-in 'broken' of package spa-under-test cannot be imported (RuntimeError: no licence file); mend it",
    ]


def test_its_words_are_words_of_the_command(installed: Path) -> None:
    for words in ("data pack spa --help", "data doctor spa --help", "embed gait --help"):
        done = pacx(installed, words)
        assert done.returncode == 0, done.stderr
        assert f"usage: pacx {words.removesuffix(' --help')}" in done.stdout


def test_its_protocol_is_one_of_ours_and_one_that_is_torn_is_named(installed: Path) -> None:
    done = pacx(installed, "evaluate spread --help")
    assert done.returncode == 0, done.stderr
    assert "mean squared distance" in done.stdout
    unknown = pacx(installed, "evaluate spreat")
    assert unknown.returncode == 2
    assert "did you mean spread" in unknown.stderr
    assert "plug-in 'torn' of package spa-under-test cannot be imported" in unknown.stderr


def test_its_objective_is_distilled_with_by_name(installed: Path) -> None:
    task = replace(distill(), also=("mine=0.5", "token-regression"))._chosen()
    assert [(term.name, term.weight) for term in task.objectives[2:]] == [("mine", 0.5), ("token_regression", 1.0)]
    assert type(task.objectives[2].config).__module__ == "spa_under_test"
    assert isinstance(task.objectives[2].config.build(8, {"ecg": 4}, seed=0), Objective)


def test_without_further_objectives_a_run_is_described_as_before() -> None:
    run = distill()
    assert plain(run._chosen()) == plain(run.task)
    assert plain(run.task)["further"] == []


@pytest.mark.parametrize(
    ("word", "said"),
    [("regresion=1", "did you mean regression"), ("multilinear=none", "no weight above 0"), ("multilinear=-1", "=0.5")],
)
def test_an_objective_that_cannot_be_is_refused_in_a_sentence(word: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        replace(distill(), also=(word,))._chosen()
