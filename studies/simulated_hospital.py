"""Does the method do what it claims? Everything that can be measured on simulated patients, with controls.

    python studies/simulated_hospital.py                       tiny: two CPU cores
    python studies/simulated_hospital.py --preset base --num-processes 1      ViT-B/16 at 224 pixels: one GPU

Killed, the same command goes on.
"""

import tyro

from pacx.cli.terminal import say
from pacx.recipes.study import StudyConfig, run_study


def main(config: StudyConfig) -> None:
    """Do what is missing and say where the rows are."""
    run_study(config)
    say(f"the draws of every step are in {config.folders.out / 'scores'}")


if __name__ == "__main__":
    main(tyro.cli(StudyConfig, description=__doc__))
