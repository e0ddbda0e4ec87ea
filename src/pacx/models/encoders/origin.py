"""What an encoder folder knows of its encoder, as data: where it came from, how it was trained, what was measured.

``origin.json`` lies beside the weights and goes where they go; the cards in Markdown are made from it for people.
Opening an encoder never needs it: folders from before there was one have none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pacx.core.artifacts import read_json, write_json
from pacx.core.typed_json import TypedJson

FILE = "origin.json"


@dataclass(frozen=True, kw_only=True)
class Origin(TypedJson, what=FILE):
    """What is known of an encoder; JSON values all the way down.

    Attributes:
        provenance: command, seed, commit and versions it was made with.
        training: the training configuration of its run; empty where it is not known.
        summary: how that run went, the parts of its ``summary.json`` that another machine would give as well.
        results: rows of ``results.json`` that name this encoder.
        format_version: of the file.
    """

    provenance: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    results: tuple[Mapping[str, Any], ...] = ()
    format_version: int = 1


def write_origin(folder: Path, origin: Origin) -> None:
    """Write ``origin.json`` into an encoder folder, in place of an older one."""
    write_json(folder / FILE, origin.to_json())


def read_origin(folder: Path) -> Origin | None:
    """Read what ``write_origin`` wrote; None where there is none.

    Raises:
        DataError: the file is damaged or of another version.
    """
    path = folder / FILE
    return Origin.from_json(read_json(path)) if path.is_file() else None
