"""A room can be surveyed: few files, one idea a file, no circle. What rooms import from each other are contracts."""

import ast
import itertools
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "pacx"
ROOMS = sorted({path.parent for path in (*SOURCE.rglob("*.py"), *(ROOT / "studies").rglob("*.py"))})
PLUGINS = {
    SOURCE / room
    for room in ("data/datasets", "simulation/twins", "evaluation/protocols", "modalities/ecg_signal/formats")
}
"""Rooms in which every file is of one kind, found by its name."""
MOST_FILES = 15
MOST_LINES = 350

by_room = pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.relative_to(ROOT)))


def stems(room: Path) -> list[str]:
    return sorted(path.stem for path in room.glob("*.py") if path.stem != "__init__")


def families(names: list[str]) -> list[str]:
    """First words that three or more names share."""
    return [word for word, count in Counter(name.split("_")[0] for name in names).items() if count >= 3]


def lines_of_code(text: str) -> int:
    """Lines that are neither in a docstring nor in an import."""
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom) or (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        ):
            left_out.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return text.count("\n") - len(left_out)


def started_late(name: str, imported: set[str]) -> set[str]:
    """What settings start when they are used, and what has to know them: ``x`` of ``x_config``, a room's parts."""
    room, _, stem = name.rpartition(".")
    parts = {each for each in imported if each.startswith(f"{room}.")} if stem == "config" else set()
    return parts | {name.removesuffix("_config")}


def circle(imports: dict[str, set[str]]) -> list[str]:
    """Modules that import each other round, or nothing."""
    try:
        list(TopologicalSorter(imports).static_order())
    except CycleError as error:
        return list(error.args[1])
    return []


@by_room
def test_three_files_of_one_prefix_are_a_folder(room: Path) -> None:
    assert not families(stems(room))


@by_room
def test_a_room_can_be_surveyed(room: Path) -> None:
    assert room in PLUGINS or len(stems(room)) <= MOST_FILES


@pytest.mark.parametrize(
    "path", [p for room in ROOMS for p in room.glob("*.py")], ids=lambda p: str(p.relative_to(ROOT))
)
def test_a_file_holds_one_idea(path: Path) -> None:
    assert lines_of_code(path.read_text()) <= MOST_LINES


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = grimp.build_graph("pacx", cache_dir=None)
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    found = circle({name: imported - started_late(name, imported) for name, imported in imports.items()})
    assert not found, " -> ".join(found)


def test_the_rules_notice_what_they_are_for() -> None:
    assert families(["ecg", "ecg_chain", "ecg_mae", "labs", "lab_exports"]) == ["ecg"]
    assert lines_of_code('"""Two\nlines."""\n\nimport a\nfrom b import (\n    c,\n)\n\nx = 1\n') == 3
    rooms = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": set()}
    assert set(circle(rooms)) == {"a", "b", "c"}
    for left_out in itertools.pairwise("abca"):
        assert not circle(
            {name: imported - {left_out[1]} if name == left_out[0] else imported for name, imported in rooms.items()}
        )
