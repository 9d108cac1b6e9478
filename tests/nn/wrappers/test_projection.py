from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.errors import ShapeError
from recurra.nn.cells.gru import GRUCell
from recurra.nn.unroll import plan, unroll
from recurra.nn.wrappers.projection import Projection


@pytest.mark.parametrize("bias", [True, False])
def test_the_equation(bias: bool) -> None:
    inner = GRUCell(3, 4).double()
    cell = Projection(inner, 2, bias).double()
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    f, after = unroll(inner, x)
    expected = f.detach().numpy() @ cell.weight.detach().numpy().T
    if cell.bias is not None:
        expected = expected + cell.bias.detach().numpy()
    y, state = unroll(cell, x)
    np.testing.assert_allclose(y.detach().numpy(), expected, atol=1e-12)
    assert torch.equal(state.h, after.h)
    assert (cell.bias is not None) == bias


def test_sequences_pass_whole_and_padding_is_zero() -> None:
    cell = Projection(GRUCell(3, 4), 2)
    assert plan(cell).startswith("Projection(3 -> 2): around whole sequences")
    y, _ = unroll(cell, torch.randn(2, 5, 3), lengths=torch.tensor([5, 1]))
    assert not y[1, 1:].any() and y[1, 0].all()


def test_its_own_parameters_alone_are_drawn_anew() -> None:
    cell = Projection(GRUCell(3, 4), 2)
    within = [p.clone() for p in cell.cells.parameters()]
    cell.reset_parameters(torch.Generator().manual_seed(1))
    first = cell.weight.clone()
    cell.reset_parameters(torch.Generator().manual_seed(2))
    assert not torch.equal(cell.weight, first)
    cell.reset_parameters(torch.Generator().manual_seed(1))
    assert torch.equal(cell.weight, first) and first.abs().max() <= 0.5
    assert all(map(torch.equal, within, cell.cells.parameters()))


def test_an_output_has_a_size() -> None:
    with pytest.raises(ShapeError, match="output_size is at least 1, got 0"):
        Projection(GRUCell(3, 4), 0)
