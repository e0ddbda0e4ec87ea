"""Fresh weights: drawn from a private stream, never from torch's global one.

A model built twice from one seed is the same model, and building it leaves every other random number of the process
where it was. It refuses to seed anything for longer than the ``with`` block.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn


@contextlib.contextmanager
def seeded_rng(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Let code that can only draw from torch's global generators draw from a private seed instead.

    The global state is put back when the block ends. torch's own ``manual_seed`` would seed every GPU, and for good.

    Args:
        seed: non-negative; mix labels in with ``pacx.core.randomness.seed_of``.
        device: where it draws besides the CPU; other devices' generators are not touched.
    """
    index = (device.index or 0) if device is not None and device.type == "cuda" else None
    with torch.random.fork_rng(devices=[] if index is None else [index]):
        torch.default_generator.manual_seed(seed)
        if index is not None:
            torch.cuda.default_generators[index].manual_seed(seed)
        yield


@torch.no_grad()
def initialize_transformer(module: nn.Module) -> None:
    """Initialize linear and norm layers as MAE does: Xavier-uniform weights, zero biases, unit norms.

    Source: He et al. 2021, "Masked Autoencoders Are Scalable Vision Learners", appendix A (following the JAX ViT).
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.LayerNorm):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)


@torch.no_grad()
def initialize_patch_projection(weight: Tensor) -> None:
    """Xavier-uniform for a patch convolution, seen as the linear layer it is: (D, C, p, p) as (D, C*p*p)."""
    nn.init.xavier_uniform_(weight.view(weight.shape[0], -1))
