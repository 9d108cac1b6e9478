from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from recurra.nn.cells import CELLS
from recurra.nn.cells.clockwork_rnn import ClockworkRNNCell
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell, LSTMState
from recurra.nn.cells.slstm import SLSTMCell
from recurra.nn.state import flatten
from recurra.nn.unroll import unroll, unroll_plain
from recurra.nn.wrappers.attention import Attention
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.mogrifier import Mogrifier
from recurra.nn.wrappers.reset import Reset
from recurra.nn.wrappers.stack import Stack
from recurra.nn.wrappers.trainable_state import TrainableState
from recurra.nn.wrappers.weight_drop import WeightDrop

RESET = torch.tensor([[False, False, True, False], [False, True, False, True]])


def moved(cell: TrainableState) -> TrainableState:
    """Return it with starts that are not zero."""
    for number, start in enumerate(cell.starts, 1):
        start.data += torch.linspace(0.1, 0.9, start.numel()).view_as(start) / number
    return cell


@pytest.mark.parametrize("how", [unroll, unroll_plain])
def test_it_starts_and_starts_again_where_it_has_learned_to(how: Any) -> None:
    inner = LSTMCell(3, 4).double()
    cell = moved(TrainableState(inner)).double()
    x = torch.randn(2, 4, 3, dtype=torch.float64)
    start = LSTMState(*(each.expand(2, 4).contiguous() for each in cell.starts))
    y, state = how(cell, x)
    expected, after = unroll(inner, x, start)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(flatten(state), flatten(after))
    y, _ = how(cell, x, reset=RESET)
    torch.testing.assert_close(y[0, 2:], unroll(inner, x[:1, 2:], LSTMState(*cell.starts))[0][0])
    gradients = torch.autograd.grad(y[0, 2:].sum(), list(cell.starts))
    assert all(gradient.abs().min() > 0 for gradient in gradients)


def test_it_begins_where_the_wrapped_one_begins() -> None:
    cell = TrainableState(Stack([TrainableState(GRUCell(3, 4)), GRUCell(4, 5)]))
    assert [tuple(start.shape) for start in cell.starts] == [(1, 4), (1, 5)]
    assert not any(start.any() for start in cell.starts)
    moved(cell).reset_parameters()
    assert not any(start.any() for start in cell.starts)
    assert len(list(cell.parameters())) == 3 + 4 + 4


@pytest.mark.parametrize(
    "make",
    [
        lambda: Stack([GRUCell(3, 4), LSTMCell(4, 4)]),
        lambda: Bidirectional(GRUCell(3, 2), LSTMCell(3, 2)),
        lambda: WeightDrop(LSTMCell(3, 4), 0.5),
        lambda: Stack([TrainableState(GRUCell(3, 4)), Mogrifier(LSTMCell(4, 4), 2)]),
    ],
    ids=["stack", "bidirectional", "weight drop", "inside"],
)
def test_resets_within_a_nest_go_to_the_outermost_start(make: Any) -> None:
    cell = moved(TrainableState(make())).double()
    x = torch.randn(2, 4, 3, dtype=torch.float64)

    def run(x: Any, **options: Any) -> Any:
        return unroll(cell, x, generator=torch.Generator().manual_seed(1), **options)[0]

    y = run(x, reset=RESET)
    for row, cuts in enumerate(([0, 2, 4], [0, 1, 3, 4])):
        for start, stop in pairwise(cuts):
            piece = run(x[row : row + 1, start:stop])
            torch.testing.assert_close(y[row : row + 1, start:stop], piece)


def test_a_reset_inside_goes_to_the_start_outside_step_by_step_too() -> None:
    cell = moved(TrainableState(Stack([Mogrifier(Reset(GRUCell(2, 3)), 1), Reset(GRUCell(2, 4))])))
    x = torch.randn(3, 6, 3)
    y, _ = unroll(cell, x)
    state = cell.initial_state(3)
    for t in range(6):
        step, state = cell(x[:, t], state)
        torch.testing.assert_close(step, y[:, t])


def test_a_state_whose_tensors_are_one_has_two_starts() -> None:
    cell = moved(TrainableState(LSTMCell(3, 4)))
    zero = torch.zeros(2, 4)
    x = torch.randn(2, 4, 3)
    y, _ = unroll(cell, x, LSTMState(zero, zero), reset=RESET)
    torch.testing.assert_close(y[0, 2:], unroll(cell, x[:1, 2:])[0][0])


@pytest.mark.parametrize("name", ["slstm", "rwkv", "mlstm", "lru", "qrnn", "clockwork_rnn"])
def test_every_start_is_reached_by_gradients(name: str) -> None:
    cell = TrainableState(CELLS[name](3, 4)).double()
    assert all(start.isfinite().all() for start in cell.starts)
    if name == "mlstm":  # whose n acts where what is read of it is above 1
        moved(cell).starts[1].data *= 50
    x = torch.randn(2, 3, 3, dtype=torch.float64)
    gradients = torch.autograd.grad(unroll(cell, x)[0].sin().sum(), [*cell.starts])
    assert all((gradient != 0).all() for gradient in gradients)


def test_a_memory_starts_as_if_of_the_weight_of_one_step() -> None:
    cell = TrainableState(SLSTMCell(3, 4))
    h, c, m = cell.initial_state(2)
    assert not h.any() and not c.any() and not m.any()
    cell.starts[2].data.fill_(-1e4)
    x = torch.randn(2, 5, 3)
    assert torch.equal(unroll(cell, x)[0], unroll(cell.inner(), x)[0])
    cell.reset_parameters()
    assert not cell.starts[2].any()


def test_what_counts_or_marks_is_not_learned() -> None:
    cell = TrainableState(ClockworkRNNCell(3, 4))
    assert [tuple(start.shape) for start in cell.starts] == [(1, 4)]
    cell = TrainableState(Stack([Attention(LSTMCell(3, 4)), GRUCell(4, 2)]))
    assert [tuple(start.shape) for start in cell.starts] == [(1, 4), (1, 4), (1, 2)]
    assert not cell.initial_state(2)[0].window.filled.any()
