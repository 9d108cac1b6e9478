"""Loops over steps as graphs, on a tape that stands for a GPU: equal to the loop, come what may."""

from __future__ import annotations

import copy
import gc
import threading
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint

from recurra.nn import graphed, sequences, unroll
from recurra.nn.cells import CELLS
from recurra.nn.cells.base import Cell, Kernel
from recurra.nn.cells.gru import GRUCell, GRUState
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.cells.mgu import MGUCell
from recurra.nn.kernels.device.graphs import Graphs
from recurra.nn.state import State, detach, flatten, map_tensors
from recurra.nn.unroll import plan, unroll_plain
from recurra.nn.wrappers.base import Recurrence
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.dilated import Dilated
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.highway import Highway
from recurra.nn.wrappers.mogrifier import Mogrifier
from recurra.nn.wrappers.reset import Reset
from recurra.nn.wrappers.stack import Stack
from recurra.nn.wrappers.trainable_state import TrainableState
from recurra.nn.wrappers.weight_drop import WeightDrop
from recurra.nn.wrappers.zoneout import Zoneout

B, T = 4, 6
LENGTHS = torch.tensor([6, 0, 3, 1])
RESET = torch.tensor(
    [[0, 0, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1], [1, 0, 1, 0, 1, 0], [0, 1, 0, 0, 0, 1]]
).bool()


class LoopedMGUCell(MGUCell):
    """As on a GPU, where nothing compiled serves."""

    def kernel(self, x: Tensor) -> Kernel:
        return Kernel("a loop of steps", self._loop, looped=True)


RECURRENCES: dict[str, Callable[[], Recurrence]] = {
    **{name: (lambda name=name: CELLS[name](3, 4)) for name in CELLS},
    "gru reset before": lambda: GRUCell(3, 4, reset_after=False),
    "stack": lambda: Stack([LSTMCell(3, 5), GRUCell(5, 4)]),
    "bidirectional": lambda: Bidirectional(LSTMCell(3, 4), MGUCell(3, 4)),
    "highway": lambda: Highway(LSTMCell(3, 3)),
    "mogrifier": lambda: Mogrifier(LSTMCell(3, 4), rounds=3),
    "dropout of state": lambda: Dropout(
        Stack([LSTMCell(3, 4), GRUCell(4, 4)]), input=0.2, output=0.3, state=0.4
    ),
    "variational": lambda: Dropout(GRUCell(3, 4), state=0.4, variational=True),
    "zoneout": lambda: Zoneout(GRUCell(3, 4), 0.3),
    "zoneout asleep": lambda: Zoneout(GRUCell(3, 4), 0.3).eval(),
    "looped": lambda: LoopedMGUCell(3, 4),
    "dilated": lambda: Dilated(LoopedMGUCell(3, 4), 4),
    "learned start around": lambda: TrainableState(
        Stack([LSTMCell(3, 4), Dropout(GRUCell(4, 4), state=0.3)])
    ),
    "weights of other weights": lambda: parametrizations.weight_norm(GRUCell(3, 4), "weight_hh"),
    "learned start": lambda: Dropout(TrainableState(Reset(LSTMCell(2, 4))), state=0.3),
    "dropped weights": lambda: WeightDrop(LSTMCell(3, 4), 0.5),
    "dropped weights within": lambda: Dropout(WeightDrop(LSTMCell(3, 4), 0.5), state=0.3),
}


@pytest.fixture
def tape(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Graphs on a tape, and no other kernels than those that loop."""
    found = import_module("tape").OnTape()
    monkeypatch.setattr(graphed, "GRAPHS", Graphs(found))
    every = sequences.kernel_for

    def looping(inner: Recurrence, x: Tensor, *rest: Any) -> Kernel | str:
        kernel = every(inner, x, *rest)
        return kernel if isinstance(kernel, Kernel) and kernel.looped else "not here"

    monkeypatch.setattr(sequences, "kernel_for", looping)
    monkeypatch.setattr(unroll, "kernel_for", looping)
    return found


def results(
    how: Callable[..., Any], cell: Recurrence, x: Tensor, state: State, **options: Any
) -> dict[str, Tensor]:
    """What comes out, and the gradients of all that went in."""
    x, state = map_tensors(lambda tensor: tensor.clone().requires_grad_(), (x, state))
    y, after = how(cell, x, state, generator=torch.Generator().manual_seed(7), **options)
    found = {"y": y, **flatten(after)}
    loss = sum((t * torch.arange(t.numel()).sin().view_as(t)).sum() for t in found.values())
    leaves = {"x": x, **flatten(state, "before"), **dict(cell.named_parameters())}
    gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    return found | {f"gradient of {name}": g for name, g in zip(leaves, gradients) if g is not None}


def inputs(cell: Recurrence) -> tuple[Tensor, State]:
    x = torch.randn(B, T, cell.input_size)
    end = unroll_plain(cell, x, generator=torch.Generator().manual_seed(3))[1]
    return x, detach(end)


def assert_same(got: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, tensor in expected.items():
        if name in got or tensor.any():  # unused, or zero: as good
            torch.testing.assert_close(
                got[name], tensor, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
            )


@pytest.mark.parametrize(
    "options", [{}, {"lengths": LENGTHS, "reset": RESET}], ids=["whole", "cut"]
)
@pytest.mark.parametrize("make", RECURRENCES.values(), ids=RECURRENCES)
def test_a_replay_is_equal_to_the_loop(make, options, tape):
    cell = make()
    within = isinstance(cell, Dropout) and isinstance(cell.inner(), WeightDrop)
    for _ in range(6):
        with torch.no_grad():
            for parameter in cell.parameters():
                parameter += 0.01 * torch.randn_like(parameter)
        x, state = inputs(cell)
        assert_same(
            results(unroll.unroll, cell, x, state, **options),
            results(unroll_plain, cell, x, state, **options),
        )
    assert (tape.recorded > 0) is not within  # whose weights are no tensors of the cell's


class OwnCell(Cell):
    """A cell of someone's own; `twist` makes of it one that no graph can follow."""

    twist: Callable[[Any, Tensor], Tensor] | None = None
    factor = 1.0

    def __init__(self) -> None:
        super().__init__(3, 3)
        self.weight = nn.Parameter(torch.randn(3, 3))
        self.register_buffer("scale", torch.ones(3))

    def initial_state(self, batch_size: int = 1, **kind: Any) -> GRUState:
        return GRUState(self.zeros(batch_size, 3, kind.get("device"), kind.get("dtype")))

    def forward(self, x: Tensor, state: GRUState) -> tuple[Tensor, GRUState]:
        h = torch.tanh(x @ self.weight + state[0] * self.scale) * self.factor
        h = h if self.twist is None else self.twist(h)
        return h, GRUState(h)


def recorded(cell: Recurrence) -> Recurrence:
    """Use a cell until its graph stands."""
    for _ in range(5):
        x, state = inputs(cell)
        results(unroll.unroll, cell, x, state)
    return cell


def leaves(cell: Recurrence) -> tuple[Tensor, State]:
    return map_tensors(lambda tensor: tensor.requires_grad_(), inputs(cell))


def check(cell: Recurrence) -> None:
    x, state = inputs(cell)
    assert_same(results(unroll.unroll, cell, x, state), results(unroll_plain, cell, x, state))


def test_a_graph_is_made_at_the_third_use_of_a_shape(tape):
    cell = OwnCell()
    x, state = inputs(cell)
    for use, made in enumerate([0, 0, 2, 2], 1):
        results(unroll.unroll, cell, x, state)
        assert tape.recorded == made, use
    results(unroll.unroll, cell, x[:, :3], state)
    assert tape.recorded == 2
    played = tape.played
    results(unroll.unroll, cell, x, state)
    assert tape.played == played + 2  # once ahead, once back, and no more comparing


def test_two_calls_before_their_backward_passes(tape):
    cell = recorded(OwnCell())
    played = tape.played
    calls, expected = [], []
    for _ in range(3):
        x, state = leaves(cell)
        calls.append(unroll.unroll(cell, x, state)[0])
        expected.append(unroll_plain(cell, x, state)[0])
    assert tape.played == played + 3
    for got, plain in zip(calls, expected):
        torch.testing.assert_close(got, plain)
    for number in (1, 0, 2, 1):
        (got,) = torch.autograd.grad(calls[number].pow(2).sum(), cell.weight, retain_graph=True)
        (plain,) = torch.autograd.grad(
            expected[number].pow(2).sum(), cell.weight, retain_graph=True
        )
        torch.testing.assert_close(got, plain)


def test_gradients_add_up_in_grad(tape):
    cell = recorded(OwnCell())
    plain = copy.deepcopy(cell)
    for _ in range(3):  # a .grad that is the graph's own memory would be overwritten
        x, state = leaves(cell)
        unroll.unroll(cell, x, state)[0].pow(2).sum().backward()
        unroll_plain(plain, x, state)[0].pow(2).sum().backward()
    torch.testing.assert_close(cell.weight.grad, plain.weight.grad)


def test_outputs_stay_when_the_graph_runs_again(tape):
    cell = recorded(OwnCell())
    x, state = leaves(cell)
    y, end = unroll.unroll(cell, x, state)
    kept = y.clone(), end.h.clone()
    unroll.unroll(cell, 2 * x, state)
    assert torch.equal(y, kept[0])
    assert torch.equal(end.h, kept[1])


def test_the_second_derivative_is_that_of_the_loop(tape):
    cell = recorded(OwnCell()).double()
    x = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    state = cell.initial_state(2)
    for _ in range(4):
        unroll.unroll(cell, x, state)[0].sum().backward()
    before = tape.played
    assert torch.autograd.gradgradcheck(lambda x: unroll.unroll(cell, x * x, state)[0], x)
    assert tape.played > before


def test_a_parameter_changed_before_the_backward_pass_is_refused(tape):
    cell = recorded(OwnCell())
    y, _ = unroll.unroll(cell, *leaves(cell))
    with torch.no_grad():
        cell.weight += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


class Shifted(OwnCell):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(3))

    def forward(self, x: Tensor, state: GRUState) -> tuple[Tensor, GRUState]:
        return super().forward(x + self.shift, state)


def test_what_the_loop_does_not_keep_may_be_filled_anew_before_the_backward_pass(tape):
    cell, lengths, reset = Shifted(), LENGTHS.clone(), RESET.clone()
    for use in range(7):
        x, state = leaves(cell)
        calls = [how(cell, x, state, lengths=lengths, reset=reset)[0] for how in (
            unroll_plain, unroll.unroll
        )]  # fmt: skip
        if use % 2:  # the graph's memory holds another call, so that this one is made again
            unroll.unroll(cell, 2 * x, state, lengths=lengths, reset=reset)
        lengths.fill_(1)
        reset.logical_not_()
        cell.shift += 1
        expected, got = (torch.autograd.grad(y.sum(), [x, cell.weight]) for y in calls)
        torch.testing.assert_close(got, expected)
        lengths.copy_(LENGTHS)
    assert tape.recorded == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda cell: setattr(cell, "factor", 0.5),
        lambda cell: setattr(cell, "weight", nn.Parameter(torch.eye(3))),
        lambda cell: cell.weight.data.mul_(2),
        lambda cell: cell.scale.mul_(2),
        lambda cell: cell.weight.requires_grad_(False),
        lambda cell: cell.eval(),
        lambda cell: setattr(cell, "twist", torch.sin),
        lambda cell: cell.register_forward_hook(lambda _, __, out: (2 * out[0], out[1])),
    ],
    ids=["number", "parameter", "data", "buffer", "frozen", "eval", "function", "hook"],
)
def test_a_change_of_the_cell_counts_at_once(change, tape):
    cell = recorded(OwnCell())
    change(cell)
    for _ in range(4):
        x, state = inputs(cell)
        assert_same(*(forward_and_x(how, cell, x, state) for how in (unroll.unroll, unroll_plain)))


def test_functions_that_come_and_go_are_told_apart(tape):
    cell = OwnCell()
    for factor in range(1, 6):  # each may stand in memory where one before stood
        cell.twist = lambda h, factor=factor: h * factor
        recorded(cell)
        check(cell)
    assert tape.recorded == 10
    freed = weakref.ref(cell)
    del cell
    gc.collect()
    assert freed() is None


@pytest.mark.parametrize(
    ("value", "other"),
    [(1, True), (2, 2.0), (0.0, -0.0), ((1, 2), (1, 2.0)), ("a", ("a",)), ((3,), torch.Size([3]))],
)
def test_equal_values_of_other_kinds_are_told_apart(value, other, tape):
    cell = OwnCell()
    cell.option = value
    recorded(cell).option = other
    recorded(cell)
    assert tape.recorded == 4


def test_tensors_of_another_name_are_told_apart(tape):
    class Naming(OwnCell):
        def forward(self, x: Tensor, state: GRUState) -> tuple[Tensor, GRUState]:
            return super().forward(x - self.less if hasattr(self, "less") else x + self.more, state)

    cell = Naming()
    cell.register_buffer("more", torch.ones(3))
    recorded(cell)
    del cell.more
    cell.register_buffer("less", torch.ones(3))
    check(recorded(cell))
    assert tape.recorded == 4


def forward_and_x(
    how: Callable[..., Any], cell: Cell, x: Tensor, state: State
) -> dict[str, Tensor]:
    x = x.clone().requires_grad_()
    y, end = how(cell, x, state)
    return {"y": y, "h": end.h, "x": torch.autograd.grad(y.sum(), x)[0]}


def reads_back(h: Tensor) -> Tensor:
    return h * 2 if h.sum().item() > 0 else h


def draws(h: Tensor) -> Tensor:
    return h + torch.rand_like(h)


def picks(h: Tensor) -> Tensor:
    return h + h[h > 0].sum()


ELSEWHERE = nn.Linear(3, 3)


@pytest.mark.parametrize(
    ("twist", "why"),
    [
        (reads_back, "reads a number back"),
        (draws, "draws random numbers"),
        (picks, "shape that depends on numbers"),
        (lambda h: h + ELSEWHERE(h), "parameters of others"),
    ],
    ids=["item", "random", "bool index", "parameters of others"],
)
def test_what_no_graph_can_follow_stays_a_loop(twist, why, tape):
    cell = OwnCell()
    cell.twist = twist
    recorded(cell)
    assert tape.recorded == 0
    assert why in graphed.ungraphed(cell, torch.zeros(1))
    assert "the plain loop: " in plan(cell)


class Counting(OwnCell):
    def forward(self, x: Tensor, state: GRUState) -> tuple[Tensor, GRUState]:
        self.scale.mul_(1.01)
        return super().forward(x, state)


class Replacing(OwnCell):
    def forward(self, x: Tensor, state: GRUState) -> tuple[Tensor, GRUState]:
        self.scale = self.scale * 1.01
        return super().forward(x, state)


class Keeping(OwnCell):
    def forward(self, x: Tensor, state: GRUState) -> tuple[Tensor, GRUState]:
        self.last = x
        return super().forward(x, state)


class Numbering(OwnCell):
    calls = 0

    def forward(self, x: Tensor, state: GRUState) -> tuple[Tensor, GRUState]:
        self.calls += 1
        return super().forward(x, state)


class Options:
    """Of someone's own."""

    scale = 1.0


def closing_over(factor: float) -> Callable[[Tensor], Tensor]:
    return lambda h: h * factor


def noting(h: Tensor, log: list[Tensor] = []) -> Tensor:  # noqa: B006
    log.append(h)
    return h


def counted(h: Tensor) -> Tensor:
    return h


counted.calls = 0


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        set(),
        deque(),
        deque().append,
        bytearray(),
        Options(),
        np.array(1.0),
        torch.ones(1),
        (torch.ones(1),),
        (nn.Linear(3, 3),),
        ((1, []), 2),
        closing_over(2.0),
        noting,
        counted,
        partial(torch.mul, 2.0),
        nn.Linear(3, 3).forward,
        torch.Generator(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_parts_that_may_change_unnoticed_keep_the_loop(value, tape):
    cell = OwnCell()
    cell.history = value
    recorded(cell)
    assert tape.recorded == 0
    assert graphed.ungraphed(cell, torch.zeros(1)) == "history could change without being noticed"


@pytest.mark.parametrize(
    "value",
    [1, 0.5, 1j, True, "tanh", None, torch.float32, torch.device("cpu"), np.int64(3), np.float32(1),
     (1, (2.0, "a")), torch.Size([3]), GRUState, torch.sin, torch.relu, nn.functional.softmax,
     nn.functional.gelu, reads_back],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_parts_that_stay_as_they_are_do_not(value, tape):
    cell = OwnCell()
    cell.option = value
    check(recorded(cell))
    assert tape.recorded == 2


class Turning(OwnCell):
    """Sets a part anew for the first time as it is recorded."""

    uses = 0
    turned = False

    def forward(self, x: Tensor, state: GRUState) -> tuple[Tensor, GRUState]:
        type(self).uses += 1
        self.turned = type(self).uses > 3 * T
        return super().forward(x, state)


@pytest.mark.parametrize("kind", [Counting, Replacing, Keeping, Numbering])
def test_a_step_that_changes_its_cell_stays_a_loop(kind, tape):
    cell, plain = kind(), kind()
    plain.load_state_dict(cell.state_dict())
    for _ in range(6):
        x = torch.randn(B, T, 3)
        with torch.no_grad():
            got, expected = unroll.unroll(cell, x)[0], unroll_plain(plain, x)[0]
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)
    assert getattr(cell, "calls", 0) == getattr(plain, "calls", 0)
    assert tape.recorded == 0


def test_a_step_that_sets_a_part_as_it_is_recorded_stays_a_loop(tape):
    cell = Turning()
    for _ in range(4):
        with torch.no_grad():
            unroll.unroll(cell, torch.randn(B, T, 3))
    assert tape.recorded == 0
    assert cell.turned
    assert graphed.ungraphed(cell, torch.zeros(1)) == "its step sets turned"


class Looking(OwnCell):
    """Notes whether another object's parameter is there, as it is."""

    seen: list[bool] = []  # noqa: RUF012

    def forward(self, x: Tensor, state: GRUState) -> tuple[Tensor, GRUState]:
        cell, weight = LOOKED_AT
        Looking.seen.append(cell()._parameters["weight"] is weight())
        return super().forward(x, state)


LOOKED_AT: list[Any] = []


class Two(OwnCell, dict):
    """More than its attributes."""

    __hash__ = OwnCell.__hash__
    __eq__ = OwnCell.__eq__


def test_modules_that_hold_more_than_attributes_keep_the_loop(tape):
    cell = recorded(Two())
    assert tape.recorded == 0
    assert graphed.ungraphed(cell, torch.zeros(1)) == "a Two may hold more than attributes"


def test_a_cell_is_never_without_its_parameters_while_it_is_recorded(tape):
    cell = Looking()
    LOOKED_AT[:] = weakref.ref(cell), weakref.ref(cell.weight)
    recorded(cell)
    assert tape.recorded == 2
    assert all(Looking.seen)


def test_threads_may_share_a_cell(tape):
    wrong: list[float] = []

    def learn(cell: Cell, plain: Cell, seed: int) -> None:
        for x in torch.randn(10, 2, 4, 3, generator=torch.Generator().manual_seed(seed)):
            pairs = (unroll.unroll, cell), (unroll_plain, plain)
            got, expected = (torch.autograd.grad(how(c, x)[0].sum(), c.weight) for how, c in pairs)
            wrong.append((got[0] - expected[0]).abs().max().item())

    for _ in range(5):
        cell = OwnCell()
        plain = copy.deepcopy(cell)
        threads = [threading.Thread(target=learn, args=(cell, plain, seed)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(wrong) == 200
    assert max(wrong) < 1e-4


class Unrolling(OwnCell):
    """A step that is an unroll itself."""

    def __init__(self) -> None:
        super().__init__()
        self.low = MGUCell(3, 3)

    def forward(self, x: Tensor, state: GRUState) -> tuple[Tensor, GRUState]:
        y, _ = unroll.unroll(self.low, torch.stack([x, state.h], 1))
        return y[:, -1], GRUState(y[:, -1])


def test_an_unroll_within_a_step_is_part_of_its_graph(tape):
    cell = recorded(Unrolling())
    check(cell)
    assert len(graphed.GRAPHS._owned[cell].recordings) == 1
    assert graphed.ungraphed(cell.low, torch.zeros(1)) is None
    x, state = leaves(cell)
    made, y = tape.recorded, unroll.unroll(cell, x, state)[0]
    torch.autograd.grad(y.sum(), x, create_graph=True)  # takes the step, and its unroll, anew
    assert tape.recorded == made


def test_weights_that_are_kept_for_a_while_are_not_recorded(tape):
    cell = parametrizations.weight_norm(OwnCell(), "weight")
    with torch.no_grad():
        for _ in range(4):
            with parametrize.cached():
                unroll.unroll(cell, torch.randn(B, T, 3))
        assert tape.recorded == 0
        for _ in range(6):
            cell.parametrizations.weight.original0.mul_(1.5)
            x = torch.randn(B, T, 3)
            torch.testing.assert_close(unroll.unroll(cell, x)[0], unroll_plain(cell, x)[0])
    assert tape.recorded == 1


def test_the_second_derivative_is_that_of_the_cell_as_it_was(tape):
    cell = recorded(OwnCell())
    x, state = leaves(cell)
    calls = [how(cell, x, state)[0] for how in (unroll.unroll, unroll_plain)]
    cell.factor = 3.0
    got, expected = (torch.autograd.grad(y.sum(), cell.weight, create_graph=True)[0] for y in calls)
    torch.testing.assert_close(got, expected)


def test_every_part_in_training_mode_draws_its_masks(tape):
    cell = Zoneout(Dropout(GRUCell(3, 4), output=0.4), 0.3).eval()
    cell.inner().train()
    for _ in range(5):
        x, state = inputs(cell)
        assert_same(results(unroll.unroll, cell, x, state), results(unroll_plain, cell, x, state))
    assert tape.recorded == 2


def test_a_cell_that_draws_nothing_takes_no_step_beforehand(tape):
    class Stepping(OwnCell):
        steps = 0

        def forward(self, x: Tensor, state: GRUState) -> tuple[Tensor, GRUState]:
            Stepping.steps += 1
            return super().forward(x, state)

    unroll.unroll(Stepping(), torch.randn(B, T, 3), generator=torch.Generator())
    assert Stepping.steps == T


def test_a_replay_that_differs_is_noticed_before_it_is_used(tape):
    cell = OwnCell()
    tape.spoil = 1e-2
    with pytest.warns(UserWarning, match="no CUDA graph of its loop: its replay differs"):
        recorded(cell)
    tape.spoil = 0.0
    recorded(cell)
    check(cell)
    assert tape.recorded == 2  # and it is not tried again


def test_a_replay_that_goes_back_wrongly_a_second_time_is_noticed(tape):
    cell = OwnCell()
    tape.spoiled, tape.spoil = {4}, 1e-2
    with pytest.warns(UserWarning, match="no CUDA graph of its loop: its replay differs"):
        recorded(cell)
    assert tape.played == 4


def test_a_recorder_that_fails_costs_a_warning(tape, monkeypatch):
    def fail(launch: Any) -> Any:
        raise RuntimeError("CUDA error: operation not permitted\nand more")

    monkeypatch.setattr(tape, "record", fail)
    cell = OwnCell()
    with pytest.warns(UserWarning) as said:
        recorded(cell)
    assert [str(one.message) for one in said] == [
        "OwnCell: no CUDA graph of its loop: CUDA error: operation not permitted"
    ]
    check(cell)


def test_few_shapes_are_held_and_none_longer_than_the_cell(tape):
    cell = OwnCell()
    with torch.no_grad():
        for steps in range(1, 9):
            for _ in range(4):
                unroll.unroll(cell, torch.randn(1, steps, 3))
    (owned,) = graphed.GRAPHS._owned.values()
    assert len(owned.recordings) == 4
    assert tape.recorded == 8
    del cell
    assert len(graphed.GRAPHS._owned) == 0


def test_shapes_seen_once_cost_little(tape):
    cell = OwnCell()
    with torch.no_grad():
        for steps in range(1, 200):
            unroll.unroll(cell, torch.zeros(1, steps, 3))
    (owned,) = graphed.GRAPHS._owned.values()
    assert len(owned.uses) < 70
    assert tape.recorded == 0


def test_evaluation_and_inference_mode(tape):
    cell = recorded(OwnCell())
    for mode in (torch.no_grad, torch.inference_mode, torch.no_grad, torch.enable_grad):
        for _ in range(4):
            with mode():
                x = torch.randn(B, T, 3)
                got, expected = unroll.unroll(cell, x)[0], unroll_plain(cell, x)[0]
            torch.testing.assert_close(got, expected)
    assert tape.recorded > 4


def test_under_autocast(tape):
    cell = Dropout(LSTMCell(3, 4), state=0.4).eval().train()
    for _ in range(5):
        x, state = inputs(cell)
        with torch.autocast("cpu", torch.bfloat16):
            got, expected = (results(how, cell, x, state) for how in (unroll.unroll, unroll_plain))
        for name, tensor in expected.items():
            torch.testing.assert_close(got[name], tensor, rtol=2e-2, atol=2e-2)
    assert tape.recorded == 2


def test_autocast_has_graphs_of_its_own(tape):
    cell = OwnCell()
    with torch.autocast("cpu", torch.bfloat16):
        recorded(cell)
    recorded(cell)
    x, state = inputs(cell)
    with torch.autocast("cpu", torch.bfloat16):
        rough = unroll.unroll(cell, x, state)[0]
    fine = unroll.unroll(cell, x, state)[0]
    torch.testing.assert_close(fine, unroll_plain(cell, x, state)[0])
    assert (rough - fine).abs().max() > 1e-4
    assert tape.recorded == 4


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_transforms_of_torch_take_the_loop(tape):
    cell = recorded(OwnCell())
    played, x = tape.played, torch.randn(B, T, 3)
    torch.func.jvp(lambda x: unroll.unroll(cell, x)[0], (x,), (x,))
    torch.func.grad(lambda x: unroll.unroll(cell, x)[0].sum())(x)
    assert tape.played == played


def test_a_checkpoint_takes_the_loop(tape):
    cell = OwnCell()
    for _ in range(5):
        x, state = leaves(cell)
        y = checkpoint(lambda x, s: unroll.unroll(cell, x, s)[0], x, state, use_reentrant=False)
        (got,) = torch.autograd.grad(y.sum(), x)
        (expected,) = torch.autograd.grad(unroll_plain(cell, x, state)[0].sum(), x)
        torch.testing.assert_close(got, expected)
    assert tape.recorded == 0


def test_a_copy_of_a_cell_has_graphs_of_its_own(tape):
    cell = recorded(OwnCell())
    twin = copy.deepcopy(cell)
    made = tape.recorded
    check(twin)
    assert tape.recorded == made
    recorded(twin)
    assert tape.recorded == made + 2


def test_the_plan_names_the_graph(tape):
    said = "OwnCell(3 -> 3): a CUDA graph of the loop, once shapes repeat: "
    assert plan(OwnCell()).startswith(said)
    within = plan(Dropout(GRUCell(3, 4), state=0.4)).splitlines()[1]
    assert within == "  GRUCell(3 -> 4): within it"


def test_the_processor_has_no_graphs():
    assert graphed.ungraphed(OwnCell(), torch.zeros(1)) == "no graphs on cpu"
