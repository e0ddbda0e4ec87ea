"""The notebook a newcomer runs first: kept without outputs, and run here from top to bottom."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from pacx.demo.folders import DemoFolders

NOTEBOOK = Path(__file__).resolve().parents[3] / "notebooks" / "quickstart.ipynb"


def test_the_notebook_is_kept_without_outputs() -> None:
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(demo: DemoFolders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACX_DEMO", str(demo.out))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": NOTEBOOK.parent}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in shown) == 2  # films, and where the encoders looked
    tables = [output.data["text/plain"] for output in shown if "text/html" in output.get("data", {})]
    for encoder in ("mae", "pacx", "random", "pacx - mae"):
        assert any(encoder in table for table in tables)
