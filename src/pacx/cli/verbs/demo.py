"""``pacx demo``: the whole method on a simulated hospital."""

from collections.abc import Sequence

from pacx.cli.terminal import parse, say
from pacx.demo.demo import DemoConfig, run_demo


def main(words: Sequence[str]) -> None:
    """Run the whole method on a simulated hospital, or go on with it."""
    config = parse(DemoConfig, words, verb="demo", example="pacx demo --out runs/demo")
    elapsed_s = run_demo(config)
    say(
        f"finished in {elapsed_s / 60:.1f} minutes; open {config.out / 'report.html'} in a browser "
        f"(rows: {config.out / 'results.json'}, encoder: {config.out / 'encoder'})"
    )
