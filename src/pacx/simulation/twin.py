"""A twin: simulated patients in the layout, the names and the byte conventions of an official dataset.

A twin is one file in ``twins/`` that carries a ``TWIN``; ``twins()`` finds it. It shares no code with the adapter that
reads the layout: it is written from the dataset's description alone, so that the two check each other. ``twin.json``
beside the files says that nobody in it ever lived, and how often what occurs, in the words of
``pacx.data.checks.record_counts``.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pacx.core.artifacts import staged_directory, write_json
from pacx.core.discovery import Plugins, discover
from pacx.core.errors import UsageError
from pacx.core.twin_file import TWIN_FILE
from pacx.simulation.patients.sites import CohortConfig


@dataclass(frozen=True, kw_only=True)
class TwinConfig(CohortConfig):
    """How large a twin is, and which world it is drawn from.

    Args:
        num_patients: at least 1.
        seed: of everything; same seed, same bytes.
        image_size_px: side of a film, where the dataset prescribes none.
        site: whose patients, scanner and habits.
        visibility: how strongly a film shows each mechanism; 0 not at all, 1 as in life.
        ecg_format: for a dataset with ECGs, a format of ``signals/ecg_files`` in which each is written as a cart would,
            besides what the dataset holds; "" = in none.

    Raises:
        UsageError: there is no patient.

    Example:
        >>> from pacx.simulation import TwinConfig
        >>> config = TwinConfig(num_patients=10, seed=1)
        >>> config.image_size_px, config.site.name
        (64, 'university')
    """

    num_patients: int = 48
    ecg_format: str = ""

    def __post_init__(self) -> None:
        if self.num_patients < 1:
            raise UsageError(f"a twin of {self.num_patients} patients cannot be written; give at least 1")


class Twin(ABC):
    """One dataset's official layout, written for simulated patients.

    Example:
        A twin of a dataset that has no pixel; ``docs/adding/dataset.md`` says how one is added.

        >>> from pathlib import Path
        >>> from pacx.simulation import Twin, TwinConfig, write_twin
        >>> class SpaTwin(Twin):
        ...     name = "spa"
        ...     def write(self, root, config):
        ...         (root / "guests.csv").write_text(" ".join(f"guest{k}" for k in range(config.num_patients)))
        ...         return {"patients": config.num_patients}
        >>> write_twin(SpaTwin(), Path("twins/spa"), TwinConfig(num_patients=3))
        >>> sorted(path.name for path in Path("twins/spa").iterdir())
        ['guests.csv', 'twin.json']
    """

    name: str
    """The name of the adapter that reads the layout."""
    has_ecgs: bool = False
    """Whether it can write each ECG as a file of its own."""

    @abstractmethod
    def write(self, root: Path, config: TwinConfig) -> Mapping[str, int]:
        """Fill an empty folder as the makers ship it.

        Args:
            root: the folder; only this is written to.
            config: patients, seed, site and size of the films.

        Returns:
            how often what occurs among what was written, in the words of
            ``pacx.data.checks.record_counts`` ("films", "films:train", "present:Edema" ...), counted while writing.
        """


def twins() -> Plugins[Twin]:
    """Every twin there is, by name."""
    return discover("pacx.simulation.twins", "TWIN", Twin)  # type: ignore[type-abstract]  # only compared with


def write_twin(twin: Twin, root: Path, config: TwinConfig) -> None:
    """Write a twin with its ``twin.json``, whole or not at all.

    Args:
        twin: the dataset's.
        root: the folder to write, new or empty.
        config: how large it is.

    Raises:
        UsageError: ``root`` exists and is not empty, or the dataset has no ECGs to be written in a format.
        ArtifactError: it could not be written; nothing is left behind.

    Example:
        >>> from pathlib import Path
        >>> from pacx.simulation import TwinConfig, write_twin
        >>> from pacx.simulation.twin import twins
        >>> write_twin(twins()["nih14"], Path("twins/nih14"), TwinConfig(num_patients=4))
        >>> Path("twins/nih14/Data_Entry_2017.csv").is_file()
        True
    """
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UsageError(f"{root} exists and is not empty; give a new folder for the twin of {twin.name}")
    if config.ecg_format and not twin.has_ecgs:
        raise UsageError(f"the twin of {twin.name} has no ECGs; leave the ECG format out")
    with staged_directory(root) as partial:
        counts = twin.write(partial, config)
        about = {"simulated": True, "dataset": twin.name, "config": asdict(config), "counts": dict(counts)}
        write_json(partial / TWIN_FILE, about)
