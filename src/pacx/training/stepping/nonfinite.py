"""No optimiser step on a number that is none, without waiting for the device at every step.

`loss, gradient norm -> Guard -> optimiser`. The verdict stays on the device, where the fused AdamW reads it: from the
first bad step on, no step changes a weight or a moment. The host looks when it looks anyway.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer


@dataclass(frozen=True, kw_only=True)
class BadStep:
    """The first bad step since the last look, and what was seen there."""

    step: int
    loss: float
    gradient_norm: float


class Guard:
    """Watches the steps of one optimiser.

    Args:
        optimizer: its fused kernel skips the step while ``found_inf`` is 1, the hook that gradient scaling uses.
        device: where losses and norms live.
        is_scaled: a gradient scaler is at work, which skips steps whose gradients overflow: only the loss has to be a
            number, and ``look`` has to be called before each step, because that optimiser has no such hook.
    """

    def __init__(self, optimizer: Optimizer, device: torch.device, *, is_scaled: bool) -> None:
        self._is_scaled = is_scaled
        self._is_bad = torch.zeros((), device=device)
        self._seen = torch.full((3,), -1.0, dtype=torch.float64, device=device)  # step, loss, norm of the first bad one
        if not is_scaled:
            optimizer.found_inf = self._is_bad  # type: ignore[attr-defined]  # torch's own, undeclared

    def watch(self, step: int, loss: Tensor, gradient_norm: Tensor) -> None:
        """Judge a step before the optimiser takes it."""
        loss, norm = loss.detach().double(), gradient_norm.detach().double()
        watched = loss if self._is_scaled else loss + norm  # the sum is a number only if both are
        is_first = ~torch.isfinite(watched) & (self._is_bad == 0)
        here = torch.stack([torch.full_like(loss, step), loss, norm])
        self._seen.copy_(torch.where(is_first, here, self._seen))
        self._is_bad.masked_fill_(is_first, 1.0)

    def look(self) -> BadStep | None:
        """Wait for the device and read the verdict."""
        step, loss, norm = self._seen.tolist()
        return None if step < 0 else BadStep(step=int(step), loss=loss, gradient_norm=norm)


def looking_is_free(device: torch.device) -> bool:
    """Whether the host has the numbers anyway, so that a run can stop at the bad step itself."""
    return device.type == "cpu"
