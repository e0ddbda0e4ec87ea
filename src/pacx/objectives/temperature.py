"""The temperature of contrastive objectives: learnt as the logarithm of its inverse, kept within bounds."""

import math

import torch
from torch import Tensor

SMALLEST_SCALE, LARGEST_SCALE = 1.0, 100.0
"""Bounds of the inverse temperature, applied in the forward pass."""


def log_scale_of(temperature: float) -> Tensor:
    """Where a learnable temperature starts: scalar, ln(1 / temperature)."""
    return torch.tensor(math.log(1 / temperature))


def bounded_scale(log_scale: Tensor) -> Tensor:
    """The inverse temperature, clamped to [1, 100]; no gradient beyond the bounds.

    Source: the authors' released code.
    """
    return log_scale.exp().clamp(SMALLEST_SCALE, LARGEST_SCALE)
