"""A picture of the embeddings."""

from dataclasses import dataclass

from pacx.evaluation.comparison import Comparison
from pacx.evaluation.protocol import EncodedPack, Need, Outcome, Protocol


@dataclass(frozen=True, kw_only=True)
class ViewSettings:
    """Draw each encoder's embeddings on their first two principal components, coloured by a label."""

    label: str = ""
    """The label that colours the films; by default the commonest of the test films."""


class View(Protocol[ViewSettings]):
    """``evaluation.evidence.embedding_view``: two components of every encoder's embeddings."""

    name, headline = "view", "explained_variance"
    summary = "a picture of the embeddings' first two principal components"
    settings = ViewSettings
    needs = (Need.SPLITS, Need.LABELS)
    example = "--label Effusion"

    def run(self, films: EncodedPack, settings: ViewSettings, comparison: Comparison) -> Outcome:
        """The share of variance that the picture shows, per encoder."""
        from pacx.evaluation.evidence.embedding_view import view_embeddings

        rows, views = view_embeddings(films.pack, films.features(comparison.device), settings.label, comparison)
        return Outcome(rows=rows, drawing=views)


PROTOCOL = View()
