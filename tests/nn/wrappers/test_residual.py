from __future__ import annotations

import pytest
import torch

from recurra.errors import ShapeError
from recurra.nn.cells.gru import GRUCell
from recurra.nn.unroll import unroll
from recurra.nn.wrappers.residual import Residual


def test_the_input_is_added_to_the_output_and_the_state_left_alone() -> None:
    cell = GRUCell(4, 4)
    x = torch.randn(2, 5, 4)
    y, state = unroll(cell, x)
    got, after = unroll(Residual(cell), x)
    assert torch.equal(got, x + y) and torch.equal(after.h, state.h)
    step, _ = Residual(cell)(x[:, 0], cell.initial_state(2))
    torch.testing.assert_close(step, x[:, 0] + y[:, 0])


def test_sizes_must_agree() -> None:
    with pytest.raises(ShapeError, match="adds input to output, got 3 inputs and 4 outputs"):
        Residual(GRUCell(3, 4))
