"""What every recipe keeps to, over all that discovery finds."""

import pytest

from pacx.cli.main import main
from pacx.recipes.run import Run, all_recipes


@pytest.mark.parametrize("name", all_recipes())
def test_a_recipe_builds_and_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = all_recipes()[name]
    assert isinstance(recipe(), Run)
    assert recipe.__doc__
    assert recipe.__doc__.splitlines()[0].endswith((".", ")"))
    with pytest.raises(SystemExit) as stop:
        main(["train", name, "--help"])
    assert stop.value.code == 0
    assert f"pacx train {name}" in capsys.readouterr().out


def test_no_two_recipes_write_into_one_folder_by_default() -> None:
    folders = [recipe().out for recipe in all_recipes().values()]
    assert len(folders) == len(set(folders))
