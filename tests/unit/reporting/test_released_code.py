"""Scores as torchmetrics counts them; the right values are those that torchmetrics 1.9.0 gave for the same numbers."""

import math

import pytest
from test_report import row

from pacx.reporting import tables
from pacx.reporting.released_code import counted_by_torchmetrics
from pacx.reporting.result_rows import Rows

QUERY = {"protocol": "linear-probe", "dataset": "dense", "label": "macro", "fraction": 1.0}
NAN = float("nan")


@pytest.mark.parametrize(
    ("metric", "labels", "wanted"),
    [
        ("auroc", (1.0, NAN, NAN), 0.3333),  # scores of docs/concepts/metrics.md: ordinary, no positive, no negative
        ("auprc", (1.0, NAN, 1.0), 0.6667),
        ("f1", (1.0, NAN, 0.6667), 0.5556),
        ("auroc", (1.0, 0.75, NAN), 0.5833),
        ("auroc", (0.9, 0.7), 0.8),
    ],
)
def test_a_label_that_is_absent_counts_nothing(metric: str, labels: tuple[float, ...], wanted: float) -> None:
    each = [row(metric=metric, label=str(number), value=value) for number, value in enumerate(labels)]
    others = [row(metric=metric, label="0", value=0.1, **of) for of in ({"encoder": "mae"}, {"fraction": 0.1})]
    rows = Rows(rows=(row(metric=metric, value=1.0), *each, *others))
    assert counted_by_torchmetrics(rows, "pacx", metric, QUERY) == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize(
    ("metric", "ours", "empty", "wanted"),
    [
        ("dice", 2.5 / 3, 1 / 3, 0.75),
        ("iou", (2 + 1 / 3) / 3, 1 / 3, 0.6667),
        ("dice", 0.6, 0.0, 0.6),
        ("iou", 1.0, 1.0, NAN),
    ],
)
def test_films_with_nothing_to_find_are_left_out(metric: str, ours: float, empty: float, wanted: float) -> None:
    of = {"protocol": "segmentation", "label": "lung"}
    rows = Rows(rows=(row(metric=metric, value=ours, **of), row(metric="both_empty_fraction", value=empty, **of)))
    found = counted_by_torchmetrics(rows, "pacx", metric, {**QUERY, **of})
    assert found == pytest.approx(wanted, abs=1e-4, nan_ok=True)


def test_what_rows_do_not_tell_is_not_made_up() -> None:
    rows = Rows(rows=(row(), row(protocol="segmentation", label="lung", metric="dice")))
    assert counted_by_torchmetrics(rows, "mae", "auroc", QUERY) is None
    assert counted_by_torchmetrics(rows, "pacx", "auroc", QUERY) is None
    lung = {**QUERY, "protocol": "segmentation", "label": "lung"}
    assert counted_by_torchmetrics(rows, "pacx", "dice", lung) is None


def test_the_table_shows_both_ways_where_asked() -> None:
    rows = Rows(rows=(row(), row(label="Edema", value=0.8), row(label="Mass", value=math.nan)))
    plain, both = (tables.benchmark_table(rows, ["pacx"], as_released=asked) for asked in (False, True))
    assert len(both.rows) == len(plain.rows) + 1
    assert [cell.text for cell in both.rows[1]][1:3] == ["AUROC, as torchmetrics counts", "0.400"]
    assert all(len(cells) == len(both.header) for cells in both.rows)
