from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from recurra.errors import ConfigError, RunError, ShapeError
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.state import flatten
from recurra.nn.unroll import unroll, unroll_plain
from recurra.nn.wrappers import WRAPPERS
from recurra.nn.wrappers.base import Masks, Starts, StepPass, Wrapper, steps_as
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.residual import Residual
from recurra.nn.wrappers.stack import Stack


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
    with pytest.raises(ShapeError, match=r"GRUCell: state.h is \(1, 3\), expected \(2, 3\)"):
        cell(torch.zeros(2, 3), cell.initial_state(1))


def test_masks_are_drawn_once_for_all_steps() -> None:
    masks = Masks(torch.Generator().manual_seed(1), 4)
    owner, other = Silent([], 3, 3), Silent([], 3, 3)
    x = torch.zeros(2, 4, 3)
    first = masks.get(owner, "input", x, 0.5, False)
    assert first.shape == (2, 4, 3)
    assert masks.get(owner, "input", x, 0.5, False) is first
    for place in ((other, "input"), (owner, "output")):
        assert not torch.equal(masks.get(*place, x, 0.5, False), first)
    shared = masks.get(other, "state", torch.zeros(2, 1, 5, 6, dtype=torch.float64), 0.5, True)
    assert (shared.shape, shared.dtype) == ((2, 1, 5, 6), torch.float64)


def test_masks_without_a_generator_say_what_to_do() -> None:
    with pytest.raises(RunError, match=r"pass generator=torch.Generator\(\), or call .eval\(\)"):
        Masks(None, 4).get(Silent([], 3, 3), "input", torch.zeros(2, 4, 3), 0.5, False)


def test_a_step_uses_the_mask_of_its_time() -> None:
    masks = Masks(torch.Generator().manual_seed(1), 4)
    owner = Silent([], 3, 3)
    ones = torch.ones(2, 3)
    steps = [StepPass(masks, t).drop(owner, "input", ones, 0.5, False) for t in (3, 0, 1, 2)]
    drawn = masks.get(owner, "input", torch.zeros(2, 4, 3), 0.5, False)
    assert torch.equal(torch.stack(steps, dim=1), drawn[:, [3, 0, 1, 2]])


def test_a_state_knows_where_resets_take_it() -> None:
    cell, starts = LSTMCell(3, 4), Starts()
    zero, x = torch.zeros(2, 4), torch.zeros(2, 3)
    state = cell.initial_state(2)
    assert starts.of(cell, x, state).c.sum() == 0
    noted = starts.note((zero, zero), (zero + 1, zero + 2))
    assert [each[0, 0].item() for each in starts.of(Pair(), x, noted)] == [1, 2]
    inner = starts.note(noted, (zero + 3, zero + 4))
    assert [each[0, 0].item() for each in starts.of(Pair(), x, inner)] == [1, 2]
    assert [each[0, 0].item() for each in starts.of(Pair(), x, (zero, zero))] == [0, 0]


class Pair(GRUCell):
    def __init__(self) -> None:
        super().__init__(3, 4)

    def initial_state(self, batch_size: int = 1, **where: object) -> object:
        return torch.zeros(batch_size, 4), torch.zeros(batch_size, 4)


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
