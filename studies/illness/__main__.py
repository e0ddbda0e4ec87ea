"""Does Stage 2 teach what an illness is, or only how ill a patient is? Simulated patients, by numbers of pairs.

    python -m studies.illness                  two CPU cores
    python -m studies.illness --untrained      closed forms alone
    python -m studies.illness --rows-only      rows of what is done so far

Killed, the same command goes on. Ends in OUT/results.json, from which ``python -m studies.page`` makes the page.
"""

import tyro

from pacx.cli.terminal import explained, say
from studies.illness.study import IllnessConfig, run_study


def main(config: IllnessConfig) -> None:
    """Do what is missing and say where the rows are."""
    rows = run_study(config)
    say(f"{len(rows)} result rows written to {config.folders.out / 'results.json'}")


if __name__ == "__main__":
    asked = tyro.cli(IllnessConfig, description=__doc__)
    with explained():
        main(asked)
