"""``pacx evaluate all``: every protocol on every pack, a certificate and a report."""

from collections.abc import Sequence

from pacx.cli.terminal import parse, say
from pacx.core.provenance import provenance
from pacx.evaluation.results import write_rows
from pacx.suite.config import SuiteConfig

_EXAMPLE = (
    "pacx evaluate all --packs packs/nih14 packs/vindr-cxr packs/qata-cov19 --encoders mae=runs/mae/encoder "
    "pacx=runs/distill/encoder random --baseline mae --trained-on packs/chexpert packs/symile --out runs/evaluation"
)


def main(words: Sequence[str]) -> None:
    """Run every protocol that the packs allow; write rows, certificate, pictures and the report."""
    config = parse(SuiteConfig, words, verb="evaluate all", example=_EXAMPLE)
    from pacx.reporting.report import write_report
    from pacx.suite.certificate import CERTIFICATE_FILE, certify
    from pacx.suite.pictures import draw_suite
    from pacx.suite.suite import Suite

    commit = provenance("pacx evaluate all", config.probe.seed).commit
    suite = Suite(config, f"pacx evaluate all, commit {commit}")
    rows = suite.run()
    for (dataset, protocol), missing in suite.left_out.items():
        say(f"left out: {protocol} on {dataset}, which lacks {missing}")
    write_rows(config.out / "results.json", rows)
    certificate = certify(suite, rows)
    certificate.write(config.out / CERTIFICATE_FILE)
    draw_suite(suite)
    for shared in certificate.shared:
        if shared.films or shared.patients:
            where = "its own train and val splits" if shared.learnt == shared.test else shared.learnt
            say(
                f"note: {shared.films} test films and {shared.patients} test patients of {shared.test} also occur in "
                f"{where}, which were learnt from"
            )
    for pack in certificate.packs:
        if pack.unknown_patients:
            say(f"note: {pack.unknown_patients} films of {pack.path} have no known patient; intervals: {pack.drawn_by}")
    write_report([config.out], config.out / "report.html", title="PaCX evaluation", tables_folder=config.out / "tables")
    say(
        f"{len(rows)} result rows, report.html and {CERTIFICATE_FILE} written to {config.out}; check them with "
        f"pacx report --verify {config.out / CERTIFICATE_FILE}"
    )
