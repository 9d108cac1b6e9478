from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recurra.errors import ResourceError
from recurra.nn.kernels.rows import by_rows


@given(st.integers(0, 20), st.integers(-1, 30))
def test_some_rows_at_a_time_are_all_rows(N: int, rows: int) -> None:
    x, y = torch.randn(N, 3), torch.randn(N)
    sizes: list[int] = []

    def function(x: Tensor, y: Tensor) -> Tensor:
        sizes.append(len(x))
        return x * y.unsqueeze(1)

    assert torch.equal(by_rows(function, rows, x, y), x * y.unsqueeze(1))
    assert sum(sizes) == N
    assert max(sizes) <= max(1, rows)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory")], ids=str)
def test_where_memory_is_short_fewer_rows_are_taken(error: Exception) -> None:
    sizes: list[int] = []

    def function(x: Tensor) -> Tensor:
        sizes.append(len(x))
        if len(x) > 3:
            raise error
        return x + 1

    x = torch.arange(10)
    assert torch.equal(by_rows(function, 100, x), x + 1)
    assert sizes == [10, 5, 3, 3, 3, 1]


def test_where_not_one_row_fits_it_says_so() -> None:
    def function(x: Tensor) -> Tensor:
        raise MemoryError

    with pytest.raises(ResourceError, match="out of memory while scoring a single token"):
        by_rows(function, 8, torch.arange(10))


def test_other_errors_pass() -> None:
    def function(x: Tensor) -> Tensor:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        by_rows(function, 8, torch.arange(10))
