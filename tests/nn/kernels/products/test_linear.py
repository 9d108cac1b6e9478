from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from recurra.errors import ShapeError
from recurra.nn.kernels.products.linear import linear_of_steps, sequence_linear


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_torch_s_linear_forward_and_backward(dtype: torch.dtype, bias: bool) -> None:
    x, weight, added = (torch.randn(s, dtype=dtype) for s in ((3, 7, 40), (33, 40), (33,)))
    leaves = [leaf.requires_grad_() for leaf in (x, weight, added)[: 3 if bias else 2]]
    d_y = torch.randn(3, 33, 7, dtype=dtype).transpose(1, 2)
    got, expected = sequence_linear(*leaves), F.linear(*leaves)
    close = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {}
    torch.testing.assert_close(got, expected, **close)
    torch.testing.assert_close(
        torch.autograd.grad(got, leaves, d_y), torch.autograd.grad(expected, leaves, d_y), **close
    )


def test_of_steps_it_is_narrow_under_autocast() -> None:
    x, weight = torch.randn(2, 5, 8), torch.randn(6, 8)
    assert torch.equal(linear_of_steps(x, weight), sequence_linear(x, weight))
    with torch.autocast("cpu", torch.bfloat16):
        got, expected = linear_of_steps(x, weight), F.linear(x, weight)
    assert expected.dtype == torch.bfloat16 and got.dtype == torch.float32
    assert torch.equal(got, expected.float())


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"weight is \(M, K\) of torch.float32 where B = 2"):
        sequence_linear(torch.randn(2, 5, 8), torch.randn(6, 7))


@pytest.mark.parametrize("bias", [True, False])
def test_its_gradient_may_be_differentiated(bias: bool) -> None:
    shapes = ((2, 3, 4), (5, 4), (5,))[: 3 if bias else 2]
    leaves = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    assert torch.autograd.gradgradcheck(sequence_linear, leaves)
    d_y = torch.randn(2, 3, 5, dtype=torch.float64)
    y = sequence_linear(*leaves)
    once = torch.autograd.grad(y, leaves, d_y, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(y, leaves, d_y, create_graph=True), once)
