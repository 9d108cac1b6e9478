from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from recurra.errors import ConfigError, ShapeError
from recurra.nn.cells.gru import GRUCell, GRUState
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.state import flatten, map_tensors
from recurra.nn.unroll import unroll, unroll_plain
from recurra.nn.wrappers import WRAPPERS
from recurra.nn.wrappers.base import Starts, StepPass, Wrapper
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.dilated import Dilated
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.inside import steps_as
from recurra.nn.wrappers.masks import Masks
from recurra.nn.wrappers.mogrifier import Mogrifier
from recurra.nn.wrappers.reset import Reset
from recurra.nn.wrappers.residual import Residual
from recurra.nn.wrappers.stack import Stack
from recurra.nn.wrappers.trainable_state import TrainableState
from recurra.nn.wrappers.zoneout import Zoneout


class Silent(Wrapper):
    pass


def test_a_subclass_must_say_what_it_does() -> None:
    wrapper = Silent([GRUCell(2, 3)], 2, 3)
    with pytest.raises(NotImplementedError, match="Silent defines no through"):
        wrapper(torch.zeros(1, 2), wrapper.initial_state())
    assert wrapper.stepwise() is None


def test_no_cell_stands_in_two_places() -> None:
    cell = LSTMCell(3, 3)
    message = "one cell stands in two places and would share its parameters; make a cell for each"
    for make in (
        lambda: Stack([cell, cell]),
        lambda: Stack([cell] * 3),
        lambda: Stack([Dropout(cell, output=0.5), Residual(cell)]),
        lambda: Bidirectional(cell, cell),
        lambda: Bidirectional(Stack([cell]), Stack([LSTMCell(3, 3), cell])),
    ):
        with pytest.raises(ConfigError, match=message):
            make()
    assert len(Stack([LSTMCell(3, 3) for _ in range(3)]).cells) == 3


def test_a_module_used_twice_inside_one_cell_is_its_own_affair() -> None:
    cell = GRUCell(3, 3)
    cell.first = cell.second = nn.Tanh()  # type: ignore[assignment]
    assert len(Stack([cell, GRUCell(3, 3)]).cells) == 2


@pytest.mark.parametrize("shape", [(2, 4), (2, 7, 3), (3,)])
def test_a_step_refuses_an_input_of_another_shape(shape: tuple[int, ...]) -> None:
    for cell in (Stack([GRUCell(3, 3)]), Dropout(GRUCell(3, 3)), Residual(GRUCell(3, 3))):
        with pytest.raises(ShapeError, match=r"takes x of shape \(batch, 3\), got .* whole seq"):
            cell(torch.zeros(shape), cell.initial_state(2))


def test_a_step_refuses_a_state_of_other_rows() -> None:
    cell = Stack([GRUCell(3, 3)])
    with pytest.raises(ShapeError, match=r"state\.0\.h is \(1, 3\), expected \(2, 3\)"):
        cell(torch.zeros(2, 3), cell.initial_state(1))


def test_a_step_uses_the_mask_of_its_time() -> None:
    masks = Masks(torch.Generator().manual_seed(1), 4)
    owner = Silent([], 3, 3)
    ones = torch.ones(2, 3)
    steps = [StepPass(masks, t).drop(owner, "input", ones, 0.5, False) for t in (3, 0, 1, 2)]
    drawn = masks.get(owner, "input", torch.zeros(2, 4, 3), 0.5, False)
    assert torch.equal(torch.stack(steps, dim=1), drawn[:, [3, 0, 1, 2]])


def test_starts_follow_who_runs_inside_whom() -> None:
    lower, upper = GRUCell(3, 4), GRUCell(4, 3)
    stack = Stack([Residual(Stack([lower, upper])), GRUCell(3, 5)])
    x = torch.zeros(2, 3)
    assert Starts().inside(stack).of(lower, x).h.tolist() == lower.initial_state(2).h.tolist()
    one, two, three = (GRUState(torch.ones(2, size)) for size in (4, 3, 5))
    within = Starts(((one, two), three)).inside(stack)
    assert within.of(stack.inner(1), x) is three
    inner = within.inside(stack.inner(0)).inside(stack.inner(0).inner())
    assert inner.of(lower, x) is one and inner.of(upper, x) is two


class Doubled(Wrapper):
    """Its state is two of the cell's, of which it does not tell."""

    def initial_state(self, batch_size: int = 1, **where: Any) -> Any:
        return tuple(self.inner().initial_state(batch_size, **where) for _ in range(2))

    def through(self, x: torch.Tensor, state: Any, run: Any) -> Any:
        y, after = run(self.inner(), x, state[0])
        return y, (after, state[1])


def test_a_reset_in_a_wrapper_that_does_not_say_whose_its_states_are_is_refused() -> None:
    cell = TrainableState(Doubled([Reset(GRUCell(2, 4))], 3, 4))
    assert unroll(TrainableState(Doubled([GRUCell(2, 4)], 2, 4)), torch.zeros(2, 5, 2))
    with pytest.raises(ConfigError, match=r"^GRUCell: .*; define its owners\(\)"):
        unroll(cell, torch.zeros(2, 5, 3))


def test_whether_a_cell_steps_as_its_class_says() -> None:
    class Renamed(GRUCell):
        pass

    assert steps_as(GRUCell(3, 4), GRUCell) and steps_as(Renamed(3, 4), GRUCell)
    assert not steps_as(GRUCell(3, 4), LSTMCell) and not steps_as(Residual(GRUCell(3, 3)), GRUCell)
    for register in ("register_forward_hook", "register_forward_pre_hook"):
        watched = GRUCell(3, 4)
        getattr(watched, register)(lambda *arguments: None)
        assert not steps_as(watched, GRUCell)

    class Other(GRUCell):
        def forward(self, x: torch.Tensor, state: object) -> object:
            return super().forward(2 * x, state)

    assert not steps_as(Other(3, 4), GRUCell)


def test_hooks_act_at_every_step_and_may_change_it() -> None:
    inner, outer = Residual(LSTMCell(3, 3)), Dropout(LSTMCell(3, 4), output=0.5)
    cell = Stack([inner, outer])
    x = torch.randn(2, 5, 3)
    expected, _ = unroll(cell, x, generator=torch.Generator().manual_seed(1))
    seen: list[Any] = []
    inner.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs)))
    outer.register_forward_hook(lambda _, inputs, result: seen.append(result[0].shape))
    y, _ = unroll(cell, x, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(y, expected)
    assert seen == [2] * 5 + [(2, 4)] * 5
    outer.register_forward_hook(lambda _, inputs, result: (result[0] + 1, result[1]))
    y, _ = unroll(cell, x, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(y, expected + 1)
    cell.register_forward_hook(lambda *given: seen.append("whole"))
    del seen[:]
    cell.eval()(x[:, 0], cell.initial_state(2))
    assert seen == [2, (2, 4), "whole"]


@pytest.mark.parametrize("how", [unroll, unroll_plain])
@pytest.mark.parametrize("name", ["projection", "highway", "attention", "mogrifier"])
def test_products_alone_are_narrow_under_autocast(name: str, how: Any) -> None:
    sizes = (4,) if name == "projection" else ()
    cell = WRAPPERS[name](LSTMCell(4, 4), *sizes)
    x = torch.randn(2, 5, 4)
    expected, after = unroll(cell, x)
    with torch.autocast("cpu", torch.bfloat16):
        y, state = how(cell, x)
    y.sum().backward()
    torch.testing.assert_close(y, expected, rtol=0, atol=0.05)
    torch.testing.assert_close(flatten(state), flatten(after), rtol=0, atol=0.05)


def test_the_table_finds_them_by_name() -> None:
    assert WRAPPERS["stack"] is Stack and WRAPPERS["residual"] is Residual
    with pytest.raises(ConfigError, match=r"Did you mean 'dropout'\?"):
        WRAPPERS["droput"]


ACTING: dict[str, Any] = {
    "reset": lambda: Reset(LSTMCell(2, 4)),
    "mogrifier": lambda: Mogrifier(LSTMCell(3, 4)),
    "zoneout": lambda: Zoneout(LSTMCell(3, 4), hidden=0.5, memory=0.5),
    "memory alone": lambda: Zoneout(LSTMCell(3, 4), memory=0.5),
    "dropout": lambda: Dropout(LSTMCell(3, 4), state=0.5),
    "reset of mogrifier": lambda: Reset(Mogrifier(LSTMCell(2, 4))),
    "zoneout of stack": lambda: Zoneout(Stack([LSTMCell(3, 4), GRUCell(4, 4)]), hidden=0.5),
}


def step(cell: Any, x: Any, state: Any) -> Any:
    return cell(x, state, torch.Generator().manual_seed(1))


def plain(state: Any) -> Any:
    return state if isinstance(state, torch.Tensor) else tuple(map(plain, state))


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ACTING)
def test_steps_that_act_on_a_state_take_and_refuse_what_others_do(
    name: str, training: bool, nested: bool
) -> None:
    cell = ACTING[name]()
    cell = (Stack([Residual(GRUCell(3, 3)), cell]) if nested else cell).train(training)
    x = torch.ones(2, 3)
    x[0, 2] = 0
    _, state = step(cell, x, map_tensors(torch.randn_like, cell.initial_state(2)))
    expected = step(cell, x, state)
    found = step(cell, x, plain(state))
    torch.testing.assert_close(found, expected)
    assert repr(found[1]) == repr(expected[1])  # of the same named tuples
    refused: list[tuple[Any, Any]] = [(x[:1], state), (x, torch.zeros(2, 4)), (x, None)]
    refused += [(x, cell.initial_state(rows)) for rows in (1, 3)]
    for kind in (torch.int64, torch.float64):
        refused += [(x.to(kind), state), (x, map_tensors(lambda t, kind=kind: t.to(kind), state))]
    refused.append((x.half(), state))
    for inputs, before in refused:
        with pytest.raises(ShapeError) as caught:
            step(cell, inputs, before)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("how", [unroll, unroll_plain])
def test_what_acts_between_steps_refuses_what_has_none(how: Any) -> None:
    for both in (
        Bidirectional(GRUCell(3, 4), GRUCell(3, 4)),
        Stack([Bidirectional(GRUCell(3, 2), GRUCell(3, 2))]),
    ):
        for make in (
            lambda cell: Zoneout(cell, hidden=0.1),
            lambda cell: Dilated(cell, 2),
            lambda cell: Dropout(cell, state=0.3),
        ):
            said = (
                r": acts between steps, and Bidirectional has none.* inside, Bidirectional\(\w+\("
            )
            with pytest.raises(ConfigError, match=said):
                make(both)
        for cell in (Zoneout(both), Dilated(both, 1), Dropout(both, output=0.3)):
            how(cell, torch.zeros(2, 5, 3), generator=torch.Generator())
