from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from recurra.errors import ConfigError, ShapeError
from recurra.nn.cells import CELLS
from recurra.nn.cells.base import Cell, check_step, gates_of, require_recurrence
from recurra.nn.cells.lstm import LSTMCell, LSTMState
from recurra.nn.cells.recurrent_highway import RecurrentHighwayState
from recurra.nn.state import State, detach, map_tensors
from recurra.nn.unroll import unroll


class Unfinished(Cell):
    pass


def test_a_subclass_must_give_the_step_and_the_state() -> None:
    cell = Unfinished(2, 3)
    with pytest.raises(ConfigError, match=r"Unfinished defines no forward\(x, state\)"):
        cell(torch.zeros(1, 2), ())
    said = r"Unfinished defines no initial_state\(batch_size\), nor a state_type, the NamedTuple"
    with pytest.raises(ConfigError, match=said):
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


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("sizes", [("3", 5), (3, 5.0), (3, None)])
def test_sizes_are_whole_numbers(name: str, sizes: Any) -> None:
    with pytest.raises(ShapeError, match=r"sizes are whole numbers, got '?3'? -> "):
        CELLS[name](*sizes)


@pytest.mark.parametrize("rows", [-1, 2.0, "2", torch.zeros(2, 3)], ids=str)
def test_rows_of_a_state_are_a_whole_number(rows: Any) -> None:
    with pytest.raises(ShapeError, match=r"batch_size is a whole number of rows, got "):
        LSTMCell(3, 5).initial_state(rows)


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


@pytest.mark.parametrize("name", CELLS)
def test_a_step_takes_plain_tuples_and_refuses_all_else(name: str) -> None:
    cell, x = CELLS[name](3, 5), torch.randn(2, 3)
    _, state = cell(x, cell.initial_state(2))
    expected = cell(x, state)
    for form in (tuple, list):
        found = cell(x, form(state))
        torch.testing.assert_close(found, expected)
        assert type(found[1]) is type(state)
    wrong = (
        None,
        state[0],
        (*state, state[0]),
        state[:-1],
        tuple(t.numpy() for t in detach(state)),
    )
    for other in wrong:
        with pytest.raises(ShapeError, match=rf"{type(cell).__name__}: got the state .*, expected"):
            cell(x, other)
    alien = LSTMState if len(state) == 1 else RecurrentHighwayState
    with pytest.raises(ShapeError):
        cell(x, alien(*[state[0]] * len(alien._fields)))


def test_a_step_refuses_other_things_than_tensors_of_its_kind() -> None:
    cell = LSTMCell(3, 5)
    state, x = cell.initial_state(2), torch.zeros(2, 3)
    with pytest.raises(ShapeError, match=r"of shape \(batch, 3\), got ndarray, no tensor"):
        cell(x.numpy(), state)
    for kind in (torch.float64, torch.int64):
        with pytest.raises(
            ShapeError, match=rf"x is of {kind}, its state.h of torch.float32; make"
        ):
            cell(x.to(kind), state)
    for kind in (torch.float64, torch.int64, torch.complex64):
        for mixed in (LSTMState(state.h, state.c.to(kind)), LSTMState(state.h.to(kind), state.c)):
            with pytest.raises(ShapeError, match=rf"of torch.float32, its state.[hc] of {kind}; m"):
                cell(x, mixed)
    with pytest.raises(ShapeError, match=r"LSTMCell: state.h is on meta, x on cpu; move one"):
        cell(x, tuple(tensor.to("meta") for tensor in state))
    with torch.autocast("cpu", torch.bfloat16):
        _, after = cell(x, state)
        cell(x, after)


def test_what_is_no_recurrence_is_told_how_to_become_one() -> None:
    class Half(Cell):
        def __init__(self) -> None:
            nn.Module.__init__(self)

    from_torch = r"Stack takes a cell or wrapper, got \w+ of torch.nn: recurra.from_torch\(module\)"
    given: dict[Any, str] = {
        nn.LSTM(3, 5): from_torch,
        nn.GRUCell(3, 5): from_torch,
        nn.Linear(3, 5): "got Linear, which has no input_size nor output_size nor initial_state",
        LSTMCell: "got the class LSTMCell: make one of it, with its sizes",
        Half(): r"got Half without sizes: call super\(\).__init__\(input_size, output_size\)",
        "lstm": "got 'lstm'",
        3: "got int",
    }
    for each, why in given.items():
        with pytest.raises(ConfigError, match=why):
            require_recurrence(each, "Stack")
    require_recurrence(LSTMCell(3, 5), "Stack")


class ShapedState(NamedTuple):
    h: Tensor
    memory: Tensor


class Shaped(Cell):
    """A cell one tensor of whose state is not (B, O)."""

    def initial_state(self, batch_size: int = 1, **where: Any) -> ShapedState:
        O = self.output_size  # noqa: E741
        return ShapedState(torch.zeros(batch_size, O), torch.zeros(batch_size, O, 2))

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


class Named(Cell):
    """A cell that names its state and gives the step, and no more than that."""

    state_type = ShapedState
    starts_at: ClassVar = {"h": 0.5}

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"memory": (self.output_size, 2)}

    def forward(self, x: Tensor, state: ShapedState) -> tuple[Tensor, ShapedState]:
        check_step(self, x, state)
        h = state.h + state.memory.sum(2) + x.sum(1, keepdim=True)
        return h, ShapedState(h, state.memory + 1)


def test_a_cell_that_names_its_state_starts_where_it_says() -> None:
    state = Named(3, 5).initial_state(2)
    assert type(state) is ShapedState
    assert torch.equal(state.h, torch.full((2, 5), 0.5))
    assert torch.equal(state.memory, torch.zeros(2, 5, 2))


def test_a_cell_that_names_its_state_starts_where_its_parameters_are() -> None:
    cell = Named(3, 5)
    cell.weight = nn.Parameter(torch.zeros(1, dtype=torch.float64, device="meta"))
    for where in ({}, {"device": "cpu"}, {"dtype": torch.float16}):
        state = cell.initial_state(2, **where)  # type: ignore[arg-type]
        expected = (where.get("device", "meta"), where.get("dtype", torch.float64))
        assert {(t.device.type, t.dtype) for t in state} == {expected}
    with pytest.raises(ShapeError, match=r"batch_size is a whole number of rows, got 2\.5"):
        cell.initial_state(2.5)  # type: ignore[arg-type]


def test_a_cell_that_names_its_state_is_unrolled_as_it_steps() -> None:
    cell, x = Named(3, 5), torch.randn(2, 4, 3)
    y, after = unroll(cell, x)
    state = cell.initial_state(2)
    for t in range(4):
        h, state = cell(x[:, t], state)
        assert torch.equal(y[:, t], h)
    assert all(map(torch.equal, after, state))


def test_a_state_that_starts_elsewhere_may_still_be_made_by_hand() -> None:
    class Own(LSTMCell):
        def initial_state(self, batch_size: int = 1, **where: Any) -> LSTMState:
            state: LSTMState = super().initial_state(batch_size, **where)
            return state._replace(c=state.c + 1)

    cell, x = Own(3, 5), torch.randn(2, 1, 3)
    assert torch.equal(cell.initial_state(2).c, torch.ones(2, 5))
    _, after = unroll(cell, x)
    torch.testing.assert_close(after, cell(x[:, 0], cell.initial_state(2))[1])


class Nested(Cell):
    """A cell whose state is what it is told."""

    def __init__(self, like: State) -> None:
        super().__init__(3, 5)
        self.like = like

    def initial_state(self, batch_size: int = 1, **where: Any) -> State:
        return map_tensors(torch.zeros_like, self.like)


def test_check_step_reads_any_nesting() -> None:
    x, good, bad = torch.zeros(2, 3), torch.zeros(2, 5), torch.zeros(2, 1)
    cases: tuple[tuple[Any, Any, str], ...] = (
        (good, bad, "state"),
        ((good, good), (good, bad), "state.1"),
        ((good, (good,)), (good, (bad,)), "state.1.0"),
        (LSTMState(good, (good,)), LSTMState(good, (bad,)), "state.c.0"),  # type: ignore[arg-type]
    )
    for like, state, place in cases:
        check_step(Nested(like), x, like)
        with pytest.raises(ShapeError, match=rf"Nested: {place} is \(2, 1\), expected \(2, 5\)"):
            check_step(Nested(like), x, state)
    check_step(Nested(()), x, ())


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


def test_gates_are_those_of_the_class_that_gives_the_step() -> None:
    x, cell = torch.randn(1, 2), Gated(2, 3)
    state = cell.initial_state()
    _, after = cell(x, state)
    found = gates_of(cell, x, state)
    torch.testing.assert_close(after.c, found["i"] * found["g"])  # c was zero
    assert gates_of(Silent(2, 3), x, state) == {}
    assert list(gates_of(Wide(2, 3), x, state)) == ["i", "f", "g", "o"]
    assert gates_of(CELLS["rnn"](2, 3), x, CELLS["rnn"](2, 3).initial_state()) == {}


def test_a_step_whose_gates_a_subclass_replaces_is_still_its_own() -> None:
    class Shown(LSTMCell):
        def gates(self, x: Tensor, state: LSTMState) -> dict[str, Tensor]:
            return {name: 1 - gate for name, gate in super().gates(x, state).items()}

    cell, plain = Shown(2, 3), LSTMCell(2, 3)
    cell.load_state_dict(plain.state_dict())
    x, state = torch.randn(1, 2), plain.initial_state()
    assert torch.equal(cell(x, state)[0], plain(x, state)[0])
