"""``pacx simulate NAME`` writes twins whole, says what they are, and ``all`` writes each into a folder of its own."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pacx.cli.verbs import simulate
from pacx.core.artifacts import read_json
from pacx.core.errors import UsageError
from pacx.core.twin_file import twin_counts
from pacx.simulation.cohort import film_chunks, patients_of
from pacx.simulation.twin import Twin, TwinConfig, twins


class Clinic(Twin):
    """One film per patient in one folder."""

    name = "clinic"

    def write(self, root: Path, config: TwinConfig) -> Mapping[str, int]:
        names = [f"c{row}" for row in range(config.num_patients)]
        for chunk in film_chunks(patients_of(names, config), names, np.arange(len(names)), config):
            for film, image in zip(chunk.film_ids, chunk.films.images, strict=True):
                Image.fromarray(image).save(root / f"{film}.png")
        return {"films": len(names), "patients": len(names)}


@pytest.fixture
def _two_twins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulate, "twins", lambda: {"clinic": Clinic(), "surgery": Clinic()})


@pytest.mark.usefixtures("_two_twins")
def test_a_twin_is_written_and_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "twin"
    simulate.main(["clinic", "--out", str(root), "--patients", "3", "--image-size-px", "32", "--seed", "5"])
    assert f"{root} holds a simulated twin of clinic; next: pacx data doctor clinic" in capsys.readouterr().out
    assert twin_counts(root) == {"films": 3, "patients": 3}
    about = read_json(root / "twin.json")
    assert about["simulated"]
    assert about["config"]["seed"] == 5
    with Image.open(root / "c0.png") as film:
        assert film.size == (32, 32)
    with pytest.raises(UsageError, match="exists and is not empty"):
        simulate.main(["clinic", "--out", str(root)])


@pytest.mark.usefixtures("_two_twins")
def test_all_writes_every_twin_beside_the_others(tmp_path: Path) -> None:
    simulate.main(["all", "--out", str(tmp_path / "twins"), "--patients", "2", "--image-size-px", "32"])
    assert sorted(path.name for path in (tmp_path / "twins").iterdir()) == ["clinic", "surgery"]
    assert twin_counts(tmp_path / "twins" / "surgery") == {"films": 2, "patients": 2}


@pytest.mark.parametrize("name", list(twins()))
def test_every_twin_there_is_can_be_written_by_name(name: str, tmp_path: Path) -> None:
    simulate.main([name, "--out", str(tmp_path / name), "--patients", "16", "--image-size-px", "32"])
    assert twin_counts(tmp_path / name)
