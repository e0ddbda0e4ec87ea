"""What a physiological signal is to this project: recordings and a frozen encoder in, one embedding per sample out.

A modality is one file here that carries a ``MODALITY``; ``modalities()`` finds it, and ``pacx embed NAME`` offers it.
Distillation never hears of modalities: it takes frozen targets by name. Files that carry one never import each other,
and import what reads and embeds in ``open``, so that help is instant (docs/adr/0027).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pacx.core.discovery import Plugins, discover
from pacx.core.errors import UsageError
from pacx.modalities.targets import FrozenTargets

OptionsT = TypeVar("OptionsT")


@dataclass(frozen=True, kw_only=True)
class ModalityCard:
    """What a person has to know before using a modality.

    Args:
        name: as typed on the command line, and as targets and result rows carry it.
        title: in words.
        encoders: which encoders give its embedding, and how one gets them.
        source: where encoder and preparation come from.
        example: a call of ``pacx embed`` that works.

    Example:
        >>> from pacx.modalities import ModalityCard
        >>> card = ModalityCard(
        ...     name="gait", title="How a patient walks", encoders="ours", source="us", example="pacx embed gait"
        ... )
        >>> card.name
        'gait'
    """

    name: str
    title: str
    encoders: str
    source: str
    example: str


@dataclass(frozen=True, kw_only=True)
class EmbeddingSettings:
    """How embeddings are computed; nothing here changes a target's number.

    Args:
        device: where the encoder computes, in torch's spelling.
        num_workers: processes that prepare recordings side by side, at most: tables need no second one. 1 stays in
            this process.
        max_bad_fraction: share of samples that may be left out as unusable, in [0, 1].

    Raises:
        UsageError: there is no worker, or the share is outside [0, 1].

    Example:
        >>> from pacx.modalities import EmbeddingSettings
        >>> EmbeddingSettings(num_workers=2, max_bad_fraction=0.01).device
        'cpu'
    """

    device: str = "cpu"
    num_workers: int = 1
    max_bad_fraction: float = 0.0

    def __post_init__(self) -> None:
        if self.num_workers < 1:
            raise UsageError(f"num_workers is {self.num_workers}; give at least 1")
        if not 0 <= self.max_bad_fraction <= 1:
            raise UsageError(f"max_bad_fraction is {self.max_bad_fraction}; give a share in [0, 1]")


class EmbeddingJob(ABC):
    """An encoder and recordings that were opened and checked; nothing is embedded yet.

    Example:
        >>> import numpy as np
        >>> from pacx.modalities import EmbeddingJob, EmbeddingSettings, FrozenTargets
        >>> class GaitJob(EmbeddingJob):
        ...     fingerprint = "encoder-contract-recordings"
        ...     def run(self, settings):
        ...         return FrozenTargets("gait", ("a", "b"), np.eye(2, dtype=np.float32), self.fingerprint)
        >>> GaitJob().run(EmbeddingSettings()).embeddings.shape
        (2, 2)
    """

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of how the recordings were read, one sentence each."""
        return ()

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """``target_fingerprint`` of encoder, input contract and recordings: much cheaper than embedding."""

    @abstractmethod
    def run(self, settings: EmbeddingSettings) -> FrozenTargets:
        """Embed every sample; the same targets whatever the settings, except for what is left out as bad.

        Raises:
            DataError: more samples are unusable than allowed; the message names some and says why.
        """


class Modality(ABC, Generic[OptionsT]):
    """One physiological signal: how its encoder and recordings are opened, and what a user has to say for that.

    Example:
        A modality of somebody else; ``docs/adding/modality.md`` says how a package brings it along.

        >>> from dataclasses import dataclass
        >>> from pathlib import Path
        >>> from pacx.modalities import EmbeddingJob, FrozenTargets, Modality, ModalityCard
        >>> @dataclass(frozen=True, kw_only=True)
        ... class Place:
        ...     targets: Path
        >>> class Embedded(EmbeddingJob):
        ...     def __init__(self, targets):
        ...         self.targets = targets
        ...     @property
        ...     def fingerprint(self):
        ...         return self.targets.fingerprint
        ...     def run(self, settings):
        ...         return self.targets
        >>> class Again(Modality[Place]):
        ...     card = ModalityCard(name="again", title="What is embedded", encoders="-", source="-", example="-")
        ...     options_type = Place
        ...     def open(self, options):
        ...         return Embedded(FrozenTargets.open(options.targets))
        >>> Again().open(Place(targets=Path("runs/ecg/targets"))).fingerprint
        'ecg-untrained-simulated'
    """

    card: ModalityCard
    options_type: type[OptionsT]
    """The frozen dataclass of what a user says: which encoder, which recordings, how to read them."""

    @abstractmethod
    def open(self, options: OptionsT) -> EmbeddingJob:
        """Open encoder and recordings.

        Raises:
            UsageError: a path is not there.
            DataError: the recordings are not what they have to be.
            ModelError: the encoder is another one.
        """


def modalities() -> Plugins[Modality[Any]]:
    """Every modality by name: ours, and the entry points ``pacx.modalities`` of other packages."""
    # abstract classes are only compared with
    return discover("pacx.modalities", "MODALITY", Modality, group="pacx.modalities")  # type: ignore[type-abstract]  # plug-ins derive from it


def embed_once(
    job: EmbeddingJob, out: Path, settings: EmbeddingSettings, *, overwrite: bool = False
) -> tuple[FrozenTargets, bool]:
    """The targets in ``out``, embedded now if they are not there yet.

    Returns:
        The targets, memory-mapped, and whether they were embedded just now.

    Raises:
        DataError: ``out`` holds targets of another encoder, input contract or recordings, or altered ones.
        UsageError: ``out`` holds something that is no frozen targets.
    """
    if out.exists():
        if not (out / "embeddings.npy").is_file():
            raise UsageError(f"{out} is there and holds no frozen targets; choose another place")
        if not overwrite:
            return FrozenTargets.open(out, expected_fingerprint=job.fingerprint), False
    job.run(settings).save(out)
    return FrozenTargets.open(out, expected_fingerprint=job.fingerprint), True
