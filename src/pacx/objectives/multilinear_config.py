"""Settings of ``multilinear.py``; imports no torch until the objective is made, so that help is instant."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pacx.objectives.config import ObjectiveConfig

if TYPE_CHECKING:
    from pacx.objectives.multilinear import MultilinearObjective


@dataclass(frozen=True, kw_only=True)
class MultilinearConfig(ObjectiveConfig):
    """The multilinear objective.

    Args:
        shared_dim: width of the space all modalities are projected into.
        temperature: where the learnable temperature starts.
    """

    shared_dim: int = 256
    temperature: float = 0.07

    def build(self, image_dim: int, target_dims: Mapping[str, int], *, seed: int) -> "MultilinearObjective":
        """Make the objective with a projection into the shared space for the image and for each modality."""
        from pacx.objectives.multilinear import MultilinearObjective

        return MultilinearObjective(self, image_dim, target_dims, seed=seed)


OBJECTIVE = MultilinearConfig()
