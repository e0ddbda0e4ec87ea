import base64
import re
from pathlib import Path

import numpy as np
import pytest

from pacx.core.errors import UsageError
from pacx.evaluation.results import ResultRow, difference_metric, write_rows
from pacx.reporting import tables
from pacx.reporting.figures import FigureEntry, draw_films, read_figures, save_figure
from pacx.reporting.headlines import MEAN_IMAGE, headlines
from pacx.reporting.report import write_report
from pacx.reporting.result_rows import Rows


def row(**changes: object) -> ResultRow:
    values: dict[str, object] = {
        "protocol": "linear-probe",
        "dataset": "dense",
        "encoder": "pacx",
        "label": "macro",
        "metric": "auroc",
        "value": 0.8,
        "ci_low": 0.75,
        "ci_high": 0.85,
        "n": 100,
        "seed": 0,
        "fraction": 1.0,
        "provenance": "",
    }
    return ResultRow(**{**values, **changes})


def difference(low: float, high: float, **changes: object) -> ResultRow:
    names = {"contrast": "mae", "metric": difference_metric("auroc")}
    return row(**names, value=(low + high) / 2, ci_low=low, ci_high=high, **changes)


@pytest.mark.parametrize(("low", "high", "is_quiet"), [(0.01, 0.05, False), (-0.01, 0.05, True), (-0.05, -0.01, False)])
def test_a_gain_that_may_be_zero_is_grey_and_named(low: float, high: float, is_quiet: bool) -> None:
    cell = tables.difference_cell(difference(low, high))
    assert cell.is_quiet is is_quiet
    assert ("not distinguishable" in cell.small) is is_quiet


def test_a_difference_without_an_interval_is_not_distinguishable() -> None:
    assert not tables.is_distinguishable(difference(float("nan"), float("nan")))


def test_benchmark_table_sets_the_best_apart_and_names_what_is_missing() -> None:
    rows = Rows(rows=(row(), row(encoder="mae", value=0.7), difference(0.05, 0.15)))
    table = tables.benchmark_table(rows, ["random", "mae", "pacx"])
    assert table.header[3:] == ("MAE", "PaCX", "PaCX - MAE")
    (cells,) = table.rows
    assert [cell.text for cell in cells] == ["dense", "AUROC", tables.MISSING, "0.700", "0.800", "+10.0"]
    assert [cell.is_best for cell in cells] == [False, False, False, False, True, False]


def test_an_undefined_value_is_said() -> None:
    cell = tables.value_cell(row(value=float("nan")))
    assert (cell.text, cell.small, cell.is_quiet) == ("undefined", "", True)


def test_headlines_say_only_what_was_measured() -> None:
    assert headlines(Rows(rows=(row(),))) == []
    low = difference(-0.01, 0.03, protocol="low-data", fraction=0.01)
    model = row(protocol="reconstruction", encoder="mae", metric="masked_mse", value=0.2)
    mean = row(protocol="reconstruction", encoder=MEAN_IMAGE, metric="masked_mse", value=0.8)
    gain, error = headlines(Rows(rows=(low, model, mean)))
    assert gain.value == "+1.0 points"
    assert "Not distinguishable" in gain.meaning
    assert error.value == "25%"


def test_the_page_is_self_contained(tmp_path: Path) -> None:
    write_rows(tmp_path / "results.json", [row(dataset="<b>dense</b>"), row(encoder="mae", dataset="<b>dense</b>")])
    films = np.zeros((3, 16, 16), np.uint8)
    png = draw_films(films, ["a", "b", "c"], [np.eye(16, dtype=np.uint8)[None].repeat(3, 0)], num_columns=2)
    entry = FigureEntry(file="films.png", section="inputs", title="Films", caption="Three.")
    save_figure(tmp_path / "figures", entry, png)
    save_figure(tmp_path / "figures", entry, png)
    assert read_figures(tmp_path / "figures") == [entry]
    write_report([tmp_path], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "not a medical device" in page
    assert base64.b64encode(png).decode() in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page), "everything is inside the page"
    assert "<b>dense</b>" not in page
    assert "&lt;b&gt;dense" in page


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    rows = [row(protocol="low-data", fraction=fraction) for fraction in (0.01, 0.1, 1.0)]
    write_rows(tmp_path / "results.json", rows)
    pages = []
    for name in ("one.html", "two.html"):
        write_report([tmp_path / "results.json"], tmp_path / name)
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]


def test_a_path_without_results_is_a_wrong_call(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        write_report([tmp_path], tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []
