"""Whether the rollout points at what the answer rests on."""

from dataclasses import dataclass, field

from pacx.evaluation.comparison import Comparison
from pacx.evaluation.protocol import EncodedPack, Need, Outcome, Protocol
from pacx.evaluation.settings import DeletionConfig, ProbeConfig


@dataclass(frozen=True, kw_only=True)
class DeletionSettings:
    """Remove patches in the order of the attention rollout and see whether the probe's answer goes with them."""

    label: str = ""
    """The label whose probability is watched, on test films that have it; by default the cosine to the whole film."""

    deletion: DeletionConfig = field(default_factory=DeletionConfig)
    """How patches are removed."""

    probe: ProbeConfig = field(default_factory=ProbeConfig)
    """How the probes are trained."""


class Deletion(Protocol[DeletionSettings]):
    """``evaluation.evidence.deletion`` with a linear probe as the question."""

    name, headline = "deletion", "deletion_gain"
    summary = "patches removed in the order of the rollout: deletion and insertion areas"
    settings = DeletionSettings
    needs = (Need.SPLITS, Need.LABELS, Need.ROLLOUT)
    runs_encoders = True
    example = "--label Effusion"

    def run(self, films: EncodedPack, settings: DeletionSettings, comparison: Comparison) -> Outcome:
        """Rows of all areas, and the curves."""
        from pacx.evaluation.evidence.deletion import DeletionCurves, ask_probe, deletion

        question, config = None, settings.deletion
        if settings.label:
            data, features = films.data(comparison.dataset), films.features(comparison.device)
            question = ask_probe(data, features, settings.label, config=settings.probe, device=comparison.device)
        rows, curves = deletion(films.pack, films.encoders, comparison, question=question, config=config)
        drawing = DeletionCurves(curves=curves, label=settings.label, config=config, num_films=rows[0].n)
        return Outcome(rows=rows, drawing=drawing)


PROTOCOL = Deletion()
