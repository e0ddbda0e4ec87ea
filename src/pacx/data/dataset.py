"""What a dataset adapter is: an official tree in, records out, and nothing else.

An adapter is one file in ``datasets/`` that carries a ``DATASET``; ``datasets()`` finds it. Adapters decode no image,
copy no file and decide no split that the dataset does not define itself.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Generic, TypeVar

from pacx.core.discovery import discover
from pacx.data.records import Records

OptionsT = TypeVar("OptionsT")


class Task(Enum):
    """What a dataset's labels ask of an encoder."""

    UNLABELLED = "unlabelled"
    BINARY = "binary"
    MULTICLASS = "multiclass"
    MULTILABEL = "multilabel"
    SEGMENTATION = "segmentation"
    ANY = "any"
    """It depends on the user's own files."""


@dataclass(frozen=True, kw_only=True)
class DatasetCard:
    """What a person has to know before using a dataset.

    Args:
        name: as typed on the command line.
        title: as its makers call it.
        task: what its labels ask.
        licence: under which terms it may be used.
        access: where it is had, and what has to be signed.
        citation: what to cite.
    """

    name: str
    title: str
    task: Task
    licence: str
    access: str
    citation: str


class Dataset(ABC, Generic[OptionsT]):
    """One dataset on disk, as its makers distribute it."""

    card: DatasetCard
    options_type: type[OptionsT]
    """The frozen dataclass of what a user may choose when reading it; its defaults read the official tree."""

    @abstractmethod
    def read(self, root: Path, options: OptionsT) -> Records:
        """Turn the tree below ``root`` into records.

        Raises:
            UsageError: the folder or a file named by the options is not there.
            DataError: the tree is not what the makers distribute; the message says what was expected.
        """


def datasets() -> Mapping[str, Dataset[Any]]:
    """Every dataset there is an adapter for, by name."""
    return discover("pacx.data.datasets", "DATASET", Dataset)  # type: ignore[type-abstract]
