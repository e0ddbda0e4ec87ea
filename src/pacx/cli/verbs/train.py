"""``pacx train``: run a recipe, with any field changed on the way."""

from collections.abc import Sequence

from pacx.cli.terminal import choose, parse, say
from pacx.core.errors import ModelError, UsageError
from pacx.recipes.run import all_recipes


def main(words: Sequence[str]) -> None:
    """Run a recipe with the fields that the words change."""
    recipes = all_recipes()
    name, rest = choose(
        words, "train", recipes.summaries, "pacx train mae-tiny --pack packs/films --training.epochs 10"
    )
    preset = recipes[name]()
    try:
        run = parse(
            type(preset),
            rest,
            verb=f"train {name}",
            example=f"pacx train {name} --help   lists every field; dots reach into groups, --training.seed 1",
            default=preset,
        )
    except ModelError as error:  # sizes that fit no model: here they come from the command line
        raise UsageError(str(error)) from error
    summary = run.run()
    shown = ", ".join(f"{metric} {value:.4g}" for metric, value in summary.validation.items())
    how = f"{summary.steps} steps in " * bool(summary.steps)  # what is fitted in closed form takes none
    say(f"{summary.stage}: {how}{summary.elapsed_s:.0f} s, {shown}; written to {run.out}")
    if summary.advice:
        say(f"{summary.stage}: {summary.advice}")
