"""``pacx evaluate deletion`` and ``shortcut``: what an encoder's answer rests on; ``view``: a picture of embeddings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pacx.cli.evaluate_call import EvaluateCall, by_name, embedded
from pacx.cli.terminal import say
from pacx.data.packs.pack import Pack
from pacx.evaluation.alterations import usual_alterations
from pacx.evaluation.classification import ClassificationData
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.deletion import DeletionConfig, deletion
from pacx.evaluation.linear_heads import ProbeConfig
from pacx.evaluation.results import ResultRow
from pacx.evaluation.shortcuts import shortcuts
from pacx.models.encoders.by_name import NamedEncoder
from pacx.reporting.pictures import ask_probe, picture_deletion, picture_views


@dataclass(frozen=True, kw_only=True)
class DeletionCall(EvaluateCall):
    """Remove patches in the order of the attention rollout and see whether the probe's answer goes with them."""

    label: str = ""
    """The label whose probability is watched, on test films that have it; by default the cosine to the whole film."""

    deletion: DeletionConfig = field(default_factory=DeletionConfig)
    """How patches are removed."""

    probe: ProbeConfig = field(default_factory=ProbeConfig)
    """How the probes are trained."""

    headline = "deletion_gain"

    @property
    def chosen_seed(self) -> int:
        """Of the random order and the bootstrap."""
        return self.deletion.seed

    def rows(self, pack: Pack, encoders: Sequence[NamedEncoder], comparison: Comparison) -> list[ResultRow]:
        """Areas, and a picture of the curves beside the results."""
        question = None
        if self.label:
            data = ClassificationData.from_pack(pack, dataset=comparison.dataset)
            question = ask_probe(
                data,
                embedded(pack, encoders, comparison.device),
                self.label,
                config=self.probe,
                device=comparison.device,
            )
        rows, curves = deletion(
            pack,
            by_name(encoders),
            comparison,
            question=question,
            config=self.deletion,
        )
        picture_deletion(self.out.parent / "figures", curves, self.label or None, self.deletion, rows[0].n)
        say(f"curves drawn in {self.out.parent / 'figures'}")
        return rows


@dataclass(frozen=True, kw_only=True)
class ShortcutCall(EvaluateCall):
    """Score the probe on films whose anatomy is hidden, and age and sex alone beside it."""

    probe: ProbeConfig = field(default_factory=ProbeConfig)
    """How the probes are trained, on plain films."""

    headline = "auroc"

    @property
    def chosen_seed(self) -> int:
        """Of the probes."""
        return self.probe.seed

    def rows(self, pack: Pack, encoders: Sequence[NamedEncoder], comparison: Comparison) -> list[ResultRow]:
        """Every usual alteration; every mask of the pack is hidden once."""
        return shortcuts(
            pack,
            ClassificationData.from_pack(pack, dataset=comparison.dataset),
            by_name(encoders),
            usual_alterations(pack),
            comparison,
            config=self.probe,
        )


@dataclass(frozen=True, kw_only=True)
class ViewCall(EvaluateCall):
    """Draw each encoder's embeddings on their first two principal components, coloured by a label."""

    label: str
    """The label that colours the films."""

    headline = "explained_variance"

    @property
    def chosen_seed(self) -> int:
        """Nothing here is random."""
        return 0

    def rows(self, pack: Pack, encoders: Sequence[NamedEncoder], comparison: Comparison) -> list[ResultRow]:
        """The share of variance that the picture shows, per encoder."""
        folder = self.out.parent / "figures"
        rows = picture_views(folder, pack, embedded(pack, encoders, comparison.device), self.label, comparison)
        say(f"view drawn in {folder}")
        return rows


CALLS: Mapping[str, tuple[type[EvaluateCall], str]] = {
    "deletion": (DeletionCall, "patches removed in the order of the rollout: deletion and insertion areas"),
    "shortcut": (ShortcutCall, "the probe on border, hidden organs, blur; age and sex alone"),
    "view": (ViewCall, "a picture of the embeddings' first two principal components"),
}
