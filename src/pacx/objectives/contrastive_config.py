"""Settings of ``contrastive.py``; imports no torch until the objective is made, so that help is instant."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pacx.objectives.config import ObjectiveConfig

if TYPE_CHECKING:
    from pacx.objectives.contrastive import ContrastiveObjective


@dataclass(frozen=True, kw_only=True)
class ContrastiveConfig(ObjectiveConfig):
    """The contrastive objective; the defaults are the paper's.

    Args:
        shared_dim: width of the shared space.
        temperature: where the temperature starts.
        learn_temperature: False holds it there, as the authors also tried.
        label_smoothing: share of the target distribution spread over the whole batch.
        head_dropout: released code 0.2.
        use_head_layer_norm: released code True.

    Source: paper appendix A.1.2.
    """

    shared_dim: int = 256
    temperature: float = 0.07
    learn_temperature: bool = True
    label_smoothing: float = 0.02
    head_dropout: float = 0.0
    use_head_layer_norm: bool = False

    def build(self, image_dim: int, target_dims: Mapping[str, int], *, seed: int) -> "ContrastiveObjective":
        """Make the objective with one projection head for the image and one per modality."""
        from pacx.objectives.contrastive import ContrastiveObjective

        return ContrastiveObjective(self, image_dim, target_dims, seed=seed)


OBJECTIVE = ContrastiveConfig()
