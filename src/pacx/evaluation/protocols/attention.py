"""Where the class token looks (the paper's Figure 4)."""

from dataclasses import dataclass

from pacx.evaluation.comparison import Comparison
from pacx.evaluation.protocol import EncodedPack, Need, Outcome, Protocol


@dataclass(frozen=True, kw_only=True)
class AttentionSettings:
    """Measure how much of the class token's attention rollout lies inside each mask of the test films."""

    seed: int = 0
    """Of the bootstrap."""


class Attention(Protocol[AttentionSettings]):
    """``evaluation.evidence.attention`` for every mask of a pack."""

    name, summary, headline = (
        "attention",
        "share of the attention rollout inside each mask (Figure 4)",
        "attention_share",
    )
    settings = AttentionSettings
    needs = (Need.SPLITS, Need.MASKS, Need.ROLLOUT)
    runs_encoders = True

    def run(self, films: EncodedPack, settings: AttentionSettings, comparison: Comparison) -> Outcome:
        """Rows of every mask."""
        from pacx.evaluation.evidence.attention import attention

        return Outcome(rows=attention(films.pack, films.encoders, comparison, seed=settings.seed))


PROTOCOL = Attention()
