"""Votes of the most similar training films: nothing is trained."""

from pacx.evaluation.comparison import Comparison
from pacx.evaluation.protocol import EncodedPack, Need, Outcome, Protocol
from pacx.evaluation.settings import NeighbourConfig


class NearestNeighbours(Protocol[NeighbourConfig]):
    """``evaluation.probes.neighbours`` on all training labels."""

    name, summary, headline = "knn", "votes of the most similar training films, nothing trained", "auroc"
    settings = NeighbourConfig
    needs = (Need.SPLITS, Need.LABELS)

    def run(self, films: EncodedPack, settings: NeighbourConfig, comparison: Comparison) -> Outcome:
        """Rows as those of the linear probe."""
        from pacx.evaluation.probes.neighbours import nearest_neighbours

        data, features = films.data(comparison.dataset), films.features(comparison.device)
        return Outcome(rows=nearest_neighbours(data, features, comparison, config=settings))


PROTOCOL = NearestNeighbours()
