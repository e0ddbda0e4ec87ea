"""Settings of ``whitening.py``; imports no torch, so that help is instant."""

from dataclasses import dataclass

from pacx.core.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class FilmWhitening:
    """Let every objective read the film's embedding through a fixed, shrunk whitening; what is released is unwhitened.

    Args:
        shrinkage: how much of the mean variance is added to every direction before it is divided out, above 0: near 0
            all directions count alike, far above 1 next to nothing is whitened. None lets the pairs choose: the value
            with which a ridge predicts the targets of left-out patients best.

    Raises:
        UsageError: the shrinkage is not above 0.
    """

    shrinkage: float | None = None

    def __post_init__(self) -> None:
        if self.shrinkage is not None and not 0 < self.shrinkage < float("inf"):
            raise UsageError(
                f"whitening: shrinkage is {self.shrinkage}; give a number above 0, or none to let the pairs choose"
            )
