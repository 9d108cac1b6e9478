from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recurra.machine import native_bfloat16
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.cells.rnn import RNNCell
from recurra.nn.kernels.autocast import autocast_dtype
from recurra.nn.unroll import plan, unroll

native = pytest.mark.skipif(
    not native_bfloat16(torch.device("cpu")), reason="this processor multiplies no bfloat16"
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_without_autocast_a_kernel_computes_in_what_it_is_given(dtype: torch.dtype) -> None:
    assert autocast_dtype(torch.zeros(1, dtype=dtype)) == dtype


def test_inside_autocast_float32_alone_is_narrowed() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert autocast_dtype(torch.zeros(1)) == torch.bfloat16
        assert autocast_dtype(torch.zeros(1).double()) == torch.float64
        with torch.autocast("cpu", enabled=False):
            assert autocast_dtype(torch.zeros(1)) == torch.float32


def run(cell: LSTMCell, x: Tensor, narrow: bool) -> tuple[Tensor, Tensor, Tensor]:
    with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
        y, state = unroll(cell, x)
    (gradient,) = torch.autograd.grad(y.square().sum() + state.c.sum(), cell.weight_hh)
    return y, state.c, gradient


@native
def test_an_lstm_inside_autocast_differs_by_rounding_alone() -> None:
    torch.manual_seed(1)
    cell, x = LSTMCell(20, 30), torch.randn(4, 15, 20)
    narrow, wide = run(cell, x, True), run(cell, x, False)
    for ours, theirs in zip(narrow, wide):
        assert ours.dtype == torch.float32
        assert not torch.equal(ours, theirs)
        torch.testing.assert_close(ours, theirs, rtol=0.03, atol=0.02 * theirs.abs().max().item())


@native
def test_plan_names_the_narrow_kernel_inside_autocast_alone() -> None:
    cell = LSTMCell(3, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert "oneDNN's LSTM in bfloat16, whole sequences" in plan(cell)
    assert "oneDNN's LSTM, whole sequences" in plan(cell)


@pytest.mark.parametrize("make", [GRUCell, RNNCell])
def test_kernels_that_gain_nothing_stay_in_float32(make: type[GRUCell] | type[RNNCell]) -> None:
    torch.manual_seed(1)
    cell, x = make(3, 4), torch.randn(2, 5, 3)
    with torch.autocast("cpu", torch.bfloat16):
        y, _ = unroll(cell, x)
    torch.testing.assert_close(y, unroll(cell, x)[0], rtol=0, atol=0)
