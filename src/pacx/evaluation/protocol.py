"""What a protocol is: a name, its settings, what it needs of films and encoders, and the rows it ends in.

Every file of ``evaluation/protocols/`` carries one as ``PROTOCOL``. The command line, ``evaluate all``, what it leaves
out and the report read that list and use its words. Nothing here, and nothing at the top of a plug-in, imports a heavy
library: help is shown at once, and what a protocol computes with is imported inside its ``run``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pacx.core.discovery import discover, like
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.results import ResultRow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pacx.data.packs.pack import Pack
    from pacx.evaluation.evidence.deletion import DeletionCurves
    from pacx.evaluation.evidence.embedding_view import EmbeddingViews
    from pacx.evaluation.probes.classification import ClassificationData
    from pacx.models.encoders.film_encoder import FilmEncoder

SettingsT = TypeVar("SettingsT")


class Need(Enum):
    """What a protocol may need of a pack and its encoders, in words."""

    SPLITS = "films in each of the splits train, val and test"
    LABELS = "labels"
    MASKS = "masks"
    ROLLOUT = "an encoder whose attention can be rolled out (a timm VisionTransformer with a class token)"


@dataclass(frozen=True, kw_only=True)
class EncodedPack:
    """A pack and the encoders that are asked about it.

    Args:
        pack: the films.
        encoders: by name; of a protocol that does not run them, their films may have another size than the pack's.
        folders: of those encoders that are folders of ours, into which heads can be kept.
        kept: embeddings of every film by encoder, where they have been made before; None = they are made when needed.

    Example:
        >>> import pacx
        >>> from pacx.data import Pack
        >>> from pacx.evaluation import EncodedPack
        >>> films = EncodedPack(pack=Pack.open("packs/films"), encoders={"mae": pacx.load_encoder("runs/mae/encoder")})
        >>> films.features("cpu")["mae"].shape[0] == len(films.pack)
        True
    """

    pack: "Pack"
    encoders: "Mapping[str, FilmEncoder]"
    folders: Mapping[str, Path] = field(default_factory=dict)
    kept: "Callable[[], Mapping[str, NDArray[np.float32]]] | None" = None

    def features(self, device: str) -> "Mapping[str, NDArray[np.float32]]":
        """Per encoder name float32 (N, D), row i for film i."""
        from pacx.evaluation.embeddings import embed_each

        if self.kept is not None:
            return self.kept()
        return dict(embed_each(self.encoders, self.pack, device=device))

    def data(self, dataset: str) -> "ClassificationData":
        """Labels and splits.

        Raises:
            DataError: there are none.
        """
        from pacx.evaluation.probes.classification import ClassificationData

        return ClassificationData.from_pack(self.pack, dataset=dataset)

    def has(self, need: Need) -> bool:
        """Whether pack and encoders meet a need."""
        from pacx.models.rollout import can_roll_out

        if need is Need.SPLITS:
            return all(len(self.pack.rows(split)) for split in ("train", "val", "test"))
        if need is Need.ROLLOUT:
            return any(map(can_roll_out, self.encoders.values()))
        return bool(self.pack.label_names if need is Need.LABELS else self.pack.mask_names)

    def not_kept(self, what: str) -> list[str]:
        """One sentence for each encoder that heads cannot be kept beside."""
        names = [name for name in self.encoders if name not in self.folders]
        return [f"{what} of {name} are not saved: it is no encoder folder of ours" for name in names]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a protocol ends in.

    Args:
        rows: its result rows.
        remarks: sentences for whoever called it.
        drawing: what can be drawn of it.

    Example:
        >>> from pathlib import Path
        >>> from pacx.evaluation import Outcome, read_rows
        >>> Outcome(rows=read_rows(Path("results.json")), remarks=("measured before",)).rows[0].protocol
        'linear-probe'
    """

    rows: Sequence[ResultRow]
    remarks: Sequence[str] = ()
    drawing: "DeletionCurves | EmbeddingViews | None" = None


class Protocol(ABC, Generic[SettingsT]):
    """A question put to frozen encoders.

    Attributes:
        name: as typed and as result rows carry it; the file's name with hyphens.
        summary: one line for a list.
        headline: the metric that a terminal and a report show first.
        settings: a frozen dataclass with defaults; its docstrings are the help. ``evaluate all`` fills in fields that
            it has under the same name (``probe``, ``decoder``, ``targets`` ...).
        needs: what it needs of a pack and its encoders.
        inputs: settings that name files without which it cannot be run.
        runs_encoders: whether it runs them; otherwise it starts from embeddings alone.
        example: options that a call needs, for the help.

    Example:
        A question that nobody asked yet; ``docs/adding/protocol.md`` says how it becomes a command.

        >>> from dataclasses import dataclass
        >>> from pacx.evaluation import Protocol
        >>> @dataclass(frozen=True, kw_only=True)
        ... class Settings:
        ...     seed: int = 0
        >>> class Width(Protocol[Settings]):
        ...     name, summary, headline = "width", "how wide an embedding is", "width"
        ...     settings = Settings
        ...     def run(self, films, settings, comparison):
        ...         return {name: array.shape[1] for name, array in films.features(comparison.device).items()}
        >>> Width().seed(Settings(seed=3))
        3
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    headline: ClassVar[str]
    settings: type[SettingsT]
    needs: ClassVar[tuple[Need, ...]] = (Need.SPLITS,)
    inputs: ClassVar[tuple[str, ...]] = ()
    runs_encoders: ClassVar[bool] = False
    example: ClassVar[str] = ""

    @abstractmethod
    def run(self, films: EncodedPack, settings: SettingsT, comparison: Comparison) -> Outcome:
        """Measure; rows carry the protocol's name.

        Args:
            films: the pack and the encoders asked about it; what ``needs`` says is there.
            settings: the protocol's own.
            comparison: baseline, draws, device, and what rows say.
        """

    def lacks(self, films: EncodedPack, settings: SettingsT) -> str:
        """What is missing to run it, in words; "" where nothing is."""
        missing = [f"--{name}" for name in self.inputs if not getattr(settings, name)]
        return ", ".join(missing + [need.value for need in self.needs if not films.has(need)])

    def fingerprints(self, _settings: SettingsT, /) -> list[str]:
        """What the files are that the settings name, so that rows of others are not taken for these."""
        return []

    def seed(self, settings: SettingsT) -> int:
        """The seed of everything random: the settings' own, or that of the first part that has one."""
        told: Any = settings
        parts = [told, *(getattr(told, each.name) for each in fields(told))]
        return next((part.seed for part in parts if hasattr(part, "seed")), 0)


def protocols() -> Mapping[str, Protocol[Any]]:
    """Every protocol by name: ours, and the entry points ``pacx.protocols`` of others that can be imported."""
    # abstract classes are only compared with
    found = discover("pacx.evaluation.protocols", "PROTOCOL", Protocol, group="pacx.protocols")  # type: ignore[type-abstract]  # plug-ins derive from it
    return found.usable()


def unknown_protocol(word: str, known: Sequence[str]) -> str:
    """One sentence about a word that is no protocol, with what was meant by it."""
    if word in _FORMER_NAMES:
        return f"'{word}' is called {_FORMER_NAMES[word]} now"
    return f"'{word}' is no protocol{like(word, known, cutoff=0.4) or '; there are ' + ', '.join(known)}"


_FORMER_NAMES = {"probe": "linear-probe", "segment": "segmentation", "align": "alignment", "rollout": "attention"}
"""Words of the command line of 0.1.0."""
