from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.errors import ConfigError, ShapeError
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell, LSTMState
from recurra.nn.unroll import plan, unroll
from recurra.nn.wrappers.mogrifier import Mogrifier
from recurra.nn.wrappers.residual import Residual
from recurra.nn.wrappers.stack import Stack


@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_the_equation(rounds: int, rank: int | None) -> None:
    inner = LSTMCell(3, 4).double()
    cell = Mogrifier(inner, rounds, rank).double()
    x = torch.randn(2, 3, dtype=torch.float64)
    state = LSTMState(*torch.randn(2, 2, 4, dtype=torch.float64))
    matrices = [matrix.detach().numpy() for matrix in cell.matrices]
    if rank:
        matrices = [left @ right for left, right in zip(matrices[::2], matrices[1::2])]
    xs, hs = {-1: x.numpy()}, {0: state.h.numpy()}
    for i in range(1, rounds + 1):  # the paper's counting
        if i % 2:
            h = hs[i - 1]
            xs[i] = 2 / (1 + np.exp(-h @ matrices[i - 1].T)) * xs[i - 2]
        else:
            hs[i] = 2 / (1 + np.exp(-xs[i - 1] @ matrices[i - 1].T)) * hs[i - 2]
    last_x, last_h = torch.from_numpy(xs[max(xs)]), torch.from_numpy(hs[max(hs)])
    expected, after = inner(last_x, LSTMState(last_h, state.c))
    y, got = cell(x, state)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(got, after)


def test_no_rounds_is_the_wrapped_recurrence_on_its_kernel() -> None:
    inner = LSTMCell(3, 4)
    cell = Mogrifier(inner, rounds=0)
    x = torch.randn(2, 5, 3)
    assert torch.equal(unroll(cell, x)[0], unroll(inner, x)[0])
    assert plan(cell).count("whole sequences at once") == 1


def test_what_runs_it() -> None:
    assert plan(Mogrifier(LSTMCell(3, 4))) == (
        "Mogrifier(3 -> 4): the compiled Mogrifier LSTM, whole sequences at once\n"
        "  LSTMCell(3 -> 4): within it"
    )
    watched = LSTMCell(3, 4)
    watched.register_forward_hook(lambda *_: None)
    for other in (GRUCell(3, 4), watched, LSTMCell(3, 4).half()):
        assert plan(Mogrifier(other).to(next(other.parameters()).dtype)).startswith(
            "Mogrifier(3 -> 4): the plain loop: input and hidden state gate each other before"
        )


def test_a_wrapper_whose_state_has_an_h_will_do() -> None:
    cell = Mogrifier(Residual(LSTMCell(4, 4)), rounds=2, rank=3)
    assert [tuple(matrix.shape) for matrix in cell.matrices] == [(4, 3), (3, 4)] * 2
    assert unroll(cell, torch.randn(2, 5, 4))[0].shape == (2, 5, 4)
    assert "rounds=2, rank=3" in str(cell)


def test_matrices_come_from_the_generator_alone() -> None:
    cell = Mogrifier(LSTMCell(3, 4))
    within = [p.clone() for p in cell.cells.parameters()]
    cell.reset_parameters(torch.Generator().manual_seed(1))
    first = [matrix.clone() for matrix in cell.matrices]
    cell.reset_parameters(torch.Generator().manual_seed(1))
    assert all(map(torch.equal, first, cell.matrices))
    assert all(map(torch.equal, within, cell.cells.parameters()))


def test_faults() -> None:
    with pytest.raises(ConfigError, match="rounds are at least 0, got -1"):
        Mogrifier(LSTMCell(3, 4), rounds=-1)
    with pytest.raises(ConfigError, match="a rank is at least 1, got 0"):
        Mogrifier(LSTMCell(3, 4), rank=0)
    with pytest.raises(ShapeError, match="that of Stack has none; wrap each layer by itself"):
        Mogrifier(Stack([LSTMCell(3, 4)]))
