"""What every action of ``pacx evaluate`` is told, and what they do alike."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pacx.cli.terminal import say
from pacx.data.packs.pack import Pack
from pacx.evaluation.comparison import NUM_DRAWS, Comparison
from pacx.evaluation.embeddings import Alteration, embed_pack, unaltered
from pacx.evaluation.results import ResultRow
from pacx.models.device import AUTOMATIC
from pacx.models.encoders.by_name import NamedEncoder
from pacx.models.encoders.film_encoder import FilmEncoder


@dataclass(frozen=True, kw_only=True)
class EvaluateCall(ABC):
    """What every protocol is told."""

    pack: Path
    """A pack with train, val and test splits."""

    encoders: tuple[str, ...]
    """NAME=PLACE each, and the baselines random and imagenet; a place is a folder (ours, timm's or transformers'),
    timm:MODEL, timm:MODEL,CHECKPOINT or hf:MODEL, with #token or #mean behind it to choose what stands for the film."""

    out: Path
    """The results.json to write."""

    dataset: str = ""
    """The dataset's name in the rows; by default the pack folder's."""

    baseline: str | None = None
    """The encoder that paired differences are taken from."""

    num_draws: int = NUM_DRAWS
    """Bootstrap draws of patients."""

    device: str = AUTOMATIC
    """Where encoders and heads run (cpu, cuda, cuda:1); by default a GPU if there is one."""

    headline: ClassVar[str]
    """The metric that the terminal shows."""

    @property
    @abstractmethod
    def chosen_seed(self) -> int:
        """The seed of everything random in the protocol."""

    @abstractmethod
    def rows(self, pack: Pack, encoders: Sequence[NamedEncoder], comparison: Comparison) -> list[ResultRow]:
        """Run the protocol."""


def embedded(
    pack: Pack, encoders: Sequence[NamedEncoder], device: str, *, alter: Alteration = unaltered
) -> Mapping[str, NDArray[np.float32]]:
    """Every film's embedding, by encoder name."""
    return {encoder.name: embed_pack(encoder.encoder, pack, device=device, alter=alter) for encoder in encoders}


def by_name(encoders: Sequence[NamedEncoder]) -> Mapping[str, FilmEncoder]:
    """Encoders by the name their rows carry."""
    return {encoder.name: encoder.encoder for encoder in encoders}


def folders_for_heads(words: Sequence[str], what: str) -> dict[str, Path]:
    """Of encoders as a user names them, the folders of ours, into which heads can be saved; says which are none."""
    folders = {}
    for name, place in (word.split("=", 1) for word in words if "=" in word):
        if (Path(place) / "preprocessing.json").is_file():
            folders[name] = Path(place)
        else:
            say(f"{what} of {name} are not saved: {place} is no encoder folder of ours")
    return folders
