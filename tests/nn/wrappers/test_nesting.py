"""Wrappers in any order: an interpreter written against their equations is the oracle."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recurra.nn.cells import CELLS
from recurra.nn.state import State, detach, flatten, map_tensors, where
from recurra.nn.unroll import unroll, unroll_plain
from recurra.nn.wrappers.attention import Attention
from recurra.nn.wrappers.base import Recurrence, Wrapper
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.dilated import Dilated
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.highway import Highway
from recurra.nn.wrappers.inside import map_cells
from recurra.nn.wrappers.mogrifier import Mogrifier
from recurra.nn.wrappers.projection import Projection
from recurra.nn.wrappers.reset import Reset
from recurra.nn.wrappers.residual import Residual
from recurra.nn.wrappers.reversed import Reversed
from recurra.nn.wrappers.stack import Stack
from recurra.nn.wrappers.trainable_state import TrainableState
from recurra.nn.wrappers.weight_drop import WeightDrop
from recurra.nn.wrappers.zoneout import Zoneout

KINDS = ["start", "reset", "dropout", "zoneout", "mogrifier", "residual", "stack"]


def nest(cell: str, kinds: list[str]) -> Recurrence:
    """Wrap a cell in these, the innermost first; those that do not fit are left out."""
    inner: Recurrence = CELLS[cell](3, 3)
    for kind in kinds:
        if kind == "start":
            inner = TrainableState(inner)
            for start in inner.starts:
                start.data += torch.linspace(-0.5, 0.5, start.numel()).view_as(start)
        elif kind == "reset":
            inner = Reset(inner)
        elif kind == "dropout":
            inner = Dropout(inner, input=0.2, state=0.3)
        elif kind == "zoneout":
            inner = Zoneout(inner, hidden=0.3)
        elif kind == "mogrifier" and hasattr(inner.initial_state(), "h"):
            inner = Mogrifier(inner, 2)
        elif kind == "residual" and inner.input_size == inner.output_size:
            inner = Residual(inner)
        elif kind == "stack":
            inner = Stack([inner, CELLS["gru"](inner.output_size, 3)])
    return inner.double()


def by_hand(cell: Recurrence, x: Tensor, state: State, start: State = None) -> tuple[Tensor, State]:
    """One step in evaluation mode; `start`: where a wrapper outside says that resets go."""
    if not isinstance(cell, Wrapper):
        return cell.forward(x, state)
    if isinstance(cell, Stack):
        after = []
        for n, layer in enumerate(cell.cells):
            x, one = by_hand(layer, x, state[n], None if start is None else start[n])
            after.append(one)
        return x, tuple(after)
    inner = cell.inner()
    if isinstance(cell, TrainableState):
        return by_hand(inner, x, state, cell.initial_state(len(x)) if start is None else start)
    if isinstance(cell, Reset):
        first = inner.initial_state(len(x)) if start is None else start
        return by_hand(inner, x[:, :-1], where(x[:, -1] > 0.5, first, state), start)
    if isinstance(cell, Mogrifier):
        Q, R = cell.matrices
        x = 2 * torch.sigmoid(state.h @ Q.T) * x
        return by_hand(inner, x, state._replace(h=2 * torch.sigmoid(x @ R.T) * state.h), start)
    y, after = by_hand(inner, x, state, start)
    if isinstance(cell, Residual):
        return x + y, after
    if isinstance(cell, Zoneout):
        zoned: dict[int, Tensor] = {}

        def zone(_: Any, place: str, old: Any, new: Any) -> Any:
            zoned[id(new.h)] = 0.3 * old.h + 0.7 * new.h
            return new._replace(h=zoned[id(new.h)])

        after = map_cells(zone, inner, state, after)
        return zoned.get(id(y), y), after
    return y, after


@settings(max_examples=40)
@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=5),
    cell=st.sampled_from(["gru", "lstm"]),
    seed=st.integers(0, 1000),
)
def test_any_nest_is_its_equations_step_by_step(kinds: list[str], cell: str, seed: int) -> None:
    torch.manual_seed(seed)
    nested = nest(cell, kinds)
    x = torch.randn(2, 5, nested.input_size, dtype=torch.float64)
    reset = torch.rand(2, 5) < 0.3
    for options in ({}, {"reset": reset}):  # in training mode, where masks are drawn
        runs = [
            how(nested, x, generator=torch.Generator().manual_seed(seed), **options)
            for how in (unroll, unroll_plain)
        ]
        torch.testing.assert_close(runs[0][0], runs[1][0])
        torch.testing.assert_close(flatten(runs[0][1]), flatten(runs[1][1]))
    nested.eval()
    y, last = unroll(nested, x)
    again, _ = unroll(nested, x, reset=reset)
    step = hand = resetting = nested.initial_state(2)
    for t in range(5):
        one, step = nested(x[:, t], step)
        torch.testing.assert_close(one, y[:, t])
        one, hand = by_hand(nested, x[:, t], hand)
        torch.testing.assert_close(one, y[:, t])
        resetting = where(reset[:, t], nested.initial_state(2), resetting)
        one, resetting = by_hand(nested, x[:, t], resetting)
        torch.testing.assert_close(one, again[:, t])
    torch.testing.assert_close(flatten(last), flatten(hand))


def changed(cell: Recurrence, state: State) -> State:
    """Every h turned over: what a wrapper between a learned state and a reset may do to it."""
    return map_cells(lambda _, place, own: own._replace(h=-own.h), cell, state)


class Turning(Wrapper):
    """A wrapper of someone's own that changes the state on its way in."""

    def __init__(self, cell: Recurrence) -> None:
        super().__init__([cell], cell.input_size, cell.output_size)

    def through(self, x: Tensor, state: State, run: Any) -> tuple[Tensor, State]:
        return run(self.inner(), x, changed(self.inner(), state))

    def stepwise(self) -> str:
        return "it turns the state over at every step"


BETWEEN: dict[str, Callable[[Recurrence], Recurrence]] = {
    "mogrifier": lambda cell: Mogrifier(cell, 2),
    "dropout": lambda cell: Dropout(cell, state=0.5),
    "zoneout": lambda cell: Zoneout(cell, 0.3),
    "weight drop": lambda cell: WeightDrop(cell, 0.5),
    "one's own": Turning,
    "several": lambda cell: Turning(Mogrifier(Dropout(Zoneout(cell, 0.3), state=0.5), 2)),
    "a watched one": lambda cell: watched(Dropout(cell, state=0.5)),
}


def watched(cell: Recurrence) -> Recurrence:
    cell.register_forward_hook(lambda *given: None)
    return cell


@pytest.mark.parametrize("between", BETWEEN.values(), ids=BETWEEN)
def test_a_reset_goes_back_to_the_learned_state_whatever_lies_between(between: Any) -> None:
    inner = CELLS["gru"](2, 4)
    cell = TrainableState(between(Reset(inner)))
    cell.starts[0].data.fill_(0.7)
    x = torch.randn(3, 4, 3)
    x[:, :, -1] = 1
    _, state = unroll(cell, x[:, :3], generator=torch.Generator().manual_seed(1))
    generators = [torch.Generator().manual_seed(1) for _ in range(2)]
    for y, _ in (
        cell(x[:, 3], detach(state), generators[0]),
        unroll(cell, x[:, 3:], detach(state), generator=generators[1]),
    ):
        # A step that gets a state without a history knows of a start by its own reset alone.
        (gradient,) = torch.autograd.grad(y.sum(), [*cell.starts])
        assert (gradient != 0).all()
    y, _ = unroll(cell.eval(), x)
    if "Zoneout" not in str(cell) and "Mogrifier" not in str(cell):
        torch.testing.assert_close(y[:, 3], inner(x[:, 3, :2], cell.initial_state(3))[0])


MADE: dict[str, Callable[[], Recurrence]] = {
    "stack": lambda: Stack([CELLS["lstm"](3, 4), CELLS["gru"](4, 3)]),
    "bidirectional": lambda: Bidirectional(CELLS["lstm"](3, 2), CELLS["gru"](3, 2)),
    "reversed": lambda: Reversed(CELLS["lstm"](3, 4)),
    "dropout": lambda: Dropout(CELLS["lstm"](3, 4), input=0.2, state=0.2),
    "residual": lambda: Residual(CELLS["lstm"](3, 3)),
    "weight drop": lambda: WeightDrop(CELLS["lstm"](3, 4), 0.5),
    "projection": lambda: Projection(CELLS["lstm"](3, 4), 2),
    "highway": lambda: Highway(CELLS["lstm"](3, 3)),
    "reset": lambda: Reset(CELLS["lstm"](2, 4)),
    "trainable state": lambda: TrainableState(CELLS["lstm"](3, 4)),
    "attention": lambda: Attention(CELLS["lstm"](3, 4)),
    "mogrifier": lambda: Mogrifier(CELLS["lstm"](3, 4)),
    "zoneout": lambda: Zoneout(CELLS["lstm"](3, 4), 0.2, 0.1),
    "dilated": lambda: Dilated(CELLS["lstm"](3, 4), 2),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_copies_pickles_and_state_dicts_are_the_same_recurrence(make: Any) -> None:
    cell = make()
    x = torch.randn(2, 5, 3)
    expected, after = unroll(cell, x, generator=torch.Generator().manual_seed(1))
    other = make()
    other.load_state_dict(cell.state_dict())
    for twin in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell)), other):
        y, state = unroll(twin, x, generator=torch.Generator().manual_seed(1))
        assert torch.equal(y, expected) and repr(twin) == repr(cell)
        torch.testing.assert_close(flatten(state), flatten(after))
        with torch.no_grad():
            next(twin.parameters()).add_(1)  # of its own
    assert torch.equal(unroll(cell, x, generator=torch.Generator().manual_seed(1))[0], expected)
    names = {name.split(".")[0] for name in cell.state_dict() if not name.startswith("cells.")}
    assert names <= {"weight", "bias", "starts", "matrices"}


def test_a_hundred_wrappers_deep() -> None:
    inner = CELLS["gru"](3, 3)
    deep: Recurrence = inner
    for n in range(100):
        deep = (Residual, Stack, lambda cell: Dropout(cell, output=0.5))[n % 3](
            [deep] if n % 3 == 1 else deep
        )
    deep.eval()
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(unroll(deep, x)[0], unroll(inner, x)[0] + 34 * x)
    state = map_tensors(Tensor.clone, deep.initial_state(2))
    torch.testing.assert_close(deep(x[:, 0], state)[0], unroll(deep, x[:, :1])[0][:, 0])
