from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.nn.kernels.logarithm import log_add


def test_it_is_the_logarithm_of_the_sum() -> None:
    a = torch.tensor([0.0, 3.0, -1e4, 700.0, -3.0, 1e300], dtype=torch.float64)
    b = torch.tensor([0.0, -2.0, 5.0, 710.0, -3.0, -1e300], dtype=torch.float64)
    np.testing.assert_allclose(log_add(a, b), np.logaddexp(a.numpy(), b.numpy()), rtol=1e-14)


def test_its_derivatives_are_those_of_differences() -> None:
    a, b = (torch.randn(30, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(log_add, (a, b))
    assert torch.autograd.gradgradcheck(log_add, (a, b))


@pytest.mark.parametrize("far", [30.0, 1e4, 1e30])
def test_far_apart_all_derivatives_are_finite(far: float) -> None:
    for sign in (1, -1):
        a = torch.tensor(sign * far, requires_grad=True)
        b = torch.tensor(0.0, requires_grad=True)
        first = torch.autograd.grad(log_add(a, b), (a, b), create_graph=True)
        assert [d.item() for d in first] == (
            [1, pytest.approx(0)] if sign > 0 else [pytest.approx(0), 1]
        )
        second = torch.autograd.grad(sum(first), (a, b), create_graph=True)
        third = torch.autograd.grad(sum(second), (a, b))
        assert all(abs(d.item()) < 1e-9 for d in (*second, *third))
