"""Settings of ``regression.py``; imports no torch until the objective is made, so that help is instant."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pacx.core.errors import UsageError
from pacx.objectives.config import ObjectiveConfig

if TYPE_CHECKING:
    from pacx.objectives.regression import RegressionObjective


@dataclass(frozen=True, kw_only=True)
class RegressionConfig(ObjectiveConfig):
    """The regression objective; the defaults are the paper's.

    Args:
        head_dropout: released code 0.2.
        use_head_layer_norm: released code True.
        starts_in_closed_form: heads begin as the ridge from the training films' embeddings under the Stage 1 encoder to
            their targets, penalties by leaving patients out, and not at random.

    Raises:
        UsageError: heads with a norm behind them are to begin as a ridge, which has none.

    Source: paper appendix A.1.2.
    """

    head_dropout: float = 0.0
    use_head_layer_norm: bool = False
    starts_in_closed_form: bool = False

    def __post_init__(self) -> None:
        if self.starts_in_closed_form and self.use_head_layer_norm:
            raise UsageError(
                "regression: heads that start in closed form have no norm behind them; leave out one of "
                "starts_in_closed_form and use_head_layer_norm"
            )

    def build(self, image_dim: int, target_dims: Mapping[str, int], *, seed: int) -> "RegressionObjective":
        """Make the objective with one head per modality, from the image's width to the target's."""
        from pacx.objectives.regression import RegressionObjective

        return RegressionObjective(self, image_dim, target_dims, seed=seed)


OBJECTIVE = RegressionConfig()
