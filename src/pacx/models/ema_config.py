"""Which decays a moving average of weights may have; imports no torch, so that help is instant."""

from pacx.core.errors import UsageError


def require_decay(decay: float) -> None:
    """Refuse a decay that averages nothing, or never moves.

    Raises:
        UsageError: it lies outside (0, 1).
    """
    if not 0 < decay < 1:
        raise UsageError(f"the moving average's decay is {decay}; give a number between 0 and 1, such as 0.999")
