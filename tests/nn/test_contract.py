"""One contract for every cell x wrapper x way of unrolling, forward and backward.

A way of unrolling is a function with `unroll`'s signature; `everything` runs one and collects
all that must agree: outputs, final state, and the gradients of inputs, first state and
parameters. Rows have 6, 0, 3 and 1 steps, and what lies past them is NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from recurra.nn.cells import CELLS
from recurra.nn.cells.base import Cell
from recurra.nn.kernels import vendor
from recurra.nn.state import State, flatten, index, map_tensors
from recurra.nn.unroll import plan, unroll, unroll_plain
from recurra.nn.wrappers import WRAPPERS
from recurra.nn.wrappers.base import Recurrence
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.residual import Residual
from recurra.nn.wrappers.stack import Stack
from recurra.nn.wrappers.weight_drop import WeightDrop

Make = Callable[[int, int], Recurrence]

CELL_CASES: dict[str, Make] = {
    **{name: (lambda i, o, name=name: CELLS[name](i, o)) for name in CELLS},
    "rnn relu": lambda i, o: CELLS["rnn"](i, o, nonlinearity="relu"),
    "gru reset before": lambda i, o: CELLS["gru"](i, o, reset_after=False),
    "own cell": lambda i, o: CELLS["own_cells:FastWeightCell"](i, o),
    "own step of an LSTM": lambda i, o: CELLS["own_cells:PeepholeCell"](i, o),
}

RECURRENT = ("weight_hh", "value.weight")
"""What the cells call the weights that WeightDrop drops; the last is of a cell without any."""

SURE: dict[str, Callable[[Make], Recurrence]] = {
    "bare": lambda make: make(3, 4),
    "stack": lambda make: Stack([make(3, 5), make(5, 2)]),
    "residual": lambda make: Residual(make(3, 3)),
    "dropout asleep": lambda make: Dropout(make(3, 4), 0.5, 0.5, 0.5).eval(),
    "weight drop asleep": lambda make: WeightDrop(make(3, 4), 0.5, RECURRENT).eval(),
    "stack of residuals": lambda make: Stack([make(3, 4), Residual(Stack([make(4, 4)]))]),
}
"""Wrappers that know no future and draw no masks: one step at a time is defined for them."""

LOOKING_AHEAD: dict[str, Callable[[Make], Recurrence]] = {
    **{
        merge: (lambda make, merge=merge: Bidirectional(make(3, 4), make(3, 4), merge))
        for merge in ("sum", "mean", "product")
    },
    "concat": lambda make: Bidirectional(make(3, 4), make(3, 2)),
    "bidirectional twice": lambda make: Stack(
        [Bidirectional(make(3, 2), make(3, 2)), Residual(Bidirectional(make(4, 2), make(4, 2)))]
    ),
    "bidirectional inside out": lambda make: Bidirectional(
        Stack([make(3, 4), make(4, 2)]), Bidirectional(make(3, 2), make(3, 2), "mean"), "sum"
    ),
}

DRAWING: dict[str, Callable[[Make], Recurrence]] = {
    "dropout": lambda make: Dropout(make(3, 4), input=0.3, output=0.5),
    "dropout variational": lambda make: Dropout(make(3, 4), 0.3, 0.5, variational=True),
    "dropout of state": lambda make: Dropout(make(3, 4), 0.3, 0.5, 0.4),
    "dropout of state variational": lambda make: Dropout(make(3, 4), 0, 0, 0.4, True),
    "dropout of a stack's state": lambda make: Dropout(
        Stack([make(3, 4), Dropout(make(4, 4), output=0.2)]), state=0.4, variational=True
    ),
    "weight drop": lambda make: WeightDrop(make(3, 4), 0.5, RECURRENT),
    "weight drop of a nest": lambda make: WeightDrop(
        Bidirectional(
            Stack([Dropout(make(3, 4), input=0.3, state=0.4), make(4, 2)]),
            WeightDrop(make(3, 2), 0.3, RECURRENT),
        ),
        0.5,
        RECURRENT,
    ),
    "weight drop between steps": lambda make: Dropout(
        Stack([WeightDrop(Dropout(make(3, 4), output=0.2), 0.5, RECURRENT), make(4, 2)]), state=0.4
    ),
    "nested": lambda make: Stack(
        [
            Dropout(make(3, 4), output=0.4),
            Residual(Bidirectional(Dropout(make(4, 2), input=0.5), make(4, 2))),
            Dropout(Residual(make(4, 4)), input=0.2, state=0.3, variational=True),
        ]
    ),
}

LENGTHS = torch.tensor([6, 0, 3, 1])
RESET = torch.tensor(
    [[0, 0, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1], [1, 0, 1, 0, 1, 0], [0, 1, 0, 0, 0, 1]]
).bool()
OPTIONS: dict[str, dict[str, Tensor]] = {
    "whole": {},
    "lengths": {"lengths": LENGTHS},
    "lengths int32": {"lengths": LENGTHS.int()},
    "reset": {"reset": RESET},
    "lengths and reset": {"lengths": LENGTHS, "reset": RESET},
}

every_cell = pytest.mark.parametrize("make", CELL_CASES.values(), ids=CELL_CASES)


def every(*groups: dict[str, Callable[[Make], Recurrence]]) -> pytest.MarkDecorator:
    cases = {name: wrap for group in groups for name, wrap in group.items()}
    return pytest.mark.parametrize("wrap", cases.values(), ids=cases)


def given(cell: Recurrence, lengths: Tensor | None = None) -> tuple[Tensor, State]:
    """Inputs of four rows and six steps, NaN past the lengths, and a random state."""
    dtype = next(cell.parameters()).dtype
    x = torch.randn(4, 6, cell.input_size, dtype=dtype)
    if lengths is not None:
        x[torch.arange(6) >= lengths.unsqueeze(1)] = torch.nan
    return x, map_tensors(torch.randn_like, cell.initial_state(4, dtype=dtype))


def everything(
    how: Callable[..., Any], cell: Recurrence, x: Tensor, state: State, **options: Tensor
) -> dict[str, Tensor]:
    x, state = map_tensors(lambda tensor: tensor.clone().requires_grad_(), (x, state))
    y, after = how(cell, x, state, generator=torch.Generator().manual_seed(7), **options)
    results = {"y": y, **flatten(after, "after")}
    loss = sum((tensor * torch.arange(tensor.numel()).sin().view_as(tensor)).sum()
               for tensor in results.values())  # fmt: skip
    leaves = {"x": x, **flatten(state, "before"), **dict(cell.named_parameters())}
    gradients = torch.autograd.grad(
        loss, list(leaves.values()), allow_unused=True, materialize_grads=True
    )
    return results | {f"gradient of {name}": g for name, g in zip(leaves, gradients, strict=True)}


def assert_same(got: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(got) == list(expected)
    for name, tensor in expected.items():
        close = {"rtol": 1e-4, "atol": 2e-5}
        if tensor.dtype == torch.float64:
            close = {"rtol": 1e-9, "atol": 1e-11}
        assert tensor.isfinite().all(), name
        torch.testing.assert_close(got[name], tensor, **close, msg=lambda m, n=name: f"{n}: {m}")


def apart(
    cell: Recurrence,
    x: Tensor,
    state: State,
    *,
    lengths: Tensor | None = None,
    reset: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, State]:
    """Run each row alone, cut at its length, and each piece between two resets alone."""
    initial = cell.initial_state(1, dtype=x.dtype)
    outputs, states = [], []
    for row in range(len(x)):
        before = index(state, [row])
        end = x.shape[1] if lengths is None else int(lengths[row])
        cuts = [t for t in range(end) if reset is not None and reset[row, t]]
        pieces = [(a, b) for a, b in zip([0, *cuts], [*cuts, end]) if a < b]
        runs = []
        for start, stop in pieces:
            first = before if start == 0 and 0 not in cuts else initial
            last = before if stop == end else initial
            runs.append(unroll(cell, x[row : row + 1, start:stop], ahead_of(cell, first, last)))
        padding = x.new_zeros(1, x.shape[1] - end, cell.output_size)
        outputs.append(torch.cat([*(y for y, _ in runs), padding], dim=1))
        states.append(ahead_of(cell, runs[-1][1], runs[0][1]) if runs else before)
    return torch.cat(outputs), map_tensors(lambda *rows: torch.cat(rows), states[0], *states[1:])


def ahead_of(cell: Recurrence, ahead: State, behind: State) -> State:
    """The state of what reads forwards from `ahead`, of what reads backwards from `behind`."""
    if isinstance(cell, Cell):
        return ahead
    inner = [cell.inner(n) for n in range(len(cell.cells))]
    if isinstance(cell, Bidirectional):
        parts = (
            ahead_of(inner[0], ahead[0], behind[0]),
            ahead_of(inner[1], behind[1], ahead[1]),
        )
        return type(ahead)(*parts)
    if isinstance(cell, Stack):
        return tuple(ahead_of(*each) for each in zip(inner, ahead, behind, strict=True))
    return ahead_of(inner[0], ahead, behind)


def step_by_step(
    cell: Recurrence, x: Tensor, state: State, *, generator: torch.Generator
) -> tuple[Tensor, State]:
    outputs = []
    for t in range(x.shape[1]):
        y, state = cell(x[:, t], state)
        outputs.append(y)
    return torch.stack(outputs, dim=1), state


def in_chunks(
    cell: Recurrence,
    x: Tensor,
    state: State,
    *,
    lengths: Tensor | None = None,
    reset: Tensor | None = None,
    generator: torch.Generator,
) -> tuple[Tensor, State]:
    outputs = []
    for start, stop in ((0, 1), (1, 4), (4, 6)):
        y, state = unroll(
            cell,
            x[:, start:stop],
            state,
            lengths=None if lengths is None else (lengths - start).clamp(0, stop - start),
            reset=None if reset is None else reset[:, start:stop],
        )
        outputs.append(y)
    return torch.cat(outputs, dim=1), state


def test_every_wrapper_of_the_table_is_here() -> None:
    made = [wrap(CELL_CASES["lstm"]) for wrap in (SURE | LOOKING_AHEAD | DRAWING).values()]
    parts = {type(part) for cell in made for part in cell.modules()}
    assert set(WRAPPERS.values()) <= parts


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@every(SURE, LOOKING_AHEAD, DRAWING)
@every_cell
def test_kernels_equal_the_plain_loop(make: Make, wrap: Any, dtype: torch.dtype) -> None:
    cell = wrap(make).to(dtype)
    for options in OPTIONS.values():
        x, state = given(cell, options.get("lengths"))
        kernel = everything(unroll, cell, x, state, **options)
        loop = everything(unroll_plain, cell, x, state, **options)
        assert_same(kernel, loop)
        assert kernel["y"].shape == (4, 6, cell.output_size)
        if "lengths" in options:
            past = torch.arange(6) >= LENGTHS.unsqueeze(1)
            assert not kernel["y"][past].any() and not kernel["gradient of x"][past].any()


@every(SURE)
@every_cell
def test_step_by_step_is_the_whole_sequence(make: Make, wrap: Any) -> None:
    cell = wrap(make).double()
    x, state = given(cell)
    assert_same(everything(unroll, cell, x, state), everything(step_by_step, cell, x, state))


@every(SURE, LOOKING_AHEAD)
@every_cell
def test_rows_and_pieces_apart_are_the_batch(make: Make, wrap: Any) -> None:
    cell = wrap(make).double()
    for name in ("whole", "lengths", "reset", "lengths and reset"):
        options = OPTIONS[name]
        x, state = given(cell, options.get("lengths"))
        together = everything(unroll, cell, x, state, **options)
        assert_same(together, everything(apart, cell, x, state, **options))


@every(SURE)
@every_cell
def test_chunks_with_the_state_carried_are_the_whole(make: Make, wrap: Any) -> None:
    cell = wrap(make).double()
    for options in OPTIONS.values():
        x, state = given(cell, options.get("lengths"))
        whole = everything(unroll, cell, x, state, **options)
        assert_same(everything(in_chunks, cell, x, state, **options), whole)


@every(SURE, LOOKING_AHEAD, DRAWING)
@every_cell
def test_gradients_are_those_of_finite_differences(make: Make, wrap: Any) -> None:
    cell = wrap(make).double()
    x = torch.randn(2, 3, cell.input_size, dtype=torch.float64, requires_grad=True)
    before = map_tensors(torch.randn_like, cell.initial_state(2))
    state = map_tensors(Tensor.requires_grad_, before)

    def outcome(x: Tensor, *leaves: Tensor) -> tuple[Tensor, ...]:
        # gradcheck moves the leaves in place, so the cell and the state see it.
        y, after = unroll(
            cell,
            x,
            state,
            lengths=torch.tensor([3, 2]),
            reset=torch.tensor([[False, True, False], [False, False, True]]),
            generator=torch.Generator().manual_seed(7),
        )
        return y, *flatten(after).values()

    leaves = (x, *flatten(state).values(), *cell.parameters())
    whole = isinstance(cell, Cell)
    assert torch.autograd.gradcheck(outcome, leaves, fast_mode=not whole, atol=1e-6)


@every(SURE, LOOKING_AHEAD, DRAWING)
@every_cell
def test_the_plan_says_what_runs(make: Make, wrap: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = wrap(make)
    parts = [part for part in cell.modules() if isinstance(part, Cell)]
    calls = {"kernel": 0, "step": 0}

    def counted(kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            calls[kind] += 1
            return function(*arguments)

        return call

    for kind in ("lstm", "gru", "rnn"):
        sequence = getattr(vendor, f"{kind}_sequence")
        place = f"recurra.nn.cells.{kind}.{kind}_sequence"
        monkeypatch.setattr(place, counted("kernel", sequence))
    for kind_of_cell in {type(part) for part in parts}:
        monkeypatch.setattr(kind_of_cell, "forward", counted("step", kind_of_cell.forward))
    x, state = given(cell)
    unroll(cell, x, state, generator=torch.Generator())
    promised = plan(cell, x).count("whole sequences at once")
    assert calls == {"kernel": promised, "step": 6 * (len(parts) - promised)}


@every(SURE, LOOKING_AHEAD, DRAWING)
@every_cell
def test_no_rows_and_no_steps(make: Make, wrap: Any) -> None:
    cell = wrap(make)
    for B, T in ((0, 5), (3, 0), (0, 0)):
        for how in (unroll, unroll_plain):
            x = torch.randn(B, T, cell.input_size)
            state = map_tensors(torch.randn_like, cell.initial_state(B))
            results = everything(
                how,
                cell,
                x,
                state,
                lengths=torch.zeros(B, dtype=torch.int64),
                reset=torch.ones(B, T, dtype=torch.bool),
            )
            assert results["y"].shape == (B, T, cell.output_size)
            for name, tensor in flatten(state, "after").items():
                assert torch.equal(results[name], tensor)


@every(SURE, LOOKING_AHEAD, DRAWING)
@every_cell
def test_initial_state_is_where_and_as_asked(make: Make, wrap: Any) -> None:
    cell = wrap(make)
    for tensor in flatten(cell.initial_state()).values():
        assert (len(tensor), tensor.dtype, tensor.device.type) == (1, torch.float32, "cpu")
    asked = cell.initial_state(5, device=torch.device("meta"), dtype=torch.float16)
    for tensor in flatten(asked).values():
        assert (len(tensor), tensor.dtype, tensor.device.type) == (5, torch.float16, "meta")
    for tensor in flatten(cell.double().initial_state(2)).values():
        assert tensor.dtype == torch.float64


@every(SURE, LOOKING_AHEAD, DRAWING)
@every_cell
def test_a_state_that_does_not_fit_is_refused(make: Make, wrap: Any) -> None:
    cell = wrap(make)
    for state in (cell.initial_state(3), Stack([make(3, 9)]).initial_state(4), torch.zeros(4, 4)):
        with pytest.raises(ValueError, match=r"got the state \{.*\}, expected \{"):
            unroll(cell, torch.zeros(4, 6, 3), state)
