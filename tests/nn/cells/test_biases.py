from __future__ import annotations

import pytest
import torch

from recurra import unroll
from recurra.nn.cells import CELLS
from recurra.nn.cells.biases import ForgetGate, TwoBiases

TWO_BIASES = [name for name in CELLS if issubclass(CELLS[name], TwoBiases)]
FORGET_GATE = {
    "lstm": [0, 1, 0, 0],
    "coupled_lstm": [1, 0, 0],
    "layer_norm_lstm": [0, 1, 0, 0],
    "peephole_lstm": [0, 1, 0, 0],
    "projected_lstm": [0, 1, 0, 0],
}


def test_who_has_them() -> None:
    assert {"rnn", *FORGET_GATE} == set(TWO_BIASES)
    assert {name for name in CELLS if issubclass(CELLS[name], ForgetGate)} == set(FORGET_GATE)


@pytest.mark.parametrize("name", FORGET_GATE)
def test_a_forget_bias_moves_that_gate_alone(name: str) -> None:
    cell = CELLS[name](3, 4)
    before = cell.bias_ih.detach().clone()
    cell.add_forget_bias(2.0)
    moved = (cell.bias_ih.detach() - before).view(len(FORGET_GATE[name]), -1)
    expected = 2.0 * torch.tensor(FORGET_GATE[name])[:, None]
    torch.testing.assert_close(moved, expected.expand_as(moved))
    assert cell.bias_ih.requires_grad and cell.bias_ih.is_leaf


@pytest.mark.parametrize("name", FORGET_GATE)
def test_the_forget_bias_of_a_fresh_cell(name: str) -> None:
    cell, plain = CELLS[name](3, 4), CELLS[name](3, 4, forget_bias=0.0)
    for each in (cell, plain):
        each.reset_parameters(torch.Generator().manual_seed(2))
    added = (cell.bias_ih - plain.bias_ih).view(len(FORGET_GATE[name]), -1)
    expected = torch.tensor(FORGET_GATE[name], dtype=torch.float32)[:, None]
    torch.testing.assert_close(added, expected.expand_as(added))


@pytest.mark.parametrize("name", TWO_BIASES)
def test_a_held_second_bias_is_zero_and_not_learned(name: str) -> None:
    cell = CELLS[name](3, 4)
    cell.hold_bias_hh()
    assert not cell.bias_hh.any()
    unroll(cell, torch.randn(2, 5, 3))[0].sum().backward()
    assert cell.bias_hh.grad is None
    assert cell.bias_ih.grad is not None
    assert "bias_hh" in cell.state_dict()
