"""The linear probe fitted to its optimum."""

from pacx.evaluation.comparison import Comparison
from pacx.evaluation.protocol import EncodedPack, Need, Outcome, Protocol
from pacx.evaluation.settings import LogisticConfig


class Logistic(Protocol[LogisticConfig]):
    """``evaluation.probes.logistic`` on all training labels."""

    name, summary, headline = "logistic", "the linear probe's optimum: logistic regression", "auroc"
    settings = LogisticConfig
    needs = (Need.SPLITS, Need.LABELS)

    def run(self, films: EncodedPack, settings: LogisticConfig, comparison: Comparison) -> Outcome:
        """Rows as those of the linear probe."""
        from pacx.evaluation.probes.logistic import logistic_regression

        data, features = films.data(comparison.dataset), films.features(comparison.device)
        return Outcome(rows=logistic_regression(data, features, comparison, config=settings))


PROTOCOL = Logistic()
