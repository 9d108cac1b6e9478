from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from recurra.errors import ConfigError, ShapeError
from recurra.nn.cells import CELLS
from recurra.nn.cells.base import Cell, check_step, gates_of
from recurra.nn.cells.lstm import LSTMCell, LSTMState


class Unfinished(Cell):
    pass


def test_a_subclass_must_give_the_step_and_the_state() -> None:
    cell = Unfinished(2, 3)
    with pytest.raises(NotImplementedError, match="Unfinished defines no forward"):
        cell(torch.zeros(1, 2), ())
    with pytest.raises(NotImplementedError, match="Unfinished defines no initial_state"):
        cell.initial_state()
    assert cell.kernel(torch.zeros(1)) == "the cell has no kernel of its own"


def test_zeros_without_parameters_are_float32_on_the_cpu() -> None:
    zeros = Unfinished(2, 3).zeros(4, 3, None, None)
    assert (zeros.shape, zeros.dtype, zeros.device.type) == ((4, 3), torch.float32, "cpu")


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (-1, 2)])
def test_sizes_are_at_least_one(name: str, sizes: tuple[int, int]) -> None:
    with pytest.raises(ShapeError, match=f"sizes are at least 1, got {sizes[0]} -> {sizes[1]}"):
        CELLS[name](*sizes)


def test_an_unknown_cell_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"no cell is named 'lsmt'\. Did you mean 'lstm'\?"):
        CELLS["lsmt"]


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("shape", [(2, 4), (2, 7, 3), (3,), ()])
def test_a_step_refuses_an_input_of_another_shape(name: str, shape: tuple[int, ...]) -> None:
    cell = CELLS[name](3, 5)
    with pytest.raises(ShapeError, match=r"takes x of shape \(batch, 3\), got .* whole sequences"):
        cell(torch.zeros(shape), cell.initial_state(2))


@pytest.mark.parametrize("name", CELLS)
def test_a_step_refuses_a_state_of_another_shape(name: str) -> None:
    cell = CELLS[name](3, 5)
    for state in (cell.initial_state(1), CELLS[name](3, 1).initial_state(2)):
        with pytest.raises(ShapeError, match=r"state\.\w+ is \(.*\), expected \(2(, \d+)+\)"):
            cell(torch.zeros(2, 3), state)


def test_check_step_names_the_part_of_the_state() -> None:
    cell = LSTMCell(3, 5)
    # A c of one column would broadcast in silence.
    with pytest.raises(ShapeError, match=r"LSTMCell: state.c is \(2, 1\), expected \(2, 5\)"):
        check_step(cell, torch.zeros(2, 3), LSTMState(torch.zeros(2, 5), torch.zeros(2, 1)))
    check_step(cell, torch.zeros(2, 3), cell.initial_state(2))


class ShapedState(NamedTuple):
    h: Tensor
    memory: Tensor


class Shaped(Cell):
    """A cell one tensor of whose state is not (B, O)."""

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"memory": (self.output_size, 2)}


def test_check_step_asks_for_the_shapes_that_the_cell_declares() -> None:
    cell, x = Shaped(3, 5), torch.zeros(2, 3)
    check_step(cell, x, ShapedState(torch.zeros(2, 5), torch.zeros(2, 5, 2)))
    for memory in ((2, 5), (1, 5, 2), (2, 5, 1), ()):
        with pytest.raises(
            ShapeError, match=r"Shaped: state.memory is \(.*\), expected \(2, 5, 2\)"
        ):
            check_step(cell, x, ShapedState(torch.zeros(2, 5), torch.zeros(memory)))
    with pytest.raises(ShapeError, match=r"Shaped: state.h is \(2, 4\), expected \(2, 5\)"):
        check_step(cell, x, ShapedState(torch.zeros(2, 4), torch.zeros(2, 5, 2)))


def test_check_step_reads_any_nesting() -> None:
    cell, x, good = Unfinished(3, 5), torch.zeros(2, 3), torch.zeros(2, 5)
    for state in (good, (good,), (good, (good,)), LSTMState(good, (good,)), ()):  # type: ignore[arg-type]
        check_step(cell, x, state)
    bad = torch.zeros(2, 1)
    for state, place in (
        (bad, "state"),
        ((good, bad), "state.1"),
        ((good, (bad,)), "state.1.0"),
        (LSTMState(good, (bad,)), "state.c.0"),  # type: ignore[arg-type]
    ):
        with pytest.raises(
            ShapeError, match=rf"Unfinished: {place} is \(2, 1\), expected \(2, 5\)"
        ):
            check_step(cell, x, state)


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_parameters_are_drawn_as_torch_draws_them(name: str) -> None:
    torch.manual_seed(3)
    cell = CELLS[name](30, 100)
    if name == "lstm":
        cell.add_forget_bias(-1.0)
    for parameter in cell.parameters():
        assert parameter.abs().max() <= 0.1 + 1e-6
        spread = 0.1 / 3**0.5  # of a uniform distribution over (-0.1, 0.1)
        assert abs(parameter.std().item() - spread) < 4 * spread / parameter.numel() ** 0.5
        assert abs(parameter.mean().item()) < 4 * spread / parameter.numel() ** 0.5


@pytest.mark.parametrize("name", CELLS)
def test_parameters_come_from_the_generator_alone(name: str) -> None:
    cell, twin = CELLS[name](3, 4), CELLS[name](3, 4)
    before = torch.get_rng_state()
    cell.reset_parameters(torch.Generator().manual_seed(5))
    twin.reset_parameters(torch.Generator().manual_seed(5))
    assert torch.equal(before, torch.get_rng_state())
    for name, parameter in cell.named_parameters():
        assert torch.equal(parameter, twin.get_parameter(name))


@pytest.mark.parametrize("name", CELLS)
def test_sizes_stand_in_the_printed_form(name: str) -> None:
    assert str(CELLS[name](3, 4)).endswith("Cell(3, 4)")
    assert isinstance(CELLS[name](3, 4), nn.Module)


class Gated(LSTMCell):
    """Changes the step and says how its gates are now."""

    def forward(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        return super().forward(2 * x, state)

    def gates(self, x: Tensor, state: LSTMState) -> dict[str, Tensor]:
        return super().gates(2 * x, state)


class Silent(LSTMCell):
    """Changes the step alone: the inherited gates are not its own."""

    def forward(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        return super().forward(2 * x, state)


class Wide(LSTMCell):
    """Changes neither."""


class Linear(Unfinished):
    """Calls a layer `gates`, as anyone may."""

    def __init__(self) -> None:
        super().__init__(2, 3)
        self.gates = nn.Linear(2, 3)


def test_gates_are_those_of_the_class_that_gives_the_step() -> None:
    x, cell = torch.randn(1, 2), Gated(2, 3)
    state = cell.initial_state()
    _, after = cell(x, state)
    found = gates_of(cell, x, state)
    torch.testing.assert_close(after.c, found["i"] * found["g"])  # c was zero
    assert gates_of(Silent(2, 3), x, state) == {}
    assert list(gates_of(Wide(2, 3), x, state)) == ["i", "f", "g", "o"]
    assert gates_of(CELLS["rnn"](2, 3), x, CELLS["rnn"](2, 3).initial_state()) == {}
    assert gates_of(Linear(), x, ()) == {}


def test_a_step_whose_gates_a_subclass_replaces_is_still_its_own() -> None:
    class Shown(LSTMCell):
        def gates(self, x: Tensor, state: LSTMState) -> dict[str, Tensor]:
            return {name: 1 - gate for name, gate in super().gates(x, state).items()}

    cell, plain = Shown(2, 3), LSTMCell(2, 3)
    cell.load_state_dict(plain.state_dict())
    x, state = torch.randn(1, 2), plain.initial_state()
    assert torch.equal(cell(x, state)[0], plain(x, state)[0])
