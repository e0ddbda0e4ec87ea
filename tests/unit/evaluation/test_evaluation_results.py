"""Result rows survive the file, NaN included."""

import json
import math
from dataclasses import replace

import pytest

from pacx.core.errors import DataError
from pacx.evaluation.results import ResultRow, read_rows, write_rows

ROW = ResultRow(
    protocol="linear-probe",
    dataset="vindr",
    encoder="pacx",
    label="macro",
    metric="auroc",
    value=0.871,
    ci_low=0.85,
    ci_high=0.89,
    n=3000,
    seed=0,
    fraction=1.0,
    provenance="abc",
)


def test_rows_survive_and_nan_is_null(tmp_path):
    path = tmp_path / "results.json"
    undefined = replace(ROW, label="hernia", value=math.nan, ci_low=math.nan, ci_high=math.nan)
    write_rows(path, [ROW, undefined])
    assert "NaN" not in path.read_text()
    assert json.loads(path.read_text())[1]["value"] is None
    assert [line.startswith("{") for line in path.read_text().splitlines()] == [False, True, True, False]
    first, second = read_rows(path)
    assert first == ROW
    assert math.isnan(second.value)
    assert second.label == "hernia"


def test_infinity_is_refused():
    with pytest.raises(DataError, match="infinite ci_high"):
        replace(ROW, ci_high=math.inf)


@pytest.mark.parametrize("content", ['{"a": 1}', '[{"protocol": "x"}]', "[3]", "[", '[{"value": null}]'])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"results\.json"):
        read_rows(path)


def test_a_name_for_people_says_pooling_condition_and_contrast():
    mean = replace(ROW, pooling="mean", condition="visibility 0", contrast="mae (visibility 0)")
    assert (ROW.name, ROW.subject) == ("pacx", "pacx")
    assert mean.subject == "pacx#mean (visibility 0)"
    assert mean.name == "pacx#mean (visibility 0) - mae (visibility 0)"


def test_rows_of_0_2_0_are_read_and_do_not_say_what_was_drawn(tmp_path):
    path = tmp_path / "results.json"
    write_rows(path, [replace(ROW, drawn_by="film, patients unknown")])
    assert read_rows(path)[0].not_by_patient == "by film"
    (written,) = json.loads(path.read_text())
    del written["drawn_by"]
    path.write_text(json.dumps([written]))
    assert read_rows(path) == [ROW]
    assert ROW.not_by_patient == ""
    assert replace(ROW, drawn_by="patient").not_by_patient == ""
