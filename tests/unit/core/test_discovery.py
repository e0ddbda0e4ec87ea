import sys
from pathlib import Path

import pytest

from pacx.core.discovery import discover


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
    with pytest.raises(TypeError, match="expected int"):
        discover("plugins_under_test", "DATASET", int)
