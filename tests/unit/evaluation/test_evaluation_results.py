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


def test_a_row_written_before_there_were_subgroups_is_of_the_whole_test_set(tmp_path):
    write_rows(tmp_path / "results.json", [ROW, replace(ROW, subgroup="sex: F")])
    values = json.loads((tmp_path / "results.json").read_text())
    assert [value.pop("subgroup") for value in values] == ["", "sex: F"]
    (tmp_path / "old.json").write_text(json.dumps(values))
    assert read_rows(tmp_path / "old.json") == [ROW, ROW]
