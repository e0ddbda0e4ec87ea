"""Rows of before today: every number of the committed files is kept, and what their names said stands in fields."""

import json
from pathlib import Path

import pytest

from pacx.core.errors import DataError
from pacx.evaluation.old_rows import upgraded
from pacx.evaluation.results import ResultRow, read_rows, write_rows

RESULTS = Path(__file__).resolve().parents[3] / "docs" / "results"
FILES = sorted(RESULTS.glob("*.json"))
OLDER = [file for file in FILES if "contrast" not in json.loads(file.read_text())[0]]
MOVED = {"encoder", "pooling", "condition", "contrast", "num_trainings", "device"}
LATER = {"drawn_by": ""}
"""Fields that came after 0.2.0, and what they say of a row that lacks them."""
OLD = {
    "protocol": "study", "dataset": "d", "encoder": "mae", "label": "macro", "metric": "auroc", "value": 0.5,
    "ci_low": None, "ci_high": None, "n": 1, "seed": 0, "fraction": 1.0, "provenance": "",
}  # fmt: skip


def as_it_was_spelt(row: ResultRow) -> str:
    """The name the row had, made of its fields in another way than it was taken apart."""
    first = row.encoder + "-mean" * (row.pooling == "mean")
    if row.condition:
        first += (
            f", {row.condition}" if row.condition in ("standardized", "read without wires") else f" ({row.condition})"
        )
    between = " / " if row.metric == "share_of_gain" else " - "
    second = row.contrast.replace("#mean", "-mean").replace(" (standardized)", ", standardized")
    return first + (between + second if second else "")


@pytest.mark.parametrize("file", OLDER, ids=lambda file: file.stem)
def test_the_committed_rows_lose_nothing(file: Path) -> None:
    old, new = json.loads(file.read_text()), read_rows(file)
    assert [as_it_was_spelt(row) for row in new] == [value["encoder"] for value in old]
    for value, row in zip(old, new, strict=True):
        same = {name: text for name, text in vars(row).items() if name not in MOVED | LATER.keys() - value.keys()}
        assert {name: getattr(row, name) for name in LATER} == LATER | {
            name: value[name] for name in LATER & value.keys()
        }
        assert {name: None if text != text else text for name, text in same.items()} == {
            name: text for name, text in value.items() if name != "encoder"
        }


@pytest.mark.parametrize("file", [file for file in FILES if file not in OLDER], ids=lambda file: file.stem)
def test_rows_of_today_are_read_and_written_as_they_are(file: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "again.json", read_rows(file))
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads(file.read_text())


def test_no_word_of_a_contrast_or_a_condition_is_left_in_a_name() -> None:
    rows = [row for file in FILES for row in read_rows(file)]
    assert not [row.encoder for row in rows if any(mark in row.encoder for mark in (" - ", " / ", ",", "(", "-mean"))]
    assert {row.num_trainings for row in rows if row.contrast == "mae" and row.encoder == "pacx"} == {3}
    assert {row.condition for row in rows if row.protocol == "shortcut"} > {"border only", ""}


@pytest.mark.parametrize(
    ("old", "parts"),
    [
        (
            OLD | {"encoder": "pacx-mean, standardized - mae-mean, standardized", "metric": "auroc_difference"},
            ("pacx", "mean", "standardized", "mae#mean (standardized)"),
        ),
        (
            OLD | {"encoder": "pacx (visibility 0) / pacx", "metric": "share_of_gain"},
            ("pacx", "", "visibility 0", "pacx"),
        ),
        (OLD | {"protocol": "linear-probe", "encoder": "dino (mine)-mean"}, ("dino (mine)-mean", "", "", "")),
        (
            OLD | {"protocol": "audit: mask-ratio", "encoder": "a - b", "metric": "auroc_difference_p"},
            ("a", "", "", "b"),
        ),
        (OLD | {"protocol": "linear-probe", "encoder": "a - b"}, ("a - b", "", "", "")),
    ],
)
def test_a_name_is_taken_apart_where_its_protocol_put_it_together(old: dict, parts: tuple[str, ...]) -> None:
    new = upgraded(old)
    assert tuple(new[name] for name in ("encoder", "pooling", "condition", "contrast")) == parts


def test_a_row_of_before_there_were_subgroups_is_of_the_whole_test_set(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text(json.dumps([OLD, OLD | {"subgroup": "sex: F"}]))
    assert [row.subgroup for row in read_rows(tmp_path / "old.json")] == ["", "sex: F"]
    (tmp_path / "other.json").write_text(json.dumps([OLD | {"colour": "red"}]))
    with pytest.raises(DataError, match="expected the fields"):
        read_rows(tmp_path / "other.json")
