"""``pacx report``: result rows and run folders to one page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from pacx.cli.terminal import parse, say
from pacx.reporting.report import write_report


@dataclass(frozen=True, kw_only=True)
class ReportCall:
    """Turn results into one self-contained HTML page."""

    results: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """results.json files, or folders that hold one (a demo folder brings its curves and pictures along)."""

    out: Path = Path("report.html")
    """The page to write."""


def main(words: Sequence[str]) -> None:
    """Run the verb."""
    call = parse(ReportCall, words, verb="report", example="pacx report runs/demo --out report.html")
    write_report(call.results, call.out)
    say(f"report written to {call.out}; open it in a browser")
