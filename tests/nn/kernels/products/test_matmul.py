from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recurra.nn.kernels.products.matmul import ROWS, add_product, pack

KINDS = pytest.mark.parametrize("kind", [torch.float32, torch.float64])


@KINDS
@given(
    R=st.integers(0, 2 * ROWS + 3),
    K=st.integers(1, 40),
    N=st.integers(1, 70),
    seed=st.integers(0, 2**32),
)
def test_adds_the_product(kind: torch.dtype, R: int, K: int, N: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    x, weight, before = (
        torch.randn(*shape, generator=draw, dtype=kind) for shape in ((R, K), (N, K), (R, N))
    )
    out = before.clone()
    add_product(x.numpy(), pack(weight), out.numpy())
    exact = before.double() + x.double() @ weight.double().T
    torch.testing.assert_close(out.double(), exact, rtol=0, atol=K * torch.finfo(kind).eps * 50)


def test_rows_apart_in_memory_and_what_lies_between_is_left_alone() -> None:
    x, weight, out = torch.randn(5, 3, 7), torch.randn(33, 7), torch.zeros(5, 2, 40)
    add_product(x[:, 1].numpy(), pack(weight), out[:, 1, 3:36].numpy())
    torch.testing.assert_close(out[:, 1, 3:36], x[:, 1] @ weight.T)
    out[:, 1, 3:36] = 0
    assert not out.any()


@KINDS
def test_a_row_comes_out_the_same_whatever_is_beside_it(kind: torch.dtype) -> None:
    x, packed = torch.randn(ROWS + 2, 50, dtype=kind), pack(torch.randn(45, 50, dtype=kind))
    together = np.zeros((ROWS + 2, 45), packed.dtype)
    add_product(x.numpy(), packed, together)
    for row in range(ROWS + 2):
        alone = np.zeros((1, 45), packed.dtype)
        add_product(x[row : row + 1].numpy(), packed, alone)
        np.testing.assert_array_equal(alone[0], together[row])


def test_the_packing() -> None:
    weight = torch.arange(80.0).view(40, 2)
    packed = pack(weight)
    assert packed.shape == (2, 2, 32)
    np.testing.assert_array_equal(packed[1, :, 3], weight[35])
    assert not packed[1, :, 8:].any()
    assert pack(weight.double()).shape == (3, 2, 16)
