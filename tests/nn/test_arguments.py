"""What a newcomer hands to `unroll`, `plan` and wrappers: taken where it is clear, or refused."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recurra.errors import ConfigError, RecurraError, ShapeError
from recurra.nn.cells import CELLS
from recurra.nn.cells.base import Cell
from recurra.nn.cells.gru import GRUCell, GRUState
from recurra.nn.cells.lstm import LSTMCell, LSTMState
from recurra.nn.state import map_tensors
from recurra.nn.unroll import plan, unroll, unroll_plain
from recurra.nn.wrappers import WRAPPERS
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.stack import Stack

either = pytest.mark.parametrize("how", [unroll, unroll_plain])


def deep() -> Stack:
    return Stack([LSTMCell(3, 5), GRUCell(5, 4)])


@either
def test_plain_tuples_are_states(how: Any) -> None:
    cell, x = deep(), torch.randn(2, 6, 3)
    _, state = how(cell, x)
    expected = how(cell, x, state)
    for plain in (((*state[0],), (*state[1],)), [[*state[0]], [*state[1]]]):
        y, after = how(cell, x, plain)
        torch.testing.assert_close((y, after), expected)
        assert [type(part) for part in after] == [LSTMState, GRUState]
        y, after = cell(x[:, 0], plain)
        torch.testing.assert_close((y, after), cell(x[:, 0], state))


@either
def test_states_of_other_parts_are_refused_in_one_line(how: Any) -> None:
    cell, x = deep(), torch.zeros(2, 6, 3)
    h, c, g = torch.zeros(2, 5), torch.zeros(2, 5), torch.zeros(2, 4)
    for state in (
        h,
        (h, c),
        ((h, c),),
        ((h, c), (g, g)),
        ((h, None), (g,)),
        ((h, c), (g.numpy(),)),
        ((h[None], c[None]), (g[None],)),
        "state",
        {"h": h},
        (GRUState(h), LSTMState(g, g)),
    ):
        with pytest.raises(ShapeError, match=r"(got the state|state\.\S+ is) .*, expected") as one:
            how(cell, x, state)
        with pytest.raises(ShapeError) as other:
            cell(x[:, 0], state)
        assert "\n" not in f"{one.value}{other.value}"
    for state in (None, ()):
        with pytest.raises(ShapeError, match=r"got the state .*, expected"):
            cell(x[:, 0], state)


@either
def test_lists_and_arrays_are_lengths_and_resets(how: Any) -> None:
    cell, x = deep(), torch.randn(2, 3, 3)
    lengths, reset = [3, 1], [[False, True, False], [False, False, False]]
    expected = how(cell, x, lengths=torch.tensor(lengths), reset=torch.tensor(reset))
    for form in (list, np.array):
        torch.testing.assert_close(how(cell, x, lengths=form(lengths), reset=form(reset)), expected)
    for kind in (np.uint8, np.uint16, np.uint32, np.uint64):
        found = how(cell, x, lengths=np.array(lengths, kind), reset=reset)
        torch.testing.assert_close(found, expected)


@either
@pytest.mark.parametrize("name", CELLS)
def test_states_elsewhere_or_of_other_numbers_are_refused(how: Any, name: str) -> None:
    cell, x = CELLS[name](3, 4), torch.randn(2, 5, 3)
    state = cell.initial_state(2)
    with pytest.raises(ShapeError, match=r"Cell: state\.\w+ is on meta, x on cpu; move one with"):
        how(cell, x, map_tensors(lambda tensor: tensor.to("meta"), state))
    for kind in (torch.int64, torch.complex64, torch.float64):
        other = [*state[:-1], state[-1].to(kind)]
        with pytest.raises(ShapeError, match=rf"x is of torch.float32, its .* of {kind}; make"):
            how(cell, x, other)


@either
def test_a_state_may_count_in_whole_numbers(how: Any) -> None:
    class Counting(Good):
        def initial_state(self, batch_size: int = 1, **where: Any) -> Any:
            return Own(torch.zeros(batch_size, 5)), torch.zeros(batch_size, dtype=torch.int64)

        def forward(self, x: Tensor, state: Any) -> Any:
            y, after = super().forward(x, state[0])
            return y, (after, state[1] + 1)

    cell, x = Stack([Counting(3, 5)]), torch.randn(2, 4, 3)
    _, state = how(cell, x)
    _, ((_, steps),) = how(cell, x, state)
    assert steps.tolist() == [8, 8]
    with pytest.raises(ShapeError, match=r"its state.0.1 of torch.int32; make"):
        how(cell, x, ((state[0][0], steps.int()),))


@either
def test_arrays_may_be_read_backwards_or_never_written(how: Any) -> None:
    cell, x = deep(), torch.randn(2, 3, 3)
    mask = np.array([[True, False, True], [False, True, True]])
    frozen = mask.copy()
    frozen.flags.writeable = False
    expected = how(cell, x, mask=torch.tensor(mask), lengths=torch.tensor([2, 3]))
    for each in (frozen, mask[:, ::-1].copy()[:, ::-1]):
        found = how(cell, x, mask=each, lengths=np.array([3, 2])[::-1])
        torch.testing.assert_close(found, expected)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@either
@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("steps", [1, 3])
def test_states_that_are_not_plain_are_refused(how: Any, name: str, steps: int) -> None:
    cell, x = CELLS[name](3, 4), torch.zeros(2, steps, 3)
    nested = torch.nested.nested_tensor([torch.zeros(4), torch.zeros(4)])
    start = cell.initial_state(2)
    for kind, state in (
        ("sparse_coo", map_tensors(Tensor.to_sparse, start)),
        ("nested", map_tensors(lambda _: nested, start)),
    ):
        with pytest.raises(ShapeError, match=rf"state\.\w+ is a {kind} tensor, expected \(2"):
            how(cell, x, state)
        with pytest.raises(ShapeError, match=rf"state\.\w+ is a {kind} tensor, expected \(2"):
            cell(x[:, 0], state)


@either
@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"lengths": 3}, r"lengths is one integer a row, shape \(2,\), got \(\)"),
        ({"lengths": [3.0, 1.0]}, "lengths is one integer a row, .* got .* torch.float32"),
        ({"lengths": [3 + 0j, 1 + 0j]}, "lengths is one integer a row, .* got .* torch.complex64"),
        ({"lengths": np.array([4, 1], np.uint32)}, "lie between 0 and 3, the steps of x, got 1 to"),
        ({"lengths": np.array([2**63, 1], np.uint64)}, "lie between 0 and 3, .* got -"),
        ({"lengths": ["3", 1]}, r"lengths is a tensor or a list, got \['3', 1\]"),
        ({"lengths": [[3], [1, 2]]}, "lengths is a tensor or a list, got"),
        ({"reset": True}, r"reset is bool of shape \(2, 3\), got \(\)"),
        ({"reset": [[0, 1, 0]] * 2}, r"reset is bool of shape .* torch.int64"),
        ({"mask": [[1, 0, 1]] * 2}, r"mask is bool of shape \(2, 3\), got \(2, 3\) torch.int64"),
        ({"mask": torch.ones(3, 2).bool()}, r"mask is bool of shape \(2, 3\), got \(3, 2\)"),
        ({"mask": [[True], [True, False]]}, r"mask is a tensor or a list, got \[\[True"),
        ({"mask": torch.ones(2, 3).bool().to_sparse()}, "mask is a plain tensor, got a sparse"),
        ({"mask": torch.ones(2, 3, device="meta").bool()}, "mask is on meta, x on cpu; move one"),
        ({"mask": [[True] * 3] * 2, "lengths": [4, 1]}, "lengths lie between 0 and 3"),
        ({"lengths": torch.ones(2).long().to_sparse()}, "lengths is a plain tensor, got a sparse"),
        ({"mask": np.array([[[None]] * 9] * 9)}, r"mask is a tensor or a list, got array\(\[\[\["),
        ({"x": torch.zeros(2, 3, 3).to_sparse()}, r"got a sparse_coo tensor; to_dense\(\) makes"),
        ({"generator": 1}, r"generator is a torch.Generator, got 1: torch.Generator\(\)"),
        ({"x": np.zeros((2, 3, 3))}, "got ndarray; torch.as_tensor"),
        ({"x": [[[0.0] * 3] * 3] * 2}, "got list; torch.as_tensor"),
        ({"x": None}, "got NoneType; torch.as_tensor"),
        ({"x": torch.zeros(2, 3, 3).double()}, "x is of torch.float64, .* state of torch.float32;"),
        ({"x": torch.zeros(2, 3, 3, device="meta")}, "Stack is on cpu, x on meta; move one"),
        ({"x": torch.zeros(2, 3, 3).long()}, "x is of torch.int64, .* of torch.float32; make"),
    ],
)
def test_other_arguments_are_refused_in_one_line(how: Any, given: Any, why: str) -> None:
    given = {"x": torch.zeros(2, 3, 3), **given}
    with pytest.raises(RecurraError, match=why) as error:
        how(deep(), given.pop("x"), **given)
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@either
def test_nested_tensors_are_refused_with_the_way_to_lay_them_out(how: Any) -> None:
    x = torch.nested.nested_tensor([torch.zeros(2, 3), torch.zeros(4, 3)])
    with pytest.raises(ShapeError, match=r"got a nested tensor; torch.nested.to_padded_tensor"):
        how(deep(), x)


@pytest.mark.parametrize("how", [unroll, unroll_plain, lambda cell, x: plan(cell)])
def test_foreign_modules_are_refused_with_the_way_to_take_them(how: Any) -> None:
    for module in (nn.LSTM(3, 5), nn.GRUCell(3, 5)):
        with pytest.raises(ConfigError, match=r"of torch.nn: recurra.from_torch\(module\)"):
            how(module, torch.zeros(1, 2, 3))
    for other in (nn.Linear(3, 5), LSTMCell, "lstm", None):
        with pytest.raises(ConfigError, match="takes a cell or wrapper, got"):
            how(other, torch.zeros(1, 2, 3))
    with pytest.raises(ShapeError, match="plan takes x as a tensor, got ndarray"):
        plan(LSTMCell(3, 5), np.zeros(1))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", WRAPPERS)
@pytest.mark.parametrize("given", [nn.LSTM(3, 3), "lstm", LSTMCell], ids=["torch", "name", "class"])
def test_every_wrapper_refuses_what_is_no_recurrence(name: str, given: Any) -> None:
    kind = WRAPPERS[name]
    args: dict[str, Any] = {
        "stack": ([given],),
        "bidirectional": (given, given),
        "projection": (given, 2),
        "weight_drop": (given, 0.5),
    }
    with pytest.raises(ConfigError, match=f"{kind.__name__} takes a cell or wrapper, got"):
        kind(*args.get(name, (given,)))


def test_a_stack_takes_a_list_of_any_kind() -> None:
    cells = [LSTMCell(3, 5), GRUCell(5, 4)]
    for given in (cells, (*cells,), nn.ModuleList(cells), (cell for cell in cells)):
        assert Stack(given).output_size == 4  # type: ignore[arg-type]
    for given in (cells[0], nn.LSTM(3, 5)):
        with pytest.raises(ConfigError, match="Stack takes a list of cells, got LSTM"):
            Stack(given)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="Stack: got no cells"):
        Stack([])


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("projection", ("2",)),
        ("projection", (2.0,)),
        ("mogrifier", (2.5,)),
        ("mogrifier", (2, 1.5)),
    ],
)
def test_sizes_of_wrappers_are_whole_numbers(name: str, args: Any) -> None:
    with pytest.raises(RecurraError, match=r"at least [01], got '?[12]"):
        WRAPPERS[name](LSTMCell(3, 5), *args)


class Own(NamedTuple):
    h: Tensor


class Good(Cell):
    """Somebody's cell as it should be; below, each misses one part of it."""

    def initial_state(self, batch_size: int = 1, **where: Any) -> Any:
        return Own(torch.zeros(batch_size, self.output_size))

    def forward(self, x: Tensor, state: Any) -> Any:
        h = state.h + x.sum(1, keepdim=True)
        return h, Own(h)


def state_of(make: Any) -> type[Good]:
    class Odd(Good):
        def initial_state(self, batch_size: int = 1, **where: Any) -> Any:
            return make(batch_size)

        def forward(self, x: Tensor, state: Any) -> Any:
            return x.sum(1, keepdim=True).expand(-1, 5), state

    return Odd


def step_of(make: Any) -> type[Good]:
    class Odd(Good):
        def forward(self, x: Tensor, state: Any) -> Any:
            return make(*super().forward(x, state))

    return Odd


class WithoutDevice(Good):
    def initial_state(self, batch_size: int = 1) -> Any:  # type: ignore[override]
        return Own(torch.zeros(batch_size, self.output_size))


class WithoutSizes(Good):
    def __init__(self, *sizes: int) -> None:
        nn.Module.__init__(self)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (WithoutSizes, r"without sizes: call super\(\).__init__\(input_size, output_size\)"),
        (WithoutDevice, r"initial_state\(batch_size=1, \*, device=None, dtype=None\) cannot be"),
        (Cell, r"Cell defines no initial_state\(batch_size\)"),
        (state_of(lambda B: None), "returns a tensor or a tuple of states, .* got NoneType"),
        (state_of(lambda B: {"h": torch.zeros(B, 5)}), "a tuple of states, .* got dict"),
        (state_of(lambda B: Own(0.0)), "a tuple of states, .* got float"),  # type: ignore[arg-type]
        (state_of(lambda B: Own(torch.zeros(5))), r"of 2 rows, got \(5,\)"),
        (state_of(lambda B: torch.tensor(0.0)), r"of 2 rows, got \(\)"),
        (step_of(lambda y, state: y), r"forward returns \(y, state\), got Tensor"),
        (step_of(lambda y, state: state), r"forward returns \(y, state\), got Own"),
        (step_of(lambda y, state: (y, state, y)), r"forward returns \(y, state\), got tuple"),
        (step_of(lambda y, state: (y[:, :3], state)), r"y of shape \(2, 5\), got \(2, 3\)"),
        (step_of(lambda y, state: (None, state)), r"y of shape \(2, 5\), got NoneType"),
        (step_of(lambda y, state: (y, y)), "a state like the one before the step; got the state"),
        (step_of(lambda y, state: (y, Own(y[:, :2]))), r"state.h is \(2, 2\), expected \(2, 5\)"),
    ],
)
def test_own_cells_that_miss_a_part_of_the_contract(kind: Any, why: str) -> None:
    for wrap in (lambda cell: cell, lambda cell: Stack([Dropout(cell)])):
        with pytest.raises(RecurraError, match=why) as error:
            unroll(wrap(kind(3, 5)), torch.zeros(2, 4, 3))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "kind",
    [Good, state_of(lambda B: ()), state_of(lambda B: [torch.zeros(B, 5)])],
    ids=["good", "no state", "list"],
)
def test_own_cells_that_do_not(kind: Any) -> None:
    cell, x = kind(3, 5), torch.randn(2, 4, 3)
    y, state = unroll(cell, x, reset=[[False, True, False, False]] * 2, lengths=[4, 2])
    assert y.shape == (2, 4, 5)
    unroll(cell, x, state)


class Stated(Good):
    state_type = Own

    def initial_state(self, batch_size: int = 1, **where: Any) -> Any:
        return Own(torch.zeros(batch_size, self.output_size, **where))


@pytest.mark.parametrize(
    "make",
    [
        lambda y, state: y,
        lambda y, state: (),
        lambda y, state: (y, state, y),
        lambda y, state: [y, state],
        lambda y, state: (y[:, :3], state),
        lambda y, state: (None, state),
        lambda y, state: (y, y),
        lambda y, state: (y, Own(y[:, :2])),
    ],
)
def test_a_step_alone_of_an_own_cell_is_checked_as_many_are(make: Any) -> None:
    class Odd(Stated):
        def forward(self, x: Tensor, state: Any) -> Any:
            return make(*super().forward(x, state))

    said = []
    for steps in (1, 2):
        with pytest.raises(ShapeError) as error:
            unroll(Odd(3, 5), torch.zeros(2, steps, 3), Own(torch.zeros(2, 5)))
        said.append(str(error.value))
    assert said[0] == said[1]


@pytest.mark.parametrize("kind", [Stated, LSTMCell, CELLS["clockwork_rnn"], CELLS["qrnn"]])
def test_a_step_alone_says_what_many_say(kind: Any) -> None:
    cell = kind(3, 5)
    state = type(cell.initial_state())(*(torch.zeros_like(s) for s in cell.initial_state(2)))
    y, after = unroll(cell, torch.ones(2, 1, 3), state)
    torch.testing.assert_close((y[:, 0], after), cell(torch.ones(2, 3), state))
    wrong = [
        map_tensors(lambda tensor: torch.cat([tensor, tensor]), state),
        map_tensors(lambda tensor: tensor[:1], state),
        map_tensors(Tensor.double, state),
        map_tensors(Tensor.int, state),
        map_tensors(lambda tensor: tensor.to("meta"), state),
        (*state, state[0]),
    ]
    given = [(torch.zeros(2, 2, 3), each) for each in wrong]
    given += [(torch.zeros(2, 2, 3).double(), state), (torch.zeros(2, 2, 4), state)]
    for x, begin in given:
        said = []
        for steps in (2, 1):
            with pytest.raises(ShapeError) as error:
                unroll(cell, x[:, :steps], begin)
            said.append(str(error.value).replace("(2, 2, 4)", "(2, 1, 4)"))
        assert said[0] == said[1]
