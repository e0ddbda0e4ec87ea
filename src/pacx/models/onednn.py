"""Linear layers through oneDNN, where torch would otherwise hand 32-bit matrix products to MKL.

Same weights, same names, same function to the last bits of rounding; other hardware and other number formats take
torch's own path. MKL serves AMD processors with an older instruction set: on a Zen 5 core oneDNN multiplies 2.2 times
as fast (ADR 0010). With AVX2 alone oneDNN falls behind MKL in some products, which shape and layout tell (ADR 0050).
torch reaches oneDNN for 32-bit products only inside compiled inference graphs, through the operator used here, which is
why the backward pass is written out.
"""

from functools import cache
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LARGEST_TRANSPOSED = 2**20
"""Numbers of a transposed matrix up to which oneDNN's AVX2 kernels pack it well.

512 x 2048 at 1.0 to 1.06 times MKL's speed, 768 x 2304 at 0.91 and 768 x 3072 at 0.64 to 0.88, on a Zen 4 core with
AVX2 alone."""


@cache
def _has_avx512() -> bool:
    return "AVX512" in torch.backends.cpu.get_cpu_capability()


def _is_for_mkl(left: Tensor, right: Tensor) -> bool:
    """Whether MKL is the faster of the two: a function of shapes, layouts and processor, never of a clock.

    A transposed left side (gradients of weights) oneDNN would copy first.
    """
    if _has_avx512():
        return False
    return not left.is_contiguous() or (not right.is_contiguous() and right.numel() > _LARGEST_TRANSPOSED)


def product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """``left @ right.T + bias``: (..., K) and (N, K) give (..., N); for what ``is_suitable``."""
    if _is_for_mkl(left, right):
        return F.linear(left, right, bias)
    return torch.ops.mkldnn._linear_pointwise(left, right, bias, "none", [], "")


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: ANN401 - torch's type
        ctx.save_for_backward(rows, weight)
        return product(rows, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - torch's type
        rows, weight = ctx.saved_tensors
        above = grads[0].flatten(0, -2)  # (M, N)
        of_rows, of_weight, of_bias = ctx.needs_input_grad
        return (
            product(grads[0], weight.t()) if of_rows else None,
            product(above.t(), rows.flatten(0, -2).t()) if of_weight else None,
            above.sum(0) if of_bias else None,
        )


def is_suitable(*tensors: Tensor | None) -> bool:
    """Whether torch would multiply these with MKL: 32-bit floats on a CPU, outside of autocast and compiled graphs."""
    return (
        not torch.compiler.is_compiling()  # the compiler takes this operator with constant weights only
        and torch.backends.mkl.is_available()
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and not torch.is_autocast_enabled("cpu")
        and all(tensor is None or (tensor.device.type == "cpu" and tensor.dtype == torch.float32) for tensor in tensors)
    )


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``torch.nn.functional.linear``: (..., K) and (N, K) give (..., N)."""
    if is_suitable(rows, weight, bias):
        return cast("Tensor", _Linear.apply(rows, weight, bias))
    return F.linear(rows, weight, bias)


class _AdaptedProduct(torch.autograd.Function):
    """``rows @ (weight + scale * up @ down).T + bias`` with gradients of rows and of both factors."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's type
        rows: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        down: Tensor,
        up: Tensor,
        scale: float,
    ) -> Tensor:
        adapted = torch.addmm(weight, up, down, alpha=scale)  # (N, r) @ (r, K) into (N, K)
        ctx.save_for_backward(rows, adapted, down, up)
        ctx.scale = scale
        return product(rows, adapted, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - torch's type
        rows, adapted, down, up = ctx.saved_tensors
        below, above = rows.flatten(0, -2), grads[0].flatten(0, -2)  # (M, K), (M, N)
        of_rows = product(grads[0], adapted.t()) if ctx.needs_input_grad[0] else None
        inner = product(below, down)  # (M, r), what the adapter carries
        of_inner = product(above, up.t())  # (M, r), its gradient
        # thin side first: (r, M) @ (M, N) is several times as fast as its transpose (ADR 0051)
        of_up = product(inner.t(), above.t()).t() * ctx.scale  # (N, r)
        of_down = product(of_inner.t(), below.t()) * ctx.scale  # (r, K)
        return of_rows, None, None, of_down, of_up, None


def adapted_linear(rows: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float) -> Tensor:
    """``linear`` by ``weight + scale * up @ down``, whose factors alone get gradients; weight and bias are frozen.

    (..., K), (N, K), (N,), (r, K) and (N, r) give (..., N). The factors go into the weight before it is used: N x K
    sums instead of N for every row, and no thin products forward. Only where ``is_suitable``.
    """
    return cast("Tensor", _AdaptedProduct.apply(rows, weight, bias, down, up, scale))


class OneDNNLinear(nn.Linear):
    """``nn.Linear`` that multiplies with ``linear``; its state dict is that of the layer it replaces."""

    def forward(self, input: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        return linear(input, self.weight, self.bias)


def use_onednn(module: nn.Module) -> None:
    """Let every plain linear layer of ``module`` multiply with ``linear``; its parameters stay the same objects."""
    for layer in module.modules():
        if type(layer) is nn.Linear:
            layer.__class__ = OneDNNLinear
