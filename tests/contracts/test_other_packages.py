"""A package of somebody else adds a dataset, a modality and an objective by being installed, and breaks nothing."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pacx.core.errors import UsageError
from pacx.core.typed_json import plain
from pacx.objectives.objective import Objective
from pacx.recipes.distill import distill

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
        raise NotImplementedError


class Gait(Modality[Options]):
    card = ModalityCard(name="gait", title="Gait", encoders="-", source="-", example="pacx embed gait --encoder e")
    options_type = Options

    def open(self, options):
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class MineConfig(RegressionConfig):
    """As regression."""


DATASET, MODALITY, OBJECTIVE = Spa(), Gait(), MineConfig()
'''
POINTS = """[pacx.datasets]
spa = spa_under_test:DATASET
nih14 = spa_under_test:DATASET
broken = spa_under_test_broken:DATASET
[pacx.modalities]
gait = spa_under_test:MODALITY
[pacx.objectives]
mine = spa_under_test:OBJECTIVE
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package with its metadata, as an installer leaves it on the path."""
    (tmp_path / "spa_under_test.py").write_text(CODE)
    (tmp_path / "spa_under_test_broken.py").write_text("raise RuntimeError('no licence file')\n")
    about = tmp_path / "spa_under_test-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: spa-under-test\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "spa_under_test", raising=False)
    return tmp_path


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
