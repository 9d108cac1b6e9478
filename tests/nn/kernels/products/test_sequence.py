from __future__ import annotations

import pytest
import torch

from recurra.nn.kernels.products.sequence import (
    linear_gradients,
    product_of_rows,
    product_over_rows,
)

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
SHAPES = pytest.mark.parametrize(
    ("N", "K", "M"), [(1, 1, 1), (5, 3, 40), (97, 33, 31), (193, 7, 64), (400, 64, 5), (0, 3, 4)]
)


@SHAPES
@DTYPES
def test_product_of_rows(N: int, K: int, M: int, dtype: torch.dtype) -> None:
    x, weight, bias = (torch.randn(shape, dtype=dtype) for shape in ((N, K), (M, K), (M,)))
    torch.testing.assert_close(product_of_rows(x, weight), x @ weight.T)
    torch.testing.assert_close(product_of_rows(x, weight, bias), x @ weight.T + bias)
    turned = weight.T.contiguous().T
    torch.testing.assert_close(product_of_rows(x, turned), x @ weight.T)


@SHAPES
@DTYPES
def test_product_over_rows(N: int, K: int, M: int, dtype: torch.dtype) -> None:
    left, right = torch.randn(N, M, dtype=dtype), torch.randn(N, K, dtype=dtype)
    close = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {}
    got = product_over_rows(left, right)
    torch.testing.assert_close(got, left.T @ right, **close)
    assert got.is_contiguous()


@SHAPES
@DTYPES
def test_linear_gradients(N: int, K: int, M: int, dtype: torch.dtype) -> None:
    x = torch.randn(N, K, dtype=dtype)
    weight, bias = (torch.randn(s, dtype=dtype, requires_grad=True) for s in ((M, K), (M,)))
    d_y = torch.randn(N, M, dtype=dtype)
    expected = torch.autograd.grad(x @ weight.T + bias, (weight, bias), d_y)
    close = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {}
    torch.testing.assert_close(linear_gradients(d_y, x), expected, **close)


def test_threads_change_rounding_alone() -> None:
    left, right = torch.randn(2, 500, 40, dtype=torch.float64)
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 4):
            torch.set_num_threads(count)
            results.append((product_over_rows(left, right), product_of_rows(left, right)))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-12, atol=1e-12)
