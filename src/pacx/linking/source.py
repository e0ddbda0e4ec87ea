"""What a source is: a hospital's copy in, the tables that linking works on out, as SQL that reads them once.

A source is one file in ``sources/`` that carries a ``SOURCE``; ``sources()`` finds it, and ``pacx data link NAME``
offers it. It knows file names and columns of its kind of copy and no rule.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pacx.core.discovery import Plugins, discover
from pacx.linking.kinds import Table
from pacx.linking.raw_tables import Mapped

OptionsT = TypeVar("OptionsT")


@dataclass(frozen=True, kw_only=True)
class SourceCard:
    """What a person has to know before linking such a copy.

    Args:
        name: as typed on the command line.
        title: in words.
        example: a call that works.
    """

    name: str
    title: str
    example: str


@dataclass(frozen=True, kw_only=True)
class Hospital:
    """A hospital's tables, mapped to linking's and not read yet.

    Args:
        tables: those there are.
        items: what may be measured, in the order of the pairs' columns.
        film_root: the folder that paths of films are relative to.
        recording_root: the folder that paths of recordings are relative to; None where there are none.
    """

    tables: Mapping[Table, Mapped]
    items: tuple[str, ...]
    film_root: Path
    recording_root: Path | None = None


class Source(ABC, Generic[OptionsT]):
    """One kind of hospital copy."""

    card: SourceCard
    options_type: type[OptionsT]
    """The frozen dataclass of what a user says: where the copy is."""

    @abstractmethod
    def open(self, options: OptionsT) -> Hospital:
        """Find the tables and map their columns.

        Raises:
            UsageError: a folder is not there, or nothing could be linked.
            DataError: a table or a column is missing.
        """


def sources() -> Plugins[Source[Any]]:
    """Every kind of copy that can be linked, by name."""
    # abstract classes are only compared with
    return discover("pacx.linking.sources", "SOURCE", Source, group="pacx.sources")  # type: ignore[type-abstract]  # plug-ins derive from it
