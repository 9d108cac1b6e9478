from __future__ import annotations

from typing import Any

import pytest
import torch

from recurra.errors import ConfigError, ShapeError
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.unroll import plan, unroll, unroll_plain
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.reset import Reset
from recurra.nn.wrappers.reversed import Reversed
from recurra.nn.wrappers.stack import Stack
from recurra.nn.wrappers.zoneout import Zoneout

BOTH = pytest.mark.parametrize("how", [unroll, unroll_plain])


@BOTH
def test_it_is_the_cell_over_the_turned_sequence(how: Any) -> None:
    cell, x = LSTMCell(3, 4), torch.randn(2, 5, 3)
    y, state = how(Reversed(cell), x)
    expected, after = how(cell, x.flip(1))
    assert torch.equal(y, expected) and torch.equal(state.c, after.c)


@BOTH
def test_each_row_is_read_from_its_length(how: Any) -> None:
    cell, x = GRUCell(3, 4), torch.randn(3, 5, 3)
    y, state = how(Reversed(cell), x, lengths=[5, 3, 0])
    for row, length in enumerate([5, 3, 0]):
        expected, after = how(cell, x[row : row + 1, :length].flip(1))
        torch.testing.assert_close(y[row : row + 1, :length], expected)
        assert not y[row, length:].any()
        torch.testing.assert_close(state.h[row : row + 1], after.h)


def test_turned_again_it_is_the_backward_half_of_a_bidirectional() -> None:
    ahead, behind, x = GRUCell(3, 4), GRUCell(3, 4), torch.randn(2, 5, 3)
    both, _ = unroll(Bidirectional(ahead, behind), x, lengths=[5, 2])
    y, _ = unroll(Reversed(behind), x, lengths=[5, 2])
    torch.testing.assert_close(both[0, :, 4:], y[0].flip(0))
    torch.testing.assert_close(both[1, :2, 4:], y[1, :2].flip(0))


def test_twice_reversed_is_the_cell() -> None:
    cell, x = GRUCell(3, 4), torch.randn(2, 5, 3)
    torch.testing.assert_close(
        unroll(Reversed(Reversed(cell)), x, lengths=[4, 5]), unroll(cell, x, lengths=[4, 5])
    )


def test_kernels_run_within() -> None:
    assert plan(Reversed(LSTMCell(3, 4))).splitlines() == [
        "Reversed(3 -> 4): around whole sequences",
        "  LSTMCell(3 -> 4): oneDNN's LSTM, whole sequences at once",
    ]


def test_a_single_step_and_resets_around_it_are_refused() -> None:
    cell = Stack([Reversed(GRUCell(3, 4))])
    with pytest.raises(ShapeError, match=r"Reversed read the future, .* run whole sequences"):
        cell(torch.zeros(2, 3), cell.initial_state(2))
    reset = torch.zeros(2, 5, dtype=torch.bool)
    with pytest.raises(ShapeError, match=r"Reversed: .* run it without reset="):
        unroll(cell, torch.zeros(2, 5, 3), reset=reset)
    with pytest.raises(ConfigError, match=r"put it inside, Reversed\(Zoneout\(cell\), ...\)"):
        Zoneout(cell.inner(), hidden=0.5)


def test_resets_within_it_part_what_it_reads() -> None:
    inner, x = GRUCell(2, 4), torch.randn(1, 6, 3)
    x[..., 2] = torch.tensor([0.0, 0, 0, 1, 0, 0])  # read from the end: before the third step
    y, _ = unroll(Reversed(Reset(inner)), x)
    first, _ = unroll(inner, x[:, 4:, :2].flip(1))
    second, _ = unroll(inner, x[:, :4, :2].flip(1))
    torch.testing.assert_close(y, torch.cat([first, second], dim=1))
