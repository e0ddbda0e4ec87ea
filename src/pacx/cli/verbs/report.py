"""``pacx report``: result rows and run folders to one page; certificates held against their files."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from pacx.cli.terminal import parse, say
from pacx.core.errors import UsageError, refuse_idle
from pacx.evaluation.results import results_file
from pacx.suite.verification import Depth, Verdict, verify


@dataclass(frozen=True, kw_only=True)
class ReportCall:
    """Turn results into one self-contained HTML page or check a certificate."""

    results: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """results.json files, folders that hold one (a demo's brings its curves and pictures), run folders to compare,
    folders of pairs that pacx data link made."""

    out: Path = Path("report.html")
    """The page to write."""

    tables: Path | None = None
    """A folder for the page's tables as Markdown, CSV and LaTeX."""

    as_released: bool = False
    """Show below each score of Table 1 how the paper's released code (torchmetrics) counts labels and masks that are
    absent."""

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


def main(words: Sequence[str]) -> None:
    """Write the page, or hold a certificate against its files."""
    call = parse(
        ReportCall,
        words,
        verb="report",
        example="pacx report runs/demo --out report.html;  pacx report runs/distill runs/distill-tokens",
    )
    if call.verify is not None:
        refuse_idle(call, ("results", "out", "tables", "as_released"), "a verification, which writes no page")
        _verify(call.verify, call.depth)
        return
    refuse_idle(call, ("depth",), "a report; it is of a verification (--verify)")
    if not call.results:
        raise UsageError("nothing to report on; give results.json files or folders that hold one, or --verify")
    for path in call.results:  # told before what draws a page is opened; whether a folder is a run, that knows
        if not path.is_dir():
            results_file(path)
    from pacx.reporting.report import write_report

    write_report(call.results, call.out, tables_folder=call.tables, as_released=call.as_released)
    more = f", its tables to {call.tables}" if call.tables else ""
    say(f"report written to {call.out}{more}; open it in a browser")
