"""A page whose every number is a row's, and the committed page is what the command makes of the committed rows."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pacx.core.errors import DataError, UsageError
from pacx.evaluation.old_rows import upgraded
from pacx.evaluation.results import ResultRow, read_rows, write_rows
from pacx.reporting.result_rows import Rows
from studies.gain_figure import draw_gains
from studies.page import main, results_page
from studies.simulated.bars import bar_table, bars
from studies.simulated.tables import DENSE
from studies.stepwise.cells import NOT_MEASURED

ROOT = Path(__file__).resolve().parents[3]
FILES = ("docs/results/simulated-hospital.json", "docs/results/illness.json", "docs/results/real-films.json")


def row(encoder: str, value: float, low: float, high: float, **changed: object) -> ResultRow:
    """A row of the study; in ``encoder`` a contrast, a share or a condition may be written as people write them."""
    metric = "share_of_gain" if "/" in encoder else "auroc_difference" if " - " in encoder else "auroc"
    told = upgraded(
        {
            "protocol": "study", "dataset": DENSE, "encoder": encoder, "label": "macro", "metric": metric,
            "value": value, "ci_low": low, "ci_high": high, "n": 77, "seed": 0, "fraction": 1.0,
            "provenance": "a command; commit abc; a chip; 3 Stage 2 seeds",
        }
    )  # fmt: skip
    return replace(ResultRow(**told), **changed)


ROWS = [
    row("mae", 0.7, 0.6, 0.8),
    row("pacx - mae", 0.031, 0.02, 0.04),
    row("pacx - mae-mean", 0.012, -0.001, 0.03),
    row("shuffled-pairs - mae", 0.004, -0.002, 0.01),
    row("shuffled-pairs / pacx", 0.3, 0.1, 0.5),
]


def test_the_committed_page_is_made_of_the_committed_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert Path("docs/results.md").read_text() == results_page([Path(file) for file in FILES], Path("docs/results.md"))


def test_the_gains_that_readme_names_stand_on_the_page() -> None:
    page, readme = (ROOT / "docs/results.md").read_text(), (ROOT / "README.md").read_text()
    gains = re.findall(r"[+-]\d+\.\d \[-?\d+\.\d, -?\d+\.\d\]", readme)
    assert len(gains) > 10
    assert [gain for gain in gains if gain not in page] == []


@pytest.mark.parametrize("file", FILES)
def test_committed_rows_say_where_they_come_from(file: str) -> None:
    rows = read_rows(ROOT / file)
    assert (ROOT / file).stat().st_size < 1_000_000
    assert not any("REHEARSAL" in each.provenance for each in rows)
    for word in ("python ", "commit ", "-dirty"):
        assert all((word in each.provenance) == (word != "-dirty") for each in rows), word


def test_a_text_is_filled_in_and_a_number_that_is_no_row_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "some.json"
    write_rows(file, ROWS)
    text = tmp_path / "some.md.j2"
    text.write_text(
        '{{ score(encoder="mae", metric="auroc") }} {{ difference("pacx", "mae", "auroc") }} '
        '{{ difference("shuffled-pairs", "mae", "auroc") }} {{ n(encoder="mae") }} {{ points("pacx", "mae", 1.0) }}'
    )
    page = results_page([file], Path("page.md"))
    assert ".700 [.600, .800] **+.031 [.020, .040]** +.004 [-.002, .010] *n. d.* 77 +3.1 [2.0, 4.0]" in page
    text.write_text('{{ score(encoder="nobody") }}')
    with pytest.raises(DataError, match=r"no row .*nobody"):
        results_page([file], Path("page.md"))
    text.write_text("{{ nothing_of_the_kind }}")
    with pytest.raises(DataError, match="cannot be filled in"):
        results_page([file], Path("page.md"))
    with pytest.raises(UsageError, match="does not exist"):
        results_page([tmp_path / "none.json"], Path("page.md"))


def verdicts(*rows: ResultRow) -> dict[str, list[str]]:
    """What each bar says at 1, 10 and 100 %, of those that say anything."""
    found = {bar.asked: [verdict.value if verdict else "" for verdict in bar.verdicts] for bar in bars(Rows(rows=rows))}
    return {asked: said for asked, said in found.items() if any(said)}


def test_bars_say_met_missed_and_open() -> None:
    assert verdicts(*ROWS) == {
        "PaCX over the MAE: at least +5 points at 1 %, +2.5 at 100 %, interval above 0": ["", "", "met"],
        "PaCX over the stronger of the MAE's poolings: interval above 0": ["", "", "MISSED"],
        "shuffled pairs keep at most a quarter of the gain": ["", "", "MISSED"],
    }
    assert set(bar_table(Rows(rows=())).rows[0][1:4:2]) == {NOT_MEASURED}


@pytest.mark.parametrize(
    ("share", "verdict"), [((0.1, -0.1, 0.2), "met"), ((0.2, -0.3, 0.4), "open"), ((0.3, 0.2, 0.4), "MISSED")]
)
def test_a_control_keeps_a_quarter_only_of_a_gain_that_is_there(share: tuple[float, ...], verdict: str) -> None:
    asked = "shuffled pairs keep at most a quarter of the gain"
    there, nowhere = row("pacx - mae", 0.031, 0.02, 0.04), row("pacx - mae", -0.05, -0.07, 0.01)
    kept = row("shuffled-pairs / pacx", *share)
    assert verdicts(there, kept)[asked] == ["", "", verdict]
    assert asked not in verdicts(nowhere, kept)


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [((0.001, -0.004, 0.006), "met"), ((0.05, -0.001, 0.1), "open"), ((0.02, 0.001, 0.04), "MISSED")],
)
def test_noise_does_not_pass_for_nothing(gain: tuple[float, ...], verdict: str) -> None:
    beyond = row("pacx (visibility 0) - shuffled-pairs (visibility 0)", *gain)
    assert list(verdicts(beyond).values()) == [["", "", verdict]]


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [((0.001, -0.004, 0.005), "met"), ((0.004, 0.0, 0.05), "open"), ((-0.02, -0.03, 0.0), "MISSED")],
)
def test_near_the_mae_is_an_interval_and_not_a_point(gain: tuple[float, ...], verdict: str) -> None:
    masks = row("pacx - mae", *gain, protocol="segmentation", dataset="simulated hospital", label="heart")
    assert verdicts(replace(masks, metric="iou_difference")) == {
        "heart: IoU within 0.5 points of the MAE": ["", "", verdict]
    }


def test_the_command_writes_page_and_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(tmp_path / "rows.json", ROWS)
    out, picture = tmp_path / "page.md", tmp_path / "gains.png"
    main([str(tmp_path / "rows.json"), "--out", str(out), "--picture", str(picture)])
    assert "page written to" in capsys.readouterr().out
    assert "a command; commit abc; a chip" in out.read_text()
    assert picture.read_bytes() == draw_gains(Rows(rows=tuple(ROWS)))
