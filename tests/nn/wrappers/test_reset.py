from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from recurra.errors import ShapeError
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.state import detach, flatten
from recurra.nn.unroll import plan, unroll, unroll_plain
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.reset import Reset
from recurra.nn.wrappers.stack import Stack

MARKS = torch.tensor([[0, 0, 1, 0, 1], [1, 0, 0, 0, 0], [0, 0.5, 0.51, 0, 2]]).double()
ASKED = MARKS > 0.5


def inputs() -> tuple[Tensor, Tensor]:
    x = torch.randn(3, 5, 2, dtype=torch.float64)
    return x, torch.cat([x, MARKS.unsqueeze(2)], dim=2)


@pytest.mark.parametrize("lengths", [None, torch.tensor([5, 2, 3])], ids=["all", "lengths"])
@pytest.mark.parametrize("how", [unroll, unroll_plain])
def test_it_is_the_reset_of_unroll(how: Any, lengths: Tensor | None) -> None:
    x, marked = inputs()
    for inner in (
        LSTMCell(2, 4).double(),
        Stack([GRUCell(2, 3), LSTMCell(3, 4)]).double(),
        Bidirectional(GRUCell(2, 3), LSTMCell(2, 4)).double(),
    ):
        y, state = how(Reset(inner), marked, lengths=lengths)
        expected, after = unroll_plain(inner, x, reset=ASKED, lengths=lengths)
        torch.testing.assert_close(y, expected)
        torch.testing.assert_close(flatten(state), flatten(after))


def test_a_step_starts_anew() -> None:
    inner = LSTMCell(2, 4).double()
    _, marked = inputs()
    state = detach(unroll(inner, torch.randn(3, 5, 2).double())[1])
    y, after = Reset(inner)(marked[:, 2], state)
    kept, kept_after = inner(marked[:, 2, :2], state)
    anew, anew_after = inner(marked[:, 2, :2], inner.initial_state(3))
    for row, asked in enumerate([True, False, True]):
        assert torch.equal(y[row], anew[row] if asked else kept[row])
        assert torch.equal(after.c[row], (anew_after if asked else kept_after).c[row])


def test_both_kinds_of_reset_join() -> None:
    x, marked = inputs()
    inner = GRUCell(2, 4).double()
    other = torch.zeros(3, 5, dtype=torch.bool)
    other[:, 3] = True
    y, _ = unroll(Reset(inner), marked, reset=other)
    torch.testing.assert_close(y, unroll(inner, x, reset=ASKED | other)[0])


def test_the_reset_of_one_layer_is_not_that_of_the_next() -> None:
    x, marked = inputs()
    lower, upper = GRUCell(2, 3).double(), GRUCell(3, 4).double()
    y, _ = unroll(Stack([Reset(lower), upper]), marked)
    torch.testing.assert_close(y, unroll(upper, unroll(lower, x, reset=ASKED)[0])[0])


def test_a_direction_reads_the_marks_in_its_own_order() -> None:
    x, marked = inputs()
    forward, backward = GRUCell(3, 4).double(), GRUCell(2, 4).double()
    y, _ = unroll(Bidirectional(forward, Reset(backward), "sum"), marked)
    expected = unroll(backward, x.flip(1), reset=ASKED.flip(1))[0].flip(1)
    torch.testing.assert_close(y, unroll(forward, marked)[0] + expected)


def test_masks_are_those_without_it() -> None:
    x, marked = inputs()
    inner = Dropout(GRUCell(2, 4), input=0.3, output=0.3, state=0.3).double()
    generators = [torch.Generator().manual_seed(1) for _ in range(2)]
    y, _ = unroll(Reset(inner), marked, generator=generators[0])
    expected, _ = unroll(inner, x, reset=ASKED, generator=generators[1])
    assert torch.equal(y, expected)


def test_where_the_flag_is_missing_it_is_named() -> None:
    cell = Reset(LSTMCell(8, 8))
    flag = "the last feature the flag that resets, got"
    with pytest.raises(ShapeError, match=f"^Reset takes 9 features, {flag} x of shape"):
        unroll(cell, torch.zeros(2, 3, 8))
    with pytest.raises(ShapeError, match=rf"^Reset: a step takes x of shape \(batch, 9\), {flag}"):
        cell(torch.zeros(2, 8), cell.initial_state(2))


def test_the_plan_keeps_the_kernel() -> None:
    assert plan(Reset(LSTMCell(2, 4))) == (
        "Reset(3 -> 4): around whole sequences\n"
        "  LSTMCell(2 -> 4): oneDNN's LSTM, whole sequences at once"
    )
