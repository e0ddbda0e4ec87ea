"""What the settings of an objective are; imports no torch, so that help is instant."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pacx.core.discovery import Plugins, discover

if TYPE_CHECKING:
    from pacx.objectives.objective import Objective


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig(ABC):
    """The settings of one objective; each file's own configuration derives from it.

    Example:
        An objective of somebody else; ``docs/adding/objective.md`` says how a package brings it along.

        >>> from dataclasses import dataclass
        >>> from pacx.objectives import Objective, ObjectiveConfig
        >>> class Nothing(Objective):
        ...     def forward(self, films, targets):
        ...         raise NotImplementedError
        >>> @dataclass(frozen=True, kw_only=True)
        ... class NothingConfig(ObjectiveConfig):
        ...     weight: float = 1.0
        ...     def build(self, image_dim, target_dims, *, seed):
        ...         return Nothing()
        >>> NothingConfig().build(32, {"ecg": 8}, seed=0)
        Nothing()
    """

    @abstractmethod
    def build(self, image_dim: int, target_dims: Mapping[str, int], *, seed: int) -> "Objective":
        """Make the objective.

        Args:
            image_dim: width of the image embedding and of the patch tokens.
            target_dims: width of each modality's target.
            seed: fixes the initial heads; torch's global generator is left alone.

        Raises:
            UsageError: it has nothing to work with, such as no modality.
        """


def objectives() -> Plugins[ObjectiveConfig]:
    """Every objective by name, with its default settings: ours, and the entry points ``pacx.objectives`` of others."""
    # abstract classes are only compared with
    return discover("pacx.objectives", "OBJECTIVE", ObjectiveConfig, group="pacx.objectives")  # type: ignore[type-abstract]  # plug-ins derive from it
