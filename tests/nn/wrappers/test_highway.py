from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.errors import ShapeError
from recurra.nn.cells.gru import GRUCell
from recurra.nn.unroll import unroll
from recurra.nn.wrappers.highway import Highway


def test_the_equation() -> None:
    inner = GRUCell(4, 4).double()
    cell = Highway(inner).double()
    x = torch.randn(2, 5, 4, dtype=torch.float64)
    f, after = unroll(inner, x)
    W, b = cell.weight.detach().numpy(), cell.bias.detach().numpy()
    t = 1 / (1 + np.exp(-(x.numpy() @ W.T + b)))
    y, state = unroll(cell, x)
    expected = t * f.detach().numpy() + (1 - t) * x.numpy()
    np.testing.assert_allclose(y.detach().numpy(), expected, atol=1e-12)
    assert torch.equal(state.h, after.h)


@pytest.mark.parametrize(("bias", "part"), [(-50.0, 0.0), (50.0, 1.0)])
def test_the_gate_bias_chooses_between_input_and_output(bias: float, part: float) -> None:
    inner = GRUCell(4, 4)
    x = torch.randn(2, 5, 4)
    y = unroll(Highway(inner, gate_bias=bias), x)[0]
    torch.testing.assert_close(y, torch.lerp(x, unroll(inner, x)[0], part))


def test_its_own_parameters_alone_are_drawn_anew() -> None:
    cell = Highway(GRUCell(4, 4))
    within = [p.clone() for p in cell.cells.parameters()]
    cell.reset_parameters(torch.Generator().manual_seed(1))
    first = cell.weight.clone()
    cell.reset_parameters(torch.Generator().manual_seed(1))
    assert torch.equal(cell.weight, first) and (cell.bias == -1).all()
    assert all(map(torch.equal, within, cell.cells.parameters()))
    assert "gate_bias=-1.0" in str(cell)


def test_sizes_must_agree() -> None:
    with pytest.raises(ShapeError, match="between input and output, got 3 inputs and 4 outputs"):
        Highway(GRUCell(3, 4))
