from __future__ import annotations

import pytest
import torch

from recurra.errors import ShapeError
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.kernels.loops.mogrifier import mogrifier_sequence
from recurra.nn.unroll import unroll
from recurra.nn.wrappers.mogrifier import Mogrifier


def test_torch_compile_captures_it() -> None:
    torch._dynamo.reset()
    cell = Mogrifier(LSTMCell(3, 19), 5)
    x = torch.randn(2, 3, 3, requires_grad=True)
    whole = torch.compile(unroll, backend="aot_eager", fullgraph=True)
    got, expected = (
        [y, *end, *torch.autograd.grad(y.sin().sum() + end.c.sum(), [x, *cell.parameters()])]
        for y, end in (whole(cell, x), unroll(cell, x))
    )
    torch.testing.assert_close(got, expected)


def test_faults() -> None:
    zeros, square = torch.zeros, torch.zeros(2, 2)
    weights = zeros(8, 3), zeros(8, 2), zeros(8)
    with pytest.raises(ShapeError, match=r"matrices of 2 rounds are \[\(3, 2\), \(2, 3\)\], got"):
        mogrifier_sequence(zeros(2, 4, 3), (square, square), weights, [zeros(3, 2)] * 2, 2)
    with pytest.raises(ShapeError, match=r"c is \(B, H\) of torch.float32 where B = 2"):
        mogrifier_sequence(zeros(2, 4, 3), (square, zeros(2, 3)), weights, [zeros(3, 2)], 1)
