"""The rules of the house as tests: what a linter does not know about this project."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("src/pacx", "studies/simulated", "studies/stepwise", "studies/illness")
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
FORBIDDEN_NAMES = {"utils", "util", "helpers", "misc", "common", "base", "manager", "v2", "new"}
FORBIDDEN_TEXT = {
    r"strict\s*=\s*False.*load|load.*strict\s*=\s*False": "a checkpoint is loaded strictly or refused",
    r"weights_only\s*=\s*False": "only weights are ever loaded",
    r"torch\.load\((?!.*weights_only=True)": "only weights are ever loaded",
    r"np\.random\.(seed|rand|normal|uniform|shuffle|permutation)\(": "randomness comes from pacx.core.randomness",
    r"seed_everything|random\.seed\(": "nothing sets a global seed",
    r"torch\.(cuda\.)?manual_seed": "it seeds every GPU for good; use pacx.models.initialization.seeded_rng",
    r"except\s*:|except Exception\s*:\s*pass": "an error is handled or left alone",
}

by_name = pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))


@by_name
def test_a_file_is_documented_and_well_named(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "say what the file holds and what it leaves out"
    assert path.stem not in FORBIDDEN_NAMES
    assert path.stem == path.stem.lower()


@by_name
def test_functions_fit_on_a_screen(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False) or ""
            length = node.end_lineno - node.lineno + 1 - docstring.count("\n")
            assert length <= 60, f"{node.name} has {length} lines without its docstring"


@by_name
def test_nothing_happens_at_import(path: Path) -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    allowed = (ast.Import, ast.ImportFrom, *functions, ast.ClassDef, ast.Assign, ast.AnnAssign, ast.If)
    for node in ast.parse(path.read_text()).body:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        assert is_docstring or isinstance(node, allowed), f"line {node.lineno} runs when the module is imported"


@by_name
def test_forbidden_ways_are_not_taken(path: Path) -> None:
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        for pattern, reason in FORBIDDEN_TEXT.items():
            assert not re.search(pattern, line), f"line {number}: {reason}"


def test_the_patterns_catch_what_they_are_for() -> None:
    offences = [
        "model.load_state_dict(state, strict=False)",
        "torch.load(path, weights_only=False)",
        "torch.load(path)",
        "np.random.seed(0)",
        "seed_everything(1)",
        "torch.manual_seed(1)",
        "except:",
    ]
    for offence, pattern in zip(offences, FORBIDDEN_TEXT, strict=True):
        assert re.search(pattern, offence), offence


def test_every_test_file_has_its_own_name() -> None:
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names))


def test_one_module_starts_workers() -> None:
    """A pool that does not end with its parent leaves orphans; the decoders of a server end with their socket."""
    pools = [
        path.name for path in SOURCES if re.search(r"ProcessPoolExecutor|import multiprocessing", path.read_text())
    ]
    assert pools == ["workers.py"]
