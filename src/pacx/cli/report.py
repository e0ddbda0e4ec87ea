"""``pacx report``: result rows and run folders to one page; certificates held against their files."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from pacx.cli.terminal import parse, say
from pacx.core.artifacts import staged_file
from pacx.core.errors import UsageError
from pacx.evaluation.results import read_rows
from pacx.reporting.gain_figure import draw_gains
from pacx.reporting.report import write_report
from pacx.reporting.results_page import write_results_page
from pacx.reporting.tables import read_all
from pacx.suite.verification import Depth, Verdict, verify


@dataclass(frozen=True, kw_only=True)
class ReportCall:
    """Turn results into one self-contained HTML page or a Markdown page, or check a certificate."""

    results: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """results.json files, folders that hold one (a demo's brings its curves and pictures), run folders to compare."""

    out: Path = Path("report.html")
    """The page to write."""

    tables: Path | None = None
    """A folder for the page's tables as Markdown, CSV and LaTeX."""

    markdown: Path | None = None
    """A Markdown page to write instead, from files of rows and the texts beside them (FILE.json and FILE.md.j2)."""

    picture: Path | None = None
    """With --markdown: a PNG of the gains of the study among the rows."""

    verify: Path | None = None
    """A certificate.json to hold against the packs, weights and results it speaks of; no page is written."""

    depth: Annotated[Depth, tyro.conf.EnumChoicesFromValues] = Depth.EMBEDDINGS
    """How much a verification computes again: bytes, what starts from kept embeddings, or everything."""


def _verify(path: Path, depth: Depth) -> None:
    checks = verify(path, depth=depth)
    for check in checks:
        say(f"{check.verdict.value:<12} {check.what}{': ' * bool(check.detail)}{check.detail}")
    count = {verdict: sum(check.verdict is verdict for check in checks) for verdict in Verdict}
    say(
        f"{path}: {count[Verdict.MATCHES]} checks match, {count[Verdict.DIFFERS]} differ, "
        f"{count[Verdict.NOT_CHECKED]} could not be made"
    )
    if count[Verdict.DIFFERS]:
        sys.exit(1)


def _write_markdown(files: Sequence[Path], out: Path, picture: Path | None) -> None:
    write_results_page(files, out)
    if picture is not None:
        with staged_file(picture) as partial:
            partial.write_bytes(draw_gains(read_all(read_rows(file) for file in files)))
    say(f"page written to {out}{f' and picture to {picture}' if picture else ''}")


def main(words: Sequence[str]) -> None:
    """Run the verb."""
    call = parse(
        ReportCall,
        words,
        verb="report",
        example="pacx report runs/demo --out report.html;  pacx report runs/distill runs/distill-tokens;  "
        "pacx report docs/results/simulated-hospital.json --markdown docs/results.md",
    )
    if call.verify is not None:
        _verify(call.verify, call.depth)
        return
    if not call.results:
        raise UsageError("nothing to report on; give results.json files or folders that hold one, or --verify")
    if call.markdown is not None:
        _write_markdown(call.results, call.markdown, call.picture)
        return
    write_report(call.results, call.out, tables_folder=call.tables)
    more = f", its tables to {call.tables}" if call.tables else ""
    say(f"report written to {call.out}{more}; open it in a browser")
