"""The states of all steps, memory that nothing shares, and passes that stay what they are."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from recurra.nn.cells import CELLS
from recurra.nn.cells.base import Cell, Kernel
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.sequences import SequencePass
from recurra.nn.state import flatten, map_tensors
from recurra.nn.unroll import unroll, unroll_plain
from recurra.nn.wrappers.attention import Attention
from recurra.nn.wrappers.base import Starts
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.dilated import Dilated
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.masks import Masks
from recurra.nn.wrappers.projection import Projection
from recurra.nn.wrappers.residual import Residual
from recurra.nn.wrappers.reversed import Reversed
from recurra.nn.wrappers.stack import Stack
from recurra.nn.wrappers.trainable_state import TrainableState

either = pytest.mark.parametrize("how", [unroll, unroll_plain])


class Nothing(Cell):
    """A cell that remembers nothing."""

    def initial_state(self, batch_size: int = 1, **where: Any) -> Any:
        return ()

    def forward(self, x: Tensor, state: Any) -> Any:
        return x, state


class Duck(nn.Module):
    """No cell, and its state is one tensor."""

    input_size = output_size = 3

    def initial_state(self, batch_size: int = 1, **where: Any) -> Tensor:
        return torch.zeros(batch_size, 3, **where)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return x + state, x + state


class Doubled(GRUCell):
    """A subclass whose output is no longer its state, with a kernel of its own."""

    def forward(self, x: Tensor, state: Any) -> Any:
        y, after = super().forward(x, state)
        return 2 * y, after

    def kernel(self, x: Tensor) -> Kernel | str:
        inner = super().kernel(x)
        assert isinstance(inner, Kernel)

        def run(x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
            y, after = inner.run(x, state, lengths)
            return 2 * y, after

        return Kernel("twice the GRU", run)


def test_the_states_of_what_has_none_or_one_tensor() -> None:
    x = torch.randn(2, 4, 3)
    mask = torch.tensor([[True, False, True, True], [False, True, True, False]])
    nothing: Any = Stack([Nothing(3, 3), GRUCell(3, 4)])
    _, state, states = unroll(nothing, x, mask=mask, states=True)
    assert state[0] == states[0] == () and states[1].h.shape == (2, 4, 4)
    duck: Any = Duck()
    y, state, states = unroll(duck, x, mask=mask, states=True)
    torch.testing.assert_close(states, (x * mask.unsqueeze(2)).cumsum(1))
    assert torch.equal(y, states * mask.unsqueeze(2)) and torch.equal(state, states[:, -1])
    backwards: Any = Bidirectional(Duck(), Duck())  # type: ignore[arg-type]
    _, _, both = unroll(backwards, x, mask=mask, states=True)
    there = x * mask.unsqueeze(2)
    torch.testing.assert_close(both.backward, there.flip(1).cumsum(1).flip(1))


@pytest.mark.parametrize("name", CELLS)
def test_a_state_of_any_step_starts_the_rest(name: str) -> None:
    cell: Any = Stack([CELLS[name](3, 4), Dilated(CELLS[name](4, 4), 2)]).double()
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    lengths = torch.tensor([5, 3])
    y, state, states = unroll(cell, x, lengths=lengths, states=True)
    for t in (0, 2, 3):
        begin = map_tensors(lambda each, t=t: each[:, t], states)
        left = (lengths - t - 1).clamp(min=0)
        rest, end = unroll(cell, x[:, t + 1 :], begin, lengths=left)
        torch.testing.assert_close((rest, end), (y[:, t + 1 :], state))


def test_states_are_not_outputs_where_a_subclass_changed_them() -> None:
    cell, x = Doubled(3, 4), torch.randn(2, 5, 3)
    for lengths in (None, [5, 2]):
        found = unroll(cell, x, lengths=lengths, states=True)
        torch.testing.assert_close(found, unroll_plain(cell, x, lengths=lengths, states=True))


def test_states_where_dropout_draws_are_those_of_the_outputs() -> None:
    cell = Dropout(LSTMCell(3, 4), input=0.5, state=0.5)
    x = torch.randn(2, 5, 3)
    made = [
        unroll(cell, x, generator=torch.Generator().manual_seed(1), states=asked)
        for asked in (False, True)
    ]
    torch.testing.assert_close(made[0], made[1][:2])
    torch.testing.assert_close(made[1][0], made[1][2].h)


SHARING: dict[str, Any] = {
    **{name: lambda name=name: CELLS[name](3, 4) for name in CELLS},
    "nothing": lambda: Nothing(3, 3),
    "stack": lambda: Stack([LSTMCell(3, 4), GRUCell(4, 3)]),
    "residual": lambda: Residual(GRUCell(3, 3)),
    "dropout": lambda: Dropout(GRUCell(3, 4), output=0.5).eval(),
    "dilated": lambda: Dilated(GRUCell(3, 4), 2),
    "dilated, without a kernel": lambda: Stack([Dilated(Projection(GRUCell(3, 4), 2), 6)]),
    "trainable state": lambda: TrainableState(GRUCell(3, 4)),
    "attention": lambda: Attention(GRUCell(3, 4), window=2),
    "projection": lambda: Projection(GRUCell(3, 4), 2),
    "bidirectional": lambda: Bidirectional(GRUCell(3, 4), LSTMCell(3, 4)),
    "reversed": lambda: Reversed(GRUCell(3, 4)),
}


@pytest.mark.parametrize("name", SHARING)
def test_outputs_are_the_callers_to_write_over(name: str) -> None:
    cell = SHARING[name]()
    x = torch.randn(2, 4, cell.input_size)
    runs: list[Any] = [
        lambda x, state, how=how, options=options: how(cell, x, state, **options)
        for how in (unroll, unroll_plain)
        for options in ({}, {"states": True}, {"lengths": [x.shape[1]] * 2, "states": True})
    ]
    for steps in (0, 1, 4):
        whole: list[Any] = [r for r in runs if steps == 4 or "lengths" not in r.__defaults__[1]]
        if steps == 1 and not getattr(cell, "looks_ahead", False):
            whole.append(lambda x, state: cell(x[:, 0], state))
        for run in whole:
            with torch.no_grad():
                begin = x[:, :steps].clone(), map_tensors(torch.clone, cell.initial_state(2))
                y, *states = run(*begin)
                kept = map_tensors(torch.clone, (begin, tuple(states)))
                y.zero_().add_(1)
                torch.testing.assert_close((begin, tuple(states)), kept, rtol=0, atol=0)
                for part in flatten(tuple(states)).values():
                    part.fill_(2)
                assert (y == 1).all()
                torch.testing.assert_close(begin, kept[0], rtol=0, atol=0)


def test_hooks_see_the_output_that_is_the_state() -> None:
    cell = GRUCell(3, 4)
    seen: list[bool] = []
    cell.register_forward_hook(lambda _, given, made: seen.append(made[0] is made[1].h))
    y, state = cell(torch.randn(2, 3), cell.initial_state(2))
    unroll(cell, torch.randn(2, 3, 3))
    assert seen == [True] * 4 and y is not state.h


def test_a_pass_within_a_wrapper_is_another() -> None:
    reset = torch.tensor([[False, True, False], [True, False, False]])
    run = SequencePass(Masks(None, 3), torch.tensor([3, 2]), reset)
    starts, cell = run.starts, GRUCell(3, 4)
    before = dict(vars(run))
    x, state = torch.randn(2, 3, 3), cell.initial_state(2)
    run.resetting(cell, x, state, ~reset)
    run.backwards(cell, x, state)
    run.starting(cell, x, state, cell.initial_state(2))
    assert vars(run) == before and run.starts is starts
    assert run.from_starts(Starts(state)).starts.start is state
    assert run.mirrored is not None
    assert run.mirrored.tolist() == [[False, False, True], [False, False, True]]


class Pair(NamedTuple):
    """The state of two numbers of two kinds."""

    total: Tensor
    steps: Tensor


class Counting(Cell):
    """A cell that counts its steps in whole numbers."""

    def initial_state(self, batch_size: int = 1, **where: Any) -> Any:
        return Pair(torch.zeros(batch_size, 3), torch.zeros(batch_size, dtype=torch.int64))

    def forward(self, x: Tensor, state: Any) -> Any:
        total = state.total + x
        return total, Pair(total, state.steps + 1)


@either
def test_states_of_whole_numbers(how: Any) -> None:
    mask = torch.tensor([[True, False, True], [False, False, True]])
    cell, x = Bidirectional(Counting(3, 3), Counting(3, 3)), torch.randn(2, 3, 3)
    _, state, states = how(cell, x, mask=mask, states=True)
    assert states.forward.steps.tolist() == [[1, 1, 2], [0, 0, 1]]
    assert states.backward.steps.tolist() == [[2, 1, 1], [1, 1, 1]]
    assert state.backward.steps.tolist() == [2, 1]
