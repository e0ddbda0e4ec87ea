"""What a recipe returns, and how recipes are found.

A recipe is a function without arguments that returns a complete, typed run; its name with hyphens is what the user
types after ``pacx train``. A file of recipes lists its functions in ``RECIPES``. What trains is
imported in ``run``, so that help is instant (docs/adr/0027).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING

from pacx.core.discovery import Plugins, discover_listed

if TYPE_CHECKING:
    from pacx.training.run_folder import TrainingSummary


class Run(ABC):
    """A configured run; its fields are the options of ``pacx train NAME``.

    Example:
        >>> from pacx.recipes import Run, recipe
        >>> run = recipe("mae-tiny")
        >>> isinstance(run, Run), run.out.as_posix()
        (True, 'runs/mae-tiny')
    """

    out: Path

    @abstractmethod
    def run(self) -> "TrainingSummary":
        """Train and write what the stage releases into ``out``."""


Recipe = Callable[[], Run]


def all_recipes() -> Plugins[Recipe]:
    """Every recipe by the name a user types, in the order of files and of their lists; only one asked for is opened."""
    return discover_listed("pacx.recipes", "RECIPES", FunctionType)


def recipe(name: str) -> Run:
    """The run of a recipe, with its defaults; ``dataclasses.replace`` changes fields, ``run`` trains.

    Args:
        name: as after ``pacx train``, such as ``mae``, ``mae-tiny`` or ``distill-tokens``.

    Returns:
        A run that says everything but which files it reads; ``pack``, ``encoder`` and their like are still to be set.

    Raises:
        UsageError: no recipe of this name; the sentence has the names that look like it.

    Example:
        >>> from dataclasses import replace
        >>> from pathlib import Path
        >>> from pacx.recipes import recipe
        >>> run = replace(recipe("mae"), pack=Path("packs/films"))
        >>> run.training.epochs, run.task.model.mask_ratio
        (400, 0.9)
    """
    return all_recipes().called(name, "recipe")()
