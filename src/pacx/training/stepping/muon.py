"""Muon: steps in which all directions of a weight matrix move alike.

`averaged gradient -> nearest half-orthogonal matrix -> step as large as AdamW's`. torch's own (2.9 and later)
multiplies in bfloat16 on every device. Processors without such arithmetic take thirty times as long for that as for 32
bits, in which they multiply here; elsewhere the steps are torch's, to the bit (ADR 0058).
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

_ITERATIONS = 5
# of a singular value s: a s + b s^3 + c s^5, steep at zero, and near 1 after five times (Jordan et al. 2024)
_A, _B, _C = 3.4445, -4.775, 2.0315
_SMALLEST_NORM = 1e-7  # a gradient of zeros stays one
_MOMENTUM = 0.95
_SIZE = 0.2  # root mean square of AdamW's steps over their rate, as Liu et al. 2025 measured it


def half_orthogonal(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """The matrix with its singular values near 1 (0.65 to 1.25) and its directions as they are.

    Args:
        matrix: (M, N). Directions weaker than some thousandth of its norm stay below that.
        dtype: what is multiplied in, and returned.

    Source: Jordan et al. 2024 (Muon), the quintic iteration of Newton and Schulz.
    """
    is_tall = matrix.shape[0] > matrix.shape[1]
    wide = (matrix.T if is_tall else matrix).to(dtype, copy=True)  # the products below are of the shorter side
    wide.div_(wide.norm().clamp(min=_SMALLEST_NORM))  # the iteration wants singular values of at most 1
    for _ in range(_ITERATIONS):
        squares = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(squares, squares, squares, beta=_B, alpha=_C), wide, beta=_A)
    return wide.T if is_tall else wide


class Muon(Optimizer):
    """Muon, for matrices alone, with decoupled decay.

    Args:
        groups: torch's groups of parameters; each has two axes.
        lr: the rate. A step's root mean square is about 0.2 of it, as AdamW's is, times the factor.
        factor: how much larger than AdamW's steps are; decay is not.

    Source: Jordan et al. 2024; the size of a step from Liu et al. 2025 (arXiv:2502.16982).
    """

    def __init__(self, groups: list[dict[str, Any]], *, lr: float, factor: float) -> None:
        super().__init__(groups, {"lr": lr, "momentum": _MOMENTUM, "factor": factor})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # torch overloads it; our loop gives no closure
        """Step every matrix that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            rate, momentum = group["lr"], group["momentum"]
            for matrix in group["params"]:
                gradient = matrix.grad
                if gradient is None:
                    continue
                state = self.state[matrix]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(gradient)
                average = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
                dtype = gradient.dtype if gradient.device.type == "cpu" else torch.bfloat16
                direction = half_orthogonal(gradient.lerp(average, momentum), dtype)  # Nesterov's momentum
                matrix.mul_(1 - rate * group["weight_decay"])
                # a half-orthogonal matrix has a mean square of 1 over its longer side
                matrix.add_(direction, alpha=-rate * group["factor"] * _SIZE * math.sqrt(max(matrix.shape)))
