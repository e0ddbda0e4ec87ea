"""What a probe still finds when the anatomy is hidden."""

from dataclasses import dataclass, field

from pacx.evaluation.comparison import Comparison
from pacx.evaluation.protocol import EncodedPack, Need, Outcome, Protocol
from pacx.evaluation.settings import ProbeConfig


@dataclass(frozen=True, kw_only=True)
class ShortcutSettings:
    """Score the probe on films whose anatomy is hidden, and age and sex alone beside it."""

    probe: ProbeConfig = field(default_factory=ProbeConfig)
    """How the probes are trained, on plain films."""


class Shortcut(Protocol[ShortcutSettings]):
    """``evaluation.evidence.shortcuts``: the probe on altered films, and age and sex alone."""

    name, headline = "shortcut", "auroc"
    summary = "the probe on border, hidden organs, blur; age and sex alone"
    settings = ShortcutSettings
    needs = (Need.SPLITS, Need.LABELS)
    runs_encoders = True

    def run(self, films: EncodedPack, settings: ShortcutSettings, comparison: Comparison) -> Outcome:
        """Rows of every usual alteration; every mask of the pack is hidden once."""
        from pacx.evaluation.evidence.alterations import usual_alterations
        from pacx.evaluation.evidence.shortcuts import shortcuts

        data, alterations = films.data(comparison.dataset), usual_alterations(films.pack)
        rows = shortcuts(films.pack, data, films.encoders, alterations, comparison, config=settings.probe)
        return Outcome(rows=rows)


PROTOCOL = Shortcut()
