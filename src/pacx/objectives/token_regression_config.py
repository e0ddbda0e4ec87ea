"""Settings of ``token_regression.py``; imports no torch until the objective is made, so that help is instant."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pacx.objectives.config import ObjectiveConfig

if TYPE_CHECKING:
    from pacx.objectives.token_regression import TokenRegressionObjective


@dataclass(frozen=True, kw_only=True)
class TokenRegressionConfig(ObjectiveConfig):
    """The token-level objective.

    Args:
        attention_dim: width of query and keys.
    """

    attention_dim: int = 64

    def build(self, image_dim: int, target_dims: Mapping[str, int], *, seed: int) -> "TokenRegressionObjective":
        """Make the objective with one reader of patch tokens per modality."""
        from pacx.objectives.token_regression import TokenRegressionObjective

        return TokenRegressionObjective(self, image_dim, target_dims, seed=seed)


OBJECTIVE = TokenRegressionConfig()
