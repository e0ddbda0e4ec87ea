"""Matrix products through oneDNN: torch's own linear layer is the oracle, forward and backward."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pacx.models import onednn

HERE = pytest.mark.skipif(not onednn.is_suitable(torch.zeros(1)), reason="torch would not use MKL on this machine")


def with_gradients(function, *tensors):
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    result = function(*leaves)
    (result * torch.linspace(-1, 1, result.numel()).view_as(result)).sum().backward()
    return [result.detach(), *(leaf.grad for leaf in leaves)]


@HERE
@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4)])
@pytest.mark.parametrize("has_bias", [True, False])
def test_value_and_gradients_are_torchs(shape, has_bias):
    generator = torch.Generator().manual_seed(1)
    tensors = [torch.randn(*shape, 24, generator=generator), torch.randn(10, 24, generator=generator)]
    tensors += [torch.randn(10, generator=generator)] if has_bias else []
    for ours, theirs in zip(with_gradients(onednn.linear, *tensors), with_gradients(F.linear, *tensors), strict=True):
        torch.testing.assert_close(ours, theirs)


@HERE
@pytest.mark.parametrize("has_avx512", [False, True])
@pytest.mark.parametrize("width", [24, 1500])  # of the latter the transposed weight is more than oneDNN packs well
def test_either_library_gives_torchs_value_and_gradients(has_avx512, width, monkeypatch):
    monkeypatch.setattr(onednn, "_has_avx512", lambda: has_avx512)
    generator = torch.Generator().manual_seed(1)
    shapes = ((2, 3, width), (800, width), (800,))
    tensors = [torch.randn(*shape, generator=generator) for shape in shapes]
    for ours, theirs in zip(with_gradients(onednn.linear, *tensors), with_gradients(F.linear, *tensors), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("rows", "of_rows", "of_weight"), [((8, 512), False, True), ((8, 3072), True, True)])
def test_with_avx2_alone_gradients_go_where_they_are_fast(rows, of_rows, of_weight, monkeypatch):
    """By shape and layout: the forward pass stays, a large transposed weight and every transposed left side go."""
    monkeypatch.setattr(onednn, "_has_avx512", lambda: False)
    below, weight, above = torch.zeros(rows), torch.zeros(768, rows[1]), torch.zeros(8, 768)
    assert not onednn._is_for_mkl(below, weight)
    assert onednn._is_for_mkl(above, weight.t()) == of_rows
    assert onednn._is_for_mkl(above.t(), below.t()) == of_weight
    monkeypatch.setattr(onednn, "_has_avx512", lambda: True)
    assert not onednn._is_for_mkl(above.t(), below.t())


@HERE
def test_what_needs_no_gradient_gets_none():
    rows, weight = torch.randn(4, 3), torch.randn(2, 3, requires_grad=True)
    onednn.linear(rows, weight).sum().backward()
    assert rows.grad is None
    torch.testing.assert_close(weight.grad, rows.sum(0).expand(2, 3))


def test_other_number_formats_take_torchs_path():
    rows, weight = torch.randn(4, 3, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
    assert not onednn.is_suitable(rows, weight)
    assert torch.equal(onednn.linear(rows, weight), F.linear(rows, weight))
    with torch.autocast("cpu", torch.bfloat16):
        assert onednn.linear(rows.float(), weight.float()).dtype == torch.bfloat16


def test_layers_keep_their_parameters_and_names():
    module = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2, bias=False))
    before = dict(module.named_parameters())
    onednn.use_onednn(module)
    assert [type(layer) for layer in module] == [onednn.OneDNNLinear, nn.GELU, onednn.OneDNNLinear]
    assert all(parameter is before[name] for name, parameter in module.named_parameters())
