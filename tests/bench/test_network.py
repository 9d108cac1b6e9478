"""The network that every cell stands in, and its width."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from recurra import table
from recurra.bench.network import TOLERANCE, TaskNetwork, parameters_of, state_numbers, widths
from recurra.bench.tasks import TASKS
from recurra.bench.tasks.adding import Adding
from recurra.bench.tasks.copying import Copying
from recurra.errors import ConfigError
from recurra.nn.cells import CELLS
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.cells.rnn import RNNCell
from recurra.randomness import derive_seed

HERE = __name__


class Fours(GRUCell):
    """Takes widths that are multiples of 4 alone."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        if hidden_size % 4:
            raise ConfigError(f"{hidden_size} is no multiple of 4")
        super().__init__(input_size, hidden_size)


class Heads(GRUCell):
    """Refuses what its heads do not divide, in words of its own."""

    def __init__(self, input_size: int, hidden_size: int, heads: int = 4) -> None:
        if hidden_size % heads:
            raise ValueError(f"{hidden_size} is no multiple of {heads}")
        super().__init__(input_size, hidden_size)


class Huge(RNNCell):
    """Has many parameters whatever its width."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.more = nn.Parameter(torch.zeros(100_000))


class Odd(nn.Module):
    """Is not made as a cell is."""

    def __init__(self, size: int) -> None:
        super().__init__()


class Unseeded(RNNCell):
    """Draws its weights from nowhere in particular."""

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        for parameter in self.parameters():
            nn.init.normal_(parameter) if generator is None else None


class Chrono(LSTMCell):
    """Starts with forget biases of its own, and an orthogonal matrix."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        with torch.no_grad():
            nn.init.orthogonal_(self.weight_hh)
            self.bias_hh.zero_()
            self.bias_hh[hidden_size : 2 * hidden_size] = torch.arange(hidden_size) + 2.0


@pytest.fixture
def own(monkeypatch):
    """A function of a class of this file that gives its name as one of CELLS."""

    def name(kind: type) -> str:
        monkeypatch.setitem(CELLS.places, kind.__name__.lower(), f"{HERE}:{kind.__name__}")
        monkeypatch.setattr(table, "imported", _found(table.imported))
        return kind.__name__.lower()

    return name


def _found(before):
    """This file is no module that can be imported by name."""

    def find(place, kind):
        module, _, attribute = place.partition(":")
        return globals()[attribute] if module == HERE else before(place, kind)

    return find


@pytest.mark.parametrize("cell", list(CELLS))
def test_every_cell_has_the_parameters_within_a_fiftieth(cell):
    for task in (Copying(), Adding()):
        found = widths(cell, task)
        network = TaskNetwork(cell, task, found, seed=1)
        off = parameters_of(network) / task.parameters - 1
        assert abs(off) <= TOLERANCE, (found, off)


@pytest.mark.parametrize("parameters", [12_000, 26_000, 400_000])
def test_the_widths_are_of_the_number_that_is_asked_for(parameters):
    task = Adding()
    task.parameters = parameters
    a, b = widths("lstm", task)
    assert b <= a <= b + 1
    counted = parameters_of(TaskNetwork("lstm", task, (a, b), seed=1))
    assert counted == pytest.approx(parameters, rel=TOLERANCE)


@pytest.mark.parametrize(("kind", "options"), [(Fours, ""), (Heads, ""), (Heads, "(heads=2)")])
def test_a_cell_that_takes_some_widths_only(own, kind, options):
    cell = f"{own(kind)}{options}"
    a, b = widths(cell, Adding())
    assert a % 2 == b % 2 == 0 and (options or a % 4 == b % 4 == 0)
    assert parameters_of(TaskNetwork(cell, Adding(), (a, b), 1)) == pytest.approx(
        Adding.parameters, rel=TOLERANCE
    )


def test_a_cell_that_cannot_be_compared_is_said_why(own):
    with pytest.raises(ConfigError, match=r"huge cannot be compared: no widths near \(1, 1\)"):
        widths(own(Huge), Adding())
    none = "none of the widths 1 to 512 is taken"
    with pytest.raises(
        ConfigError, match=f"odd cannot be compared: {none}: TypeError.*; a cell is"
    ):
        widths(own(Odd), Adding())
    with pytest.raises(ConfigError, match=f"{none}: ValueError: 1 is no multiple of 1000; a cell"):
        widths(f"{own(Heads)}(heads=1000)", Adding())
    with pytest.raises(ConfigError, match=r"nearest is \+4.1%; it takes 32, 40, 48, 56, 64 alone"):
        widths("heads(heads=8)", Adding())
    with pytest.raises(ConfigError, match=r"odd\(32, 3\) ends in TypeError.*; a cell is made of"):
        TaskNetwork("odd", Adding(), (3, 3), seed=1)
    with pytest.raises(ConfigError, match=r"no cell is named 'ltsm'. Did you mean 'lstm'"):
        widths("ltsm", Adding())


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
@pytest.mark.parametrize("name", ["copying", "adding"])
def test_step_by_step_is_the_whole_sequence(cell, name):
    task = TASKS[name]()
    network = TaskNetwork(cell, task, (5, 4), seed=1).double().eval()
    network.read = None
    x = task.batch(1, 0, 0).x[:3]
    x = x.double() if x.is_floating_point() else x
    whole, last = network(x)
    state = tuple(c.initial_state(3) for c in network.cells)
    said = []
    for t in range(x.shape[1]):
        y, state = network.step(x[:, t], state)
        said.append(y)
    torch.testing.assert_close(torch.stack(said, dim=1), whole)
    torch.testing.assert_close(state, last)
    half = task.length // 2
    first, carried = network(x[:, :half])
    second, _ = network(x[:, half:], carried)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)


def test_only_what_the_task_reads_is_said():
    task = Adding()
    network = TaskNetwork("rnn", task, (3, 3), seed=1)
    x = task.batch(1, 0, 0).x
    last, _ = network(x)
    network.read = None
    torch.testing.assert_close(last, network(x)[0][:, -1:])


def test_weights_are_those_of_the_seed(own):
    for cell in ("lstm", own(Unseeded)):
        torch.manual_seed(len(cell))
        before = torch.get_rng_state()
        networks = [TaskNetwork(cell, Adding(), (4, 3), seed) for seed in (1, 1, 2)]
        assert torch.equal(torch.get_rng_state(), before)
        one, same, other = (
            torch.cat([p.flatten() for p in each.parameters()]) for each in networks
        )
        assert torch.equal(one, same) and not torch.equal(one, other)


def test_a_cell_s_own_start_is_never_drawn_over(own):
    cells = TaskNetwork(own(Chrono), Adding(), (4, 3), seed=1).cells
    for cell, units in zip(cells, (4, 3)):
        assert cell.bias_hh[units : 2 * units].tolist() == [2.0, 3.0, 4.0, 5.0][:units]
        product = cell.weight_hh.T @ cell.weight_hh
        torch.testing.assert_close(product, torch.eye(units))
    with torch.random.fork_rng(devices=[]):  # nor that of the package's own
        torch.manual_seed(derive_seed(1, "bench weights"))
        alone = LSTMCell(32, 4)
    first, _ = TaskNetwork("lstm", Adding(), (4, 3), seed=1).cells
    torch.testing.assert_close(dict(first.named_parameters()), dict(alone.named_parameters()))


@pytest.mark.parametrize(
    ("cell", "numbers"),
    [("rnn", 5 + 4), ("lstm", 2 * (5 + 4)), ("mlstm", 5 * 5 + 5 + 1 + 4 * 4 + 4 + 1),
     ("lru", 2 * (5 + 4)), ("mlstm(num_heads=1, forget_bias=0.0)", 52)],
)  # fmt: skip
def test_the_numbers_that_a_stream_carries(cell, numbers):
    assert state_numbers(TaskNetwork(cell, Adding(), (5, 4), seed=1)) == numbers


def test_a_complex_number_counts_as_two(monkeypatch):
    network = TaskNetwork("rnn", Adding(), (5, 4), seed=1)
    state = (torch.zeros(1, 3, 2, dtype=torch.complex64), torch.zeros(1, dtype=torch.int64))
    monkeypatch.setattr(network, "initial_state", lambda batch_size: state)
    assert state_numbers(network) == 2 * 6 + 1
