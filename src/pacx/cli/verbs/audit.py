"""``pacx audit``: what the paper leaves open, measured on a user's own packs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pacx.cli.terminal import choose, parse, say
from pacx.core.discovery import Plugins, discover_listed
from pacx.evaluation.results import write_rows

if TYPE_CHECKING:
    from pacx.audits.audit import Audit

_EXAMPLE = "pacx audit mask-ratio --labelled packs/nih14 --mae.pack packs/chexpert --out runs/audit/mask-ratio.json"


def all_audits() -> "Plugins[type[Audit]]":
    """Every audit by name, in the order of files and of their lists; only one asked for is opened."""
    return discover_listed("pacx.audits", "AUDITS", type)


def main(words: Sequence[str]) -> None:
    """Answer one question that the paper leaves open, on the packs that the words name."""
    audits = all_audits()
    name, rest = choose(words, "audit", audits.summaries, _EXAMPLE)
    kind = audits[name]
    audit = parse(kind, rest, verb=f"audit {name}", example=f"pacx audit {name} {kind.example}")
    findings = audit.run()
    write_rows(audit.out, findings.rows)
    say(findings.answer)
    say(f"{len(findings.rows)} result rows written to {audit.out}")
