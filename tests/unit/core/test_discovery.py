import sys
from pathlib import Path

import pytest

import pacx.data.datasets
import pacx.recipes
from pacx.core.discovery import discover, discover_listed
from pacx.core.errors import PluginError
from pacx.data.dataset import datasets
from pacx.recipes.run import all_recipes


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "plugins_under_test"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "plugins_under_test", raising=False)
    return folder


def test_a_new_file_is_found_and_infrastructure_passed_over(package: Path) -> None:
    (package / "nih_14.py").write_text("DATASET = 14\n")
    (package / "tools.py").write_text("x = 1\n")
    assert dict(discover("plugins_under_test", "DATASET", int)) == {"nih-14": 14}


def test_a_plugin_of_the_wrong_kind_is_an_error(package: Path) -> None:
    (package / "wrong.py").write_text("DATASET = 'text'\n")
    with pytest.raises(PluginError, match="expected int"):
        discover("plugins_under_test", "DATASET", int)["wrong"]


def test_only_what_is_asked_for_is_opened(package: Path) -> None:
    (package / "one.py").write_text("DATASET = 1\n")
    (package / "two.py").write_text("DATASET = 2\n")
    found = discover("plugins_under_test", "DATASET", int)
    assert list(found) == ["one", "two"]
    assert "two" in found
    assert found["one"] == 1
    assert "plugins_under_test.one" in sys.modules
    assert "plugins_under_test.two" not in sys.modules


def test_a_broken_plugin_is_named_with_its_error_and_the_others_work(
    package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (package / "bad.py").write_text("DATASET = 1 / 0\n")
    (package / "good.py").write_text("DATASET = 2\n")
    found = discover("plugins_under_test", "DATASET", int)
    assert found.usable() == {"good": 2}
    said = capsys.readouterr().err
    assert "plug-in 'bad' of plugins_under_test.bad cannot be imported (ZeroDivisionError: division by zero)" in said
    with pytest.raises(PluginError, match="'bad'"):
        found["bad"]


def test_a_broken_file_in_a_room_of_ours_is_named_and_the_others_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As when a person puts a dataset and a recipe of his own into the checkout."""
    (tmp_path / "unwell.py").write_text("import a_library_that_nobody_has\nDATASET = 1\n")
    (tmp_path / "unread.py").write_text("def half(:\n\nRECIPES = (half,)\n")
    for room in (pacx.data.datasets, pacx.recipes):
        monkeypatch.setattr(room, "__path__", [*room.__path__, str(tmp_path)])
    assert "nih14" in datasets().usable()
    assert "mae-tiny" in all_recipes()
    said = capsys.readouterr().err
    assert "plug-in 'unwell' of pacx.data.datasets.unwell cannot be imported (ModuleNotFoundError" in said
    assert "plug-in 'unread' of pacx.recipes.unread cannot be imported (SyntaxError" in said


def test_lists_are_read_without_opening_a_file(package: Path) -> None:
    (package / "stage.py").write_text(
        'def mae_tiny():\n    """Small.\n\n    More."""\n\n\nclass Audit:\n    """Why?"""\n\n'
        '    name = "class-token"\n\n\n'
        "RECIPES = (mae_tiny, Audit)\n"
    )
    found = discover_listed("plugins_under_test", "RECIPES", object)
    assert found.summaries == {"mae-tiny": "Small.", "class-token": "Why?"}
    assert "plugins_under_test.stage" not in sys.modules
    assert found["class-token"].name == "class-token"


def install(folder: Path, name: str, group: str, points: str, code: str) -> None:
    """A package with its metadata, as an installer leaves it on the path."""
    (folder / f"{name}.py").write_text(code)
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{group}]\n{points}\n")


def test_another_package_adds_plugins_by_entry_point(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (package / "ours.py").write_text("DATASET = 1\n")
    points = "theirs = theirs_under_test:DATASET\nours = theirs_under_test:OTHER\ngone = nowhere_under_test:X"
    install(tmp_path, "theirs_under_test", "pacx.under_test", points, "DATASET = 5\nOTHER = 6\n")
    found = discover("plugins_under_test", "DATASET", int, group="pacx.under_test")
    assert "plug-in 'ours' of package theirs_under_test is left out" in capsys.readouterr().err
    assert "theirs_under_test" not in sys.modules
    assert found.usable() == {"ours": 1, "theirs": 5}
    assert "plug-in 'gone' of package theirs_under_test cannot be imported" in capsys.readouterr().err
