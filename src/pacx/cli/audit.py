"""``pacx audit``: what the paper leaves open, measured on a user's own packs."""

from collections.abc import Sequence

from pacx.cli.terminal import choose, parse, say
from pacx.evaluation.results import write_rows

_EXAMPLE = "pacx audit mask-ratio --labelled packs/nih14 --mae.pack packs/chexpert --out runs/audit/mask-ratio.json"


def main(words: Sequence[str]) -> None:
    """Run the verb."""
    from pacx.audits.audit import all_audits

    audits = all_audits()
    name, rest = choose(words, "audit", audits.summaries, _EXAMPLE)
    kind = audits[name]
    audit = parse(kind, rest, verb=f"audit {name}", example=f"pacx audit {name} {kind.example}")
    findings = audit.run()
    write_rows(audit.out, findings.rows)
    say(findings.answer)
    say(f"{len(findings.rows)} result rows written to {audit.out}")
