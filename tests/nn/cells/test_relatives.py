from __future__ import annotations

import pytest
import torch

from recurra.nn.cells.base import Kernel
from recurra.nn.cells.coupled_lstm import CoupledLSTMCell, CoupledLSTMState
from recurra.nn.cells.relatives import relative_kernel


def test_the_kernel_does_what_the_cell_does() -> None:
    cell, x = CoupledLSTMCell(3, 4), torch.randn(2, 5, 3)
    kernel = relative_kernel(cell, x, "one gate less", "coupled")
    assert isinstance(kernel, Kernel)
    assert kernel.name == "the compiled LSTM with one gate less"
    state = cell.initial_state(2)
    y, after = kernel.run(x, state, None)
    assert type(after) is CoupledLSTMState
    for t in range(5):
        expected, state = cell(x[:, t], state)
        torch.testing.assert_close(y[:, t], expected)
    torch.testing.assert_close(after, state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_where_there_is_none_it_says_why(dtype: torch.dtype) -> None:
    found = relative_kernel(CoupledLSTMCell(3, 4), torch.zeros(1, dtype=dtype), "", "coupled")
    assert isinstance(found, str) and str(dtype).removeprefix("torch.") in found
