"""Settings of ``regression.py``; imports no torch until the objective is made, so that help is instant."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pacx.objectives.config import ObjectiveConfig

if TYPE_CHECKING:
    from pacx.objectives.regression import RegressionObjective


@dataclass(frozen=True, kw_only=True)
class RegressionConfig(ObjectiveConfig):
    """The regression objective; the defaults are the paper's.

    Args:
        head_dropout: released code 0.2.
        use_head_layer_norm: released code True.

    Source: paper appendix A.1.2.
    """

    head_dropout: float = 0.0
    use_head_layer_norm: bool = False

    def build(self, image_dim: int, target_dims: Mapping[str, int], *, seed: int) -> "RegressionObjective":
        """Make the objective with one head per modality, from the image's width to the target's."""
        from pacx.objectives.regression import RegressionObjective

        return RegressionObjective(self, image_dim, target_dims, seed=seed)


OBJECTIVE = RegressionConfig()
