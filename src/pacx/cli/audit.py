"""``pacx audit``: what the paper leaves open, measured on a user's own packs."""

from collections.abc import Sequence

from pacx.audits.audit import all_audits
from pacx.cli.terminal import choose, parse, say
from pacx.evaluation.results import write_rows

_FIRST = "class-token"


def main(words: Sequence[str]) -> None:
    """Run the verb."""
    audits = all_audits()
    explained = {name: (audit.__doc__ or "").splitlines()[0] for name, audit in audits.items()}
    name, rest = choose(words, "audit", explained, f"pacx audit {_FIRST} {audits[_FIRST].example}")
    audit = parse(audits[name], rest, verb=f"audit {name}", example=f"pacx audit {name} {audits[name].example}")
    findings = audit.run()
    write_rows(audit.out, findings.rows)
    say(findings.answer)
    say(f"{len(findings.rows)} result rows written to {audit.out}")
