from __future__ import annotations

import pytest
import torch
from torch import nn

from recurra.errors import ConfigError, ShapeError
from recurra.nn.cells.gru import GRUCell, GRUState
from recurra.nn.cells.lstm import LSTMCell, LSTMState
from recurra.nn.cells.rnn import RNNCell
from recurra.nn.unroll import unroll
from recurra.nn.wrappers.stack import Stack


def test_layers_of_any_width_and_kind() -> None:
    deep = Stack([LSTMCell(3, 8), GRUCell(8, 2), RNNCell(2, 5)])
    assert (deep.input_size, deep.output_size) == (3, 5)
    y, state = unroll(deep, torch.randn(2, 4, 3))
    assert y.shape == (2, 4, 5)
    assert [type(part).__name__ for part in state] == ["LSTMState", "GRUState", "RNNState"]


def test_each_layer_reads_the_one_below() -> None:
    below, above = LSTMCell(3, 8), GRUCell(8, 2)
    x = torch.randn(2, 4, 3)
    middle, state_below = unroll(below, x)
    expected, state_above = unroll(above, middle)
    y, (lower, upper) = unroll(Stack([below, above]), x)
    assert torch.equal(y, expected)
    assert torch.equal(lower.c, state_below.c) and torch.equal(upper.h, state_above.h)


def test_no_layers_are_refused() -> None:
    with pytest.raises(ConfigError, match="Stack: got no cells, expected at least one"):
        Stack([])


def test_widths_that_do_not_meet_are_refused() -> None:
    with pytest.raises(ShapeError, match="a layer with 8 outputs stands below one with 7 inputs"):
        Stack([LSTMCell(3, 8), LSTMCell(7, 2)])


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_torch_twins_of_three_layers(kind: str) -> None:
    cell = {"LSTM": LSTMCell, "GRU": GRUCell, "RNN": RNNCell}[kind]
    twin = getattr(nn, kind)(3, 4, num_layers=3, batch_first=True)
    deep = Stack([cell(3, 4), cell(4, 4), cell(4, 4)])
    deep.load_state_dict(
        {
            f"cells.{name[-1]}.{name[:-3]}": value  # weight_ih_l0 -> cells.0.weight_ih
            for name, value in twin.state_dict().items()
        }
    )
    x = torch.randn(2, 6, 3)
    h = torch.randn(3, 2, 4)
    if kind == "LSTM":
        c = torch.randn(3, 2, 4)
        expected, ends = twin(x, (h, c))
        y, state = unroll(deep, x, tuple(map(LSTMState, h, c)))
        torch.testing.assert_close(torch.stack([part.c for part in state]), ends[1])
    else:
        expected, *ends = twin(x, h)
        y, state = unroll(deep, x, tuple(type(cell(1, 1).initial_state())(each) for each in h))
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(torch.stack([part.h for part in state]), ends[0])
    assert isinstance(state[0], LSTMState) == (kind == "LSTM")
    assert isinstance(state[0], GRUState) == (kind == "GRU")
