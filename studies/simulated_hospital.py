"""Does the method do what it claims? Everything that can be measured on simulated patients, with controls.

    python -m studies.simulated_hospital                       tiny: two CPU cores
    python -m studies.simulated_hospital --preset base --num-processes 1      ViT-B/16 at 224 pixels: one GPU
    python -m studies.simulated_hospital --rows-only           rows of what is done so far

Killed, the same command goes on. Ends in OUT/results.json, from which ``python -m studies.page`` makes the page.
"""

import tyro

from pacx.cli.terminal import explained, say
from studies.simulated.study import StudyConfig, run_study


def main(config: StudyConfig) -> None:
    """Do what is missing and say where the rows are."""
    rows = run_study(config)
    say(f"{len(rows)} result rows written to {config.folders.out / 'results.json'}")


if __name__ == "__main__":
    asked = tyro.cli(StudyConfig, description=__doc__)
    with explained():
        main(asked)
