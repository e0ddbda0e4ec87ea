"""The paper's numbers beside ours, the tables that doubt the others, and tables for other documents."""

import csv
import io

import pytest
from test_report import row

from pacx.core.artifacts import write_json
from pacx.evaluation.results import difference_metric, write_rows
from pacx.evaluation.statistics.delong import P_VALUE_HOLM
from pacx.reporting import scrutiny, tables
from pacx.reporting.exports import to_csv, to_latex, to_markdown, write_tables
from pacx.reporting.report import write_report
from pacx.reporting.result_rows import Rows
from pacx.reporting.runs import read_run, run_tables
from pacx.reporting.tables import Cell, Table

ENCODERS = ["random", "mae", "pacx"]
PAIR = {"encoder": "pacx", "contrast": "mae", "metric": "auroc_difference", "ci_low": -0.1, "ci_high": 0.2}


def texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in cells] for cells in table.rows]


def test_the_papers_numbers_stand_below_ours_and_what_was_not_run_is_named() -> None:
    table = tables.benchmark_table(Rows(rows=(row(dataset="nih14"), row(dataset="nih14", encoder="mae"))), ENCODERS)
    assert texts(table)[:2] == [
        ["nih14", "AUROC", tables.MISSING, "0.800", "0.800", ""],
        ["", "AUROC, the paper's", "", "0.772", "0.783", "+1.1"],
    ]
    missing = [cells[0] for cells in texts(table) if len(cells) == 1]
    assert missing[0] == "nlm-tb: not run"
    assert len(missing) == 8
    assert not any(
        "paper" in cell for cells in texts(tables.benchmark_table(Rows(rows=(row(),)), [])) for cell in cells
    )


def test_a_pair_of_any_two_encoders_has_a_column_and_a_floor_has_none() -> None:
    rows = Rows(
        rows=(row(encoder="dino", contrast="mine"), row(encoder="random", contrast="mine"), row(encoder="dino"))
    )
    assert rows.pairs == [("dino", "mine")]
    assert tables.benchmark_table(rows, ["dino"]).header[-1] == "dino - mine"


def test_a_row_of_a_subgroup_is_never_taken_for_the_whole_test_set() -> None:
    rows = Rows(rows=(row(value=0.8), row(value=0.1, subgroup="sex: F")))
    found = rows.find(protocol="linear-probe", encoder="pacx", metric="auroc")
    assert found is not None
    assert found.value == 0.8


def test_where_lower_is_better_the_lowest_is_set_apart() -> None:
    rows = Rows(
        rows=tuple(
            row(metric=m, encoder=e, value=v) for m in ("ece", "brier") for e, v in zip("ab", (0.1, 0.3), strict=True)
        )
    )
    assert [cell.is_best for cell in scrutiny.calibration_table(rows, ["a", "b"]).rows[0][2:4]] == [True, False]


def test_only_labels_that_pass_holm_are_named() -> None:
    common = {
        "encoder": "pacx",
        "contrast": "mae",
        "metric": P_VALUE_HOLM,
        "ci_low": float("nan"),
        "ci_high": float("nan"),
    }
    rows = Rows(
        rows=(
            row(**common, label="edema", value=0.01),
            row(**common, label="mass", value=0.2),
            row(**common, label="hernia", value=float("nan")),
        )
    )
    assert texts(scrutiny.significance_table(rows)) == [["dense", "PaCX - MAE", "2", "edema (p = 0.010)"]]


def test_shortcuts_are_shown_with_their_change() -> None:
    common = {"protocol": "shortcut"}
    change = row(
        **common,
        condition="border only",
        contrast="pacx",
        metric=difference_metric("auroc"),
        value=-0.3,
        ci_low=-0.4,
        ci_high=-0.2,
    )
    alone = row(**common, encoder="age and sex", value=0.6)
    rows = Rows(rows=(row(**common), row(**common, condition="border only", value=0.5), change, alone))
    table = scrutiny.shortcut_table(rows, ["pacx"])
    assert texts(table) == [
        ["dense"],
        ["plain films", "0.800"],
        ["border only", "0.500"],
        ["age and sex alone, no film", "0.600"],
    ]
    assert table.rows[2][1].small.startswith("-30.0 points")


def test_subgroups_name_the_worst() -> None:
    rows = Rows(
        rows=(
            row(protocol="subgroups", subgroup="sex: F"),
            row(protocol="subgroups", subgroup="sex: M", value=0.7),
            row(protocol="subgroups", subgroup="sex: M", metric="auroc_worst_group", value=0.7),
            row(protocol="subgroups", subgroup="sex: M", metric="auroc_worst_gap", value=0.06),
        )
    )
    first = [cells[0] for cells in texts(scrutiny.subgroup_table(rows, ["pacx"]))]
    assert first == ["dense", "sex: F", "sex: M", "worst group: sex: M", "everybody minus worst group: sex: M"]


def test_shared_films_come_from_the_certificate(tmp_path) -> None:
    assert scrutiny.shared_table(tmp_path / "certificate.json").rows == ()
    shared = [{"test": "packs/a", "learnt": "packs/a", "films": 0, "patients": 3}]
    write_json(tmp_path / "certificate.json", {"shared": shared, "packs": [{"path": "packs/a"}]})
    table = scrutiny.shared_table(tmp_path / "certificate.json")
    assert texts(table) == [["a", "its own train and val splits", "0", "3"]]
    assert [cell.is_best for cell in table.rows[0][2:]] == [False, True]
    packs = [{"path": "packs/a", "drawn_by": "film, patients unknown"}]
    write_json(tmp_path / "certificate.json", {"shared": shared, "packs": packs})
    assert texts(scrutiny.shared_table(tmp_path / "certificate.json"))[0][2:] == ["0", "not known"]


def test_intervals_that_are_not_by_patient_say_so_wherever_they_stand(tmp_path) -> None:
    by_film = row(dataset="kaggle", drawn_by="film, patients unknown")
    mixed = row(dataset="mixed", drawn_by="patient, 3 of 9 films alone, patients unknown")
    every = (by_film, mixed, row(dataset="known", drawn_by="patient"), row(dataset="old"))
    smalls = {
        cells[0].text: cells[2].small
        for cells in tables.benchmark_table(Rows(rows=every), ["pacx"]).rows
        if len(cells) > 1 and cells[2].small
    }
    assert smalls == {
        "kaggle": "[0.750, 0.850] by film",
        "mixed": "[0.750, 0.850] partly by film",
        "known": "[0.750, 0.850]",
        "old": "[0.750, 0.850]",
    }
    write_rows(tmp_path / "results.json", every)
    write_report([tmp_path], tmp_path / "report.html", tables_folder=tmp_path / "tables")
    page = (tmp_path / "report.html").read_text()
    assert "Intervals on kaggle are by film, patients unknown: films of one person may lie in training and test" in page
    assert "Intervals on mixed are by patient, 3 of 9 films alone, patients unknown" in page
    assert "Intervals on known" not in page
    assert "[0.750, 0.850] by film" in (tmp_path / "tables" / "benchmarks.csv").read_text()


@pytest.fixture
def table() -> Table:
    quiet = Cell(text="+1.0", small="[-1, 3] not distinguishable", is_quiet=True)
    return Table(
        caption="n = 5 & more",
        header=("label_name", "50 %", "gain"),
        rows=((Cell(text="heading"),), (Cell(text="a|b"), Cell(text="0.9", is_best=True), quiet)),
    )


def test_tables_for_other_documents(table: Table, tmp_path) -> None:
    assert list(csv.reader(io.StringIO(to_csv(table)))) == [
        ["label_name", "50 %", "gain"],
        ["heading", "", ""],
        ["a|b", "0.9", "+1.0 [-1, 3] not distinguishable"],
    ]
    assert r"| a\|b | **0.9** | *+1.0 [-1, 3] not distinguishable* |" in to_markdown(table)
    latex = to_latex(table)
    assert r"label\_name & 50 \% & gain \\" in latex
    assert r"\textbf{0.9} & \textcolor{gray}{+1.0 {\scriptsize [-1, 3] not distinguishable}} \\" in latex
    assert r"n = 5 \& more" in latex
    write_tables([("one", table), ("none", Table(caption="", header=(), rows=()))], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.csv", "one.tex", "tables.md"]


def test_ablations_are_found_among_the_encoders_of_a_suite(tmp_path) -> None:
    common = {"protocol": "low-data", "fraction": 1.0}
    rows = [row(**common, encoder=name) for name in ("mae", "pacx", "labs-only", "random")]
    write_rows(tmp_path / "results.json", rows)
    write_report([tmp_path], tmp_path / "report.html", tables_folder=tmp_path / "tables")
    with (tmp_path / "tables" / "ablation.csv").open() as opened:
        assert next(csv.reader(opened)) == ["dataset", "metric", "MAE", "labs-only", "PaCX"]


def test_finished_runs_stand_side_by_side_with_what_differs(tmp_path) -> None:
    for name, rate, loss in (("one", 0.1, 1.5), ("two", 0.2, 1.25)):
        config = {"training": {"seed": 0, "learning_rate": rate}, "task": {"config": {"adaptation": {"rank": 8}}}}
        write_json(tmp_path / name / "config.json", {**config, "provenance": {"seed": 0, "commit": "abc"}})
        write_json(tmp_path / name / "summary.json", {"stage": "distill", "steps": 3, "validation": {"loss": loss}})
    metrics, settings = run_tables([read_run(tmp_path / name) for name in ("one", "two")])
    assert ["loss", "1.5", "1.25"] in texts(metrics)
    assert texts(settings) == [["training.learning_rate", "0.1", "0.2"]]
    write_report([tmp_path / "one", tmp_path / "two"], tmp_path / "report.html")
    assert "training.learning_rate" in (tmp_path / "report.html").read_text()


def test_audits_are_shown_as_they_stand() -> None:
    rows = Rows(
        rows=(
            row(protocol="audit: splits", subgroup="seen patients"),
            row(protocol="audit: splits", metric="ece"),
            row(
                protocol="audit: splits",
                encoder="a",
                contrast="b",
                metric="auroc_difference",
                value=0.1,
                ci_low=-0.1,
                ci_high=0.3,
            ),
        )
    )
    table = scrutiny.audit_table(rows)
    assert texts(table)[0] == ["splits"]
    assert texts(table)[1:] == [
        ["dense", "pacx", "auroc", "seen patients", "0.800"],
        ["dense", "a - b", "auroc", "", "+10.0"],
    ]
    assert "not distinguishable" in table.rows[2][-1].small
