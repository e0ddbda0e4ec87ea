"""A page whose every number is a row's, and the committed page is what the command makes of the committed rows."""

from dataclasses import replace
from pathlib import Path

import pytest

from pacx.cli.main import main
from pacx.core.errors import DataError, UsageError
from pacx.evaluation.results import ResultRow, read_rows, write_rows
from pacx.reporting.gain_figure import draw_gains
from pacx.reporting.results_page import results_page
from pacx.reporting.study_tables import DENSE, bars
from pacx.reporting.tables import Rows

ROOT = Path(__file__).resolve().parents[3]
FILES = ("docs/results/simulated-hospital.json", "docs/results/real-films.json")


def row(encoder: str, value: float, low: float, high: float, **changed: object) -> ResultRow:
    metric = "share_of_gain" if "/" in encoder else "auroc_difference" if " - " in encoder else "auroc"
    plain = ResultRow(
        protocol="study", dataset=DENSE, encoder=encoder, label="macro", metric=metric, value=value, ci_low=low,
        ci_high=high, n=77, seed=0, fraction=1.0, provenance="a command; commit abc; a chip; 3 Stage 2 seeds",
    )  # fmt: skip
    return replace(plain, **changed)


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


@pytest.mark.parametrize("file", FILES)
def test_committed_rows_say_where_they_come_from(file: str) -> None:
    rows = read_rows(ROOT / file)
    assert (ROOT / file).stat().st_size < 1_000_000
    assert not any("REHEARSAL" in each.provenance for each in rows)
    for word in ("python studies/", "commit ", "-dirty"):
        assert all((word in each.provenance) == (word != "-dirty") for each in rows), word


def test_a_text_is_filled_in_and_a_number_that_is_no_row_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "some.json"
    write_rows(file, ROWS)
    text = tmp_path / "some.md.j2"
    text.write_text(
        '{{ score(encoder="mae", metric="auroc") }} {{ difference("pacx", "mae", "auroc") }} '
        '{{ difference("shuffled-pairs", "mae", "auroc") }} {{ n(encoder="mae") }} {{ points("pacx - mae", 1.0) }}'
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


def test_bars_say_met_missed_and_not_measured() -> None:
    verdicts = {bar.asked: bar for bar in bars(Rows(rows=tuple(ROWS)))}
    found = {asked: bar.cells[2].text if bar.row else "not measured" for asked, bar in verdicts.items()}
    assert found.pop("PaCX over MAE, physiology-dense, 100 % of the labels: at least +2.5, interval above 0") == "met"
    stronger = "PaCX over the stronger of the MAE's poolings, 100 % of the labels: interval above 0"
    assert found.pop(stronger) == "MISSED"
    assert verdicts[stronger].row is ROWS[2]
    assert found.pop("shuffled pairs keep at most a quarter of the gain, 100 % of the labels") == "MISSED"
    assert set(found.values()) == {"not measured"}


def test_the_command_writes_page_and_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(tmp_path / "rows.json", ROWS)
    out, picture = tmp_path / "page.md", tmp_path / "gains.png"
    main(["report", str(tmp_path / "rows.json"), "--markdown", str(out), "--picture", str(picture)])
    assert "page written to" in capsys.readouterr().out
    assert "a command; commit abc; a chip" in out.read_text()
    assert picture.read_bytes() == draw_gains(Rows(rows=tuple(ROWS)))
