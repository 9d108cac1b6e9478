"""One contract for every cell x wrapper x way of unrolling, forward and backward.

A way of unrolling is a function with `unroll`'s signature; `everything` runs one and collects
all that must agree: outputs, final state, and the gradients of inputs, first state and
parameters. Rows have 6, 0, 3 and 1 steps, and what lies past them is NaN.

Every cell of the table stands in a few wraps, and every wrap around a few kinds of cell: one
with a vendor's kernel, one with a kernel of the package, one that is a scan, and one without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from recurra.nn.cells import CELLS
from recurra.nn.cells.base import Cell, Kernel
from recurra.nn.state import State, detach, flatten, index, map_tensors
from recurra.nn.unroll import plan, unroll, unroll_plain
from recurra.nn.wrappers import WRAPPERS
from recurra.nn.wrappers.attention import Attention
from recurra.nn.wrappers.base import Recurrence, Wrapper
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.dilated import Dilated
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.highway import Highway
from recurra.nn.wrappers.mogrifier import Mogrifier
from recurra.nn.wrappers.projection import Projection
from recurra.nn.wrappers.reset import Reset
from recurra.nn.wrappers.residual import Residual
from recurra.nn.wrappers.reversed import Reversed
from recurra.nn.wrappers.stack import Stack
from recurra.nn.wrappers.trainable_state import TrainableState
from recurra.nn.wrappers.weight_drop import WeightDrop
from recurra.nn.wrappers.zoneout import Zoneout

Make = Callable[[int, int], Recurrence]
Wrap = Callable[[Make], Recurrence]

CELL_CASES: dict[str, Make] = {
    **{name: (lambda i, o, name=name: CELLS[name](i, o)) for name in CELLS},
    "rnn relu": lambda i, o: CELLS["rnn"](i, o, nonlinearity="relu"),
    "lstm hard": lambda i, o: CELLS["lstm"](
        i, o, activation="softsign", recurrent_activation="keras2_hard_sigmoid"
    ),
    "gru reset before": lambda i, o: CELLS["gru"](i, o, reset_after=False),
    "own cell": lambda i, o: CELLS["own_cells:FastWeightCell"](i, o),
    "own step of an LSTM": lambda i, o: CELLS["own_cells:PeepholeCell"](i, o),
}

FEW_CELLS = ("lstm", "gru", "min_gru", "own cell")


def weight_drop(cell: Recurrence, probability: float) -> WeightDrop:
    """Drop the recurrent weights, of cells without any all their matrices."""
    matrices = {name for name, p in cell.named_parameters() if p.dim() == 2}
    names = {name.split(".")[-1] for name in matrices if ".starts." not in f".{name}"}
    return WeightDrop(cell, probability, ["weight_hh"] if "weight_hh" in names else sorted(names))


def with_h(make: Make, *sizes: int) -> Recurrence:
    """Make a cell whose state has an `h (B, H)`: an LSTM in the place of those without."""
    cell = make(*sizes)
    h = getattr(cell.initial_state(), "h", None)
    return cell if h is not None and h.dim() == 2 else CELL_CASES["lstm"](*sizes)


def zoneout(cell: Recurrence) -> Zoneout:
    """Zone out what the state has, all of it an LSTM's in the place of those without."""
    names = cell.initial_state()._fields
    if ("h" not in names and "c" not in names) or names == ("x", "c", "m") or "n" in names:
        cell = CELL_CASES["lstm"](cell.input_size, cell.output_size)
        names = cell.initial_state()._fields
    return Zoneout(cell, 0.3 * ("h" in names), 0.2 * ("c" in names and "m" not in names))


SURE: dict[str, Wrap] = {
    "bare": lambda make: make(3, 4),
    "stack": lambda make: Stack([make(3, 5), make(5, 3)]),
    "residual": lambda make: Residual(make(3, 3)),
    "dropout asleep": lambda make: Dropout(make(3, 4), input=0.5, output=0.5).eval(),
    "weight drop asleep": lambda make: weight_drop(make(3, 4), 0.5).eval(),
    "stack of residuals": lambda make: Stack([make(3, 4), Residual(Stack([make(4, 4)]))]),
    "projection": lambda make: Projection(make(3, 4), 2),
    "highway": lambda make: Highway(make(3, 3)),
    "reset": lambda make: Reset(make(2, 4)),
    "trainable state": lambda make: started(TrainableState(make(3, 4))),
    "attention": lambda make: Attention(make(3, 4), size=2, window=3),
    "mogrifier": lambda make: Mogrifier(with_h(make, 3, 4), rounds=3),
    "mogrifier of a rank": lambda make: Mogrifier(with_h(make, 3, 4), rounds=2, rank=2),
    "zoneout asleep": lambda make: zoneout(make(3, 4)).eval(),
    "zoneout of nothing": lambda make: Zoneout(make(3, 4)),
    "dilated": lambda make: Dilated(make(3, 4), 2),
    "dilated nest": lambda make: Residual(
        started(TrainableState(Dilated(Stack([Dilated(make(3, 4), 3), make(4, 3)]), 2)))
    ),
    "one in another": lambda make: Stack(
        [
            Reset(TrainableState(Highway(make(2, 2)))),
            Projection(Attention(Mogrifier(with_h(make, 2, 3), 1), window=2), 4),
            started(TrainableState(Stack([Attention(make(4, 3), 2, 7), make(3, 2)]))),
        ]
    ),
    "reset between steps": lambda make: Reset(
        started(TrainableState(Mogrifier(TrainableState(with_h(make, 2, 4)), 2)))
    ),
    "start of what resets": lambda make: started(
        TrainableState(Stack([Mogrifier(Reset(with_h(make, 2, 4)), 2), Reset(make(3, 2))]))
    ),
}
"""Wrappers that know no future and draw no masks: one step at a time is defined for them."""

LOOKING_AHEAD: dict[str, Wrap] = {
    **{
        merge: (lambda make, merge=merge: Bidirectional(make(3, 4), make(3, 4), merge))
        for merge in ("sum", "mean", "product")
    },
    "concat": lambda make: Bidirectional(make(3, 4), make(3, 3)),
    "reversed": lambda make: Reversed(make(3, 4)),
    "reversed in a nest": lambda make: Stack(
        [Dropout(Reversed(make(3, 3))).eval(), Bidirectional(Reversed(make(3, 2)), make(3, 2))]
    ),
    "bidirectional twice": lambda make: Stack(
        [Bidirectional(make(3, 2), make(3, 2)), Residual(Bidirectional(make(4, 2), make(4, 2)))]
    ),
    "bidirectional inside out": lambda make: Bidirectional(
        Stack([make(3, 4), make(4, 2)]), Bidirectional(make(3, 2), make(3, 2), "mean"), "sum"
    ),
    "bidirectional with resets and starts": lambda make: Reset(
        started(
            TrainableState(
                Attention(Bidirectional(Highway(make(2, 2)), Projection(make(2, 3), 2)), window=2)
            )
        )
    ),
}

DRAWING: dict[str, Wrap] = {
    "dropout": lambda make: Dropout(make(3, 4), input=0.3, output=0.5),
    "dropout variational": lambda make: Dropout(
        make(3, 4), input=0.3, output=0.5, variational=True
    ),
    "dropout of state": lambda make: Dropout(with_h(make, 3, 4), input=0.3, output=0.5, state=0.4),
    "dropout of state variational": lambda make: Dropout(
        with_h(make, 3, 4), state=0.4, variational=True
    ),
    "dropout of a stack's state": lambda make: Dropout(
        Stack([with_h(make, 3, 4), Dropout(with_h(make, 4, 4), output=0.2)]),
        state=0.4,
        variational=True,
    ),
    "weight drop": lambda make: weight_drop(make(3, 4), 0.5),
    "weight drop of a nest": lambda make: weight_drop(
        Bidirectional(
            Stack([Dropout(with_h(make, 3, 4), input=0.3, state=0.4), make(4, 2)]),
            weight_drop(make(3, 2), 0.3),
        ),
        0.5,
    ),
    "weight drop of a learned start": lambda make: weight_drop(
        started(TrainableState(weight_drop(make(3, 4), 0.3))), 0.5
    ),
    "weight drop between steps": lambda make: Dropout(
        Stack([weight_drop(Dropout(with_h(make, 3, 4), output=0.2), 0.5), with_h(make, 4, 2)]),
        state=0.4,
    ),
    "zoneout": lambda make: zoneout(make(3, 4)),
    "zoneout of a dropped weight": lambda make: weight_drop(zoneout(make(3, 4)), 0.5),
    "zoneout of a nest": lambda make: Reset(
        Bidirectional(
            started(TrainableState(Zoneout(with_h(make, 2, 4), 0.3))),
            Zoneout(Stack([with_h(make, 2, 3)]), 0.5),
        )
    ),
    "nested": lambda make: Stack(
        [
            Dropout(make(3, 4), output=0.4),
            Residual(Bidirectional(Dropout(make(4, 2), input=0.5), make(4, 2))),
            Dropout(Residual(with_h(make, 4, 4)), input=0.2, state=0.3, variational=True),
        ]
    ),
}


def started(cell: TrainableState) -> TrainableState:
    """Return it with starts that are not zero."""
    for start in cell.starts:
        start.data += torch.linspace(0.2, 0.3, start.numel()).view_as(start)
    return cell


LENGTHS = torch.tensor([6, 0, 3, 1])
RESET = torch.tensor(
    [[0, 0, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1], [1, 0, 1, 0, 1, 0], [0, 1, 0, 0, 0, 1]]
).bool()
MASK = torch.tensor(
    [[0, 0, 1, 1, 0, 1], [1, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]]
).bool()
OPTIONS: dict[str, dict[str, Tensor]] = {
    "whole": {},
    "lengths": {"lengths": LENGTHS},
    "lengths int32": {"lengths": LENGTHS.int()},
    "reset": {"reset": RESET},
    "lengths and reset": {"lengths": LENGTHS, "reset": RESET},
    "mask, lengths and reset": {"mask": MASK, "lengths": LENGTHS, "reset": RESET},
}
BROAD = (OPTIONS["whole"], OPTIONS["lengths and reset"])
"""What there is time for where the rest would say the same again."""


def taken(cell: Recurrence, several: Iterable[dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    """What a recurrence takes of several options: what is Reversed takes no resets."""
    turns = any(isinstance(part, Reversed) for part in cell.modules())
    for options in several:
        yield {name: given for name, given in options.items() if name != "reset" or not turns}


FEW_WRAPS = ("bare", "stack", "concat", "dropout of state")


def every(*groups: dict[str, Wrap]) -> pytest.MarkDecorator:
    """Every cell in a few wraps, and every wrap of the groups around a few cells."""
    wraps = {name: wrap for group in groups for name, wrap in group.items()}
    pairs = {
        f"{wrap}-{cell}": (CELL_CASES[cell], wraps[wrap])
        for wrap in wraps
        for cell in CELL_CASES
        if wrap in FEW_WRAPS or cell in FEW_CELLS
    }
    return pytest.mark.parametrize(("make", "wrap"), pairs.values(), ids=pairs)


def reached(cell: Recurrence, rows: int) -> State:
    """A state that steps lead to: of some cells not any numbers are a state."""
    like = cell.initial_state(rows)
    dtype = next(cell.parameters()).dtype
    x = torch.randn(rows, 3, cell.input_size, dtype=dtype)
    state = unroll_plain(cell, x, like, generator=torch.Generator().manual_seed(5))[1]
    return detach(state)


def given(cell: Recurrence, lengths: Tensor | None = None) -> tuple[Tensor, State]:
    """Inputs of four rows and six steps, NaN past the lengths, and a random state."""
    dtype = next(cell.parameters()).dtype
    x = torch.randn(4, 6, cell.input_size, dtype=dtype)
    if lengths is not None:
        x[torch.arange(6) >= lengths.unsqueeze(1)] = torch.nan
    return x, reached(cell, 4)


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
        close = {"rtol": 1e-4, "atol": 1e-4}
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
    if not any(isinstance(part, Bidirectional) for part in cell.modules()):
        return ahead
    inner = [cell.inner(n) for n in range(len(cell.cells))]
    if isinstance(cell, Bidirectional):
        parts = [
            ahead_of(inner[0], ahead[0], behind[0]),
            ahead_of(inner[1], behind[1], ahead[1]),
        ]
        return type(ahead)(*parts)
    if len(inner) == 1 and not isinstance(cell, Stack):
        return ahead_of(inner[0], ahead, behind)
    parts = [ahead_of(*each) for each in zip(inner, ahead, behind, strict=True)]
    return type(ahead)(*parts) if hasattr(ahead, "_fields") else tuple(parts)


def step_by_step(
    cell: Recurrence, x: Tensor, state: State, *, generator: torch.Generator | None = None
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
    assert set(FEW_WRAPS) <= set(SURE | LOOKING_AHEAD | DRAWING)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@every(SURE, LOOKING_AHEAD, DRAWING)
def test_kernels_equal_the_plain_loop(make: Make, wrap: Wrap, dtype: torch.dtype) -> None:
    cell = wrap(make).to(dtype)
    for options in taken(cell, OPTIONS.values() if dtype == torch.float64 else BROAD):
        x, state = given(cell, options.get("lengths"))
        if "mask" in options:
            x[~MASK] = torch.nan
        kernel = everything(unroll, cell, x, state, **options)
        loop = everything(unroll_plain, cell, x, state, **options)
        assert_same(kernel, loop)
        assert kernel["y"].shape == (4, 6, cell.output_size)
        if "lengths" in options:
            past = torch.arange(6) >= LENGTHS.unsqueeze(1)
            past |= ~options.get("mask", ~past)
            assert not kernel["y"][past].any() and not kernel["gradient of x"][past].any()


@every(SURE)
def test_step_by_step_is_the_whole_sequence(make: Make, wrap: Wrap) -> None:
    cell = wrap(make).double()
    x, state = given(cell)
    assert_same(everything(unroll, cell, x, state), everything(step_by_step, cell, x, state))
    x, state = map_tensors(Tensor.float, (x, state))
    for whole, step in zip(
        unroll(cell.float(), x, state), step_by_step(cell, x, state), strict=True
    ):
        torch.testing.assert_close(whole, step, rtol=1e-6, atol=1e-6)


@every(SURE, LOOKING_AHEAD)
def test_rows_and_pieces_apart_are_the_batch(make: Make, wrap: Wrap) -> None:
    cell = wrap(make).double()
    for options in taken(cell, BROAD):
        x, state = given(cell, options.get("lengths"))
        together = everything(unroll, cell, x, state, **options)
        assert_same(together, everything(apart, cell, x, state, **options))


@every(SURE)
def test_chunks_with_the_state_carried_are_the_whole(make: Make, wrap: Wrap) -> None:
    cell = wrap(make).double()
    for options in taken(cell, BROAD):
        x, state = given(cell, options.get("lengths"))
        whole = everything(unroll, cell, x, state, **options)
        assert_same(everything(in_chunks, cell, x, state, **options), whole)


@every(SURE)
def test_what_comes_later_changes_no_bit_before(make: Make, wrap: Wrap) -> None:
    cell = wrap(make)
    x, state = given(cell)
    x[:, :, -1] = 0  # where a reset is asked for
    with torch.no_grad():
        expected, _ = unroll(cell, x, state)
        for later in (torch.nan, torch.inf, -torch.inf, 1e30):
            x[:, 4:, 0] = later
            y, _ = unroll(cell, x, state)
            assert torch.equal(y[:, :4], expected[:, :4])


@every(SURE, LOOKING_AHEAD, DRAWING)
def test_gradients_are_those_of_finite_differences(make: Make, wrap: Wrap) -> None:
    cell = wrap(make).double()
    x = torch.randn(2, 3, cell.input_size, dtype=torch.float64, requires_grad=True)
    state = map_tensors(Tensor.requires_grad_, reached(cell, 2))
    reset = torch.tensor([[False, True, False], [False, False, True]])
    (options,) = taken(cell, [{"reset": reset}])

    def outcome(x: Tensor, *leaves: Tensor) -> tuple[Tensor, ...]:
        # gradcheck moves the leaves in place, so the cell and the state see it.
        y, after = unroll(
            cell,
            x,
            state,
            lengths=torch.tensor([3, 2]),
            **options,
            generator=torch.Generator().manual_seed(7),
        )
        return y, *flatten(after).values()

    # What counts steps or marks what is filled moves by whole numbers.
    smooth = [tensor for tensor in flatten(state).values() if (tensor != tensor.round()).any()]
    leaves = (x, *smooth, *cell.parameters())
    whole = isinstance(cell, Cell)
    assert torch.autograd.gradcheck(outcome, leaves, fast_mode=not whole, atol=1e-6)


class Counter:
    """Counts the runs of kernels and the steps of cells, those within a kernel aside."""

    def __init__(self, cell: Recurrence, patch: pytest.MonkeyPatch) -> None:
        self.runs = self.steps = self.within = 0
        done: set[tuple[type, str]] = set()
        for part in cell.modules():
            for name, watch in (
                ("kernel", self.kernel),
                ("fused", self.kernel),
                ("forward", self.step),
            ):
                owner = next((kind for kind in type(part).__mro__ if name in vars(kind)), None)
                if owner is None or (owner, name) in done or not isinstance(part, Cell | Wrapper):
                    continue
                done.add((owner, name))
                patch.setattr(owner, name, watch(vars(owner)[name]))

    def kernel(self, given: Callable[..., Any]) -> Callable[..., Any]:
        def asked(*arguments: Any) -> Any:
            kernel = given(*arguments)
            if not isinstance(kernel, Kernel):
                return kernel

            def run(*inputs: Any) -> Any:
                self.runs += not self.within
                self.within += 1
                result = kernel.run(*inputs)
                self.within -= 1
                return result

            return Kernel(kernel.name, run)

        return asked

    def step(self, given: Callable[..., Any]) -> Callable[..., Any]:
        def asked(*arguments: Any) -> Any:
            self.steps += not self.within
            self.within += 1
            result = given(*arguments)
            self.within -= 1
            return result

        return asked


@every(SURE, LOOKING_AHEAD, DRAWING)
def test_the_plan_says_what_runs(make: Make, wrap: Wrap, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = wrap(make)
    x, state = given(cell)
    x[:, :, -1] = 0  # where a reset is asked for
    kinds = {type(part).__name__ for part in cell.modules() if isinstance(part, Cell)}
    lines = [line.strip() for line in plan(cell, x).splitlines()]
    assert len(lines) == sum(isinstance(part, Cell | Wrapper) for part in cell.modules())
    loops = [line for line in lines if "plain loop: " in line or "one step at a time" in line]
    stepping = sum(line.split("(")[0] in kinds for line in loops)
    counter = Counter(cell, monkeypatch)
    unroll(cell, x, state, generator=torch.Generator())
    assert counter.runs == sum("whole sequences at once" in line for line in lines)
    assert counter.steps == 6 * stepping


@every(SURE, LOOKING_AHEAD, DRAWING)
def test_no_rows_and_no_steps(make: Make, wrap: Wrap) -> None:
    cell = wrap(make)
    for B, T in ((0, 5), (3, 0), (0, 0)):
        for how in (unroll, unroll_plain):
            x = torch.randn(B, T, cell.input_size)
            state = reached(cell, B)
            options = {
                "lengths": torch.zeros(B, dtype=torch.int64),
                "reset": torch.ones(B, T, dtype=torch.bool),
            }
            (given,) = taken(cell, [options])
            results = everything(how, cell, x, state, **given)
            assert results["y"].shape == (B, T, cell.output_size)
            for name, tensor in flatten(state, "after").items():
                assert torch.equal(results[name], tensor)


@every(SURE, LOOKING_AHEAD, DRAWING)
def test_initial_state_is_where_and_as_asked(make: Make, wrap: Wrap) -> None:
    cell = wrap(make)
    for tensor in flatten(cell.initial_state()).values():
        assert (len(tensor), tensor.dtype, tensor.device.type) == (1, torch.float32, "cpu")
    asked = cell.initial_state(5, device=torch.device("meta"), dtype=torch.float16)
    for tensor in flatten(asked).values():
        assert (len(tensor), tensor.dtype, tensor.device.type) == (5, torch.float16, "meta")
    for tensor in flatten(cell.double().initial_state(2)).values():
        assert tensor.dtype == torch.float64


@every(SURE, LOOKING_AHEAD, DRAWING)
def test_a_state_that_does_not_fit_is_refused(make: Make, wrap: Wrap) -> None:
    cell = wrap(make)
    for state in (cell.initial_state(3), Stack([make(3, 9)]).initial_state(4), torch.zeros(4, 4)):
        with pytest.raises(ValueError, match=r"state.*, expected "):
            unroll(cell, torch.zeros(4, 6, 3), state)


@pytest.mark.parametrize("make", CELL_CASES.values(), ids=CELL_CASES)
def test_gradients_of_the_end_may_lie_in_any_order(make: Make) -> None:
    cell = make(3, 4).double()
    x, state = given(cell)
    results = []
    for how in (unroll, unroll_plain):
        leaves = map_tensors(lambda tensor: tensor.clone().requires_grad_(), state)
        _, after = how(cell, x, leaves)
        moving = [tensor for tensor in flatten(after).values() if tensor.requires_grad]
        turned = [
            torch.arange(tensor.numel())
            .double()
            .view(tensor.shape[::-1])
            .permute(*reversed(range(tensor.dim())))
            for tensor in moving
        ]
        first = list(flatten(leaves).values())
        results.append(
            torch.autograd.grad(moving, first, turned, allow_unused=True, materialize_grads=True)
        )
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("make", CELL_CASES.values(), ids=CELL_CASES)
def test_other_numbers_than_the_weights_are_refused(make: Make) -> None:
    cell = make(3, 4)
    x, state = given(cell)
    with pytest.raises(ValueError, match=r"make them one with \.to"):
        unroll(cell, x.double())
    with pytest.raises(ValueError, match=r"make them one with \.to"):
        unroll(cell, x, map_tensors(Tensor.double, state))


@pytest.mark.parametrize("make", CELL_CASES.values(), ids=CELL_CASES)
def test_hooks_of_every_kind_are_called(make: Make) -> None:
    cell = make(3, 4)
    calls: list[int] = []
    cell.register_full_backward_hook(lambda *given: calls.append(1))
    x, state = given(cell)
    y, _ = unroll(cell, x.requires_grad_(), state)
    y.sum().backward()
    assert len(calls) == 6
    assert "the plain loop" in plan(cell, x)


@every(SURE, LOOKING_AHEAD, DRAWING)
def test_hooks_of_wrappers_are_called_and_change_nothing(make: Make, wrap: Wrap) -> None:
    cell = wrap(make).double()
    x, state = given(cell)
    (options,) = taken(cell, [OPTIONS["lengths and reset"]])
    expected = everything(unroll, cell, x, state, **options)
    ahead = any(isinstance(part, Wrapper) and part.looks_ahead for part in cell.modules())
    calls: list[tuple[int, ...]] = []
    for part in cell.modules():
        if isinstance(part, Wrapper):
            part.register_forward_pre_hook(lambda _, inputs: calls.append(inputs[0].shape))
            part.register_full_backward_hook(lambda *given: None)
    assert_same(everything(unroll, cell, x, state, **options), expected)
    wrappers = sum(isinstance(part, Wrapper) for part in cell.modules())
    if ahead:
        assert (4, 6, cell.input_size) in calls
    else:
        assert len(calls) == 6 * wrappers and all(len(shape) == 2 for shape in calls)
        assert not wrappers or "the plain loop: its hooks act at every step" in plan(cell)


@pytest.mark.parametrize("above", ["gru", "rnn", "lstm"])
@pytest.mark.parametrize("make", CELL_CASES.values(), ids=CELL_CASES)
def test_layers_stand_on_each_other_under_autocast(make: Make, above: str) -> None:
    cell = Stack([make(3, 4), CELLS[above](4, 5)])
    with torch.autocast("cpu", torch.bfloat16):
        y, _ = unroll(cell, torch.randn(4, 6, 3))
    assert y.isfinite().all()
