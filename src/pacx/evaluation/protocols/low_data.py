"""Linear probes on shares of the training labels (the paper's Figure 3)."""

from dataclasses import dataclass, field

from pacx.evaluation.comparison import Comparison
from pacx.evaluation.protocol import EncodedPack, Need, Outcome, Protocol
from pacx.evaluation.settings import FRACTIONS, ProbeConfig


@dataclass(frozen=True, kw_only=True)
class LowDataSettings:
    """Train linear probes on 1, 10 and 100 % of the training labels, several subsets each."""

    probe: ProbeConfig = field(default_factory=ProbeConfig)
    """How the probes are trained; the defaults are the paper's."""

    fractions: tuple[float, ...] = FRACTIONS
    """Shares of the training films; smaller subsets lie inside larger ones."""


class LowData(Protocol[LowDataSettings]):
    """``evaluation.probes.low_data`` on shares of the training labels."""

    name, summary, headline = "low-data", "linear probe on 1, 10 and 100 % of the labels (Figure 3)", "auroc"
    settings = LowDataSettings
    needs = (Need.SPLITS, Need.LABELS)

    def run(self, films: EncodedPack, settings: LowDataSettings, comparison: Comparison) -> Outcome:
        """Rows of every share."""
        from pacx.evaluation.probes.low_data import low_data

        data, features = films.data(comparison.dataset), films.features(comparison.device)
        return Outcome(rows=low_data(data, features, comparison, config=settings.probe, fractions=settings.fractions))


PROTOCOL = LowData()
