"""Steps that are not there, and packed sequences: held against reading each row by hand."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence

from recurra.errors import ShapeError
from recurra.nn.cells import CELLS
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.present import Present, packed_like, padded
from recurra.nn.state import detach, flatten
from recurra.nn.unroll import unroll, unroll_plain
from recurra.nn.weights import from_torch
from recurra.nn.wrappers.attention import Attention
from recurra.nn.wrappers.base import Recurrence
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

Make = Callable[[int, int], Any]

LENGTHS = torch.tensor([5, 3, 4, 5])
RESET = torch.tensor([[0, 0, 1, 0, 1], [1, 1, 0, 1, 1], [0, 1, 1, 1, 0], [1, 0, 0, 1, 0]]).bool()
MASKS = {
    "padding before": [[1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [0, 1, 1, 1, 1], [0, 0, 0, 0, 1]],
    "holes, none and all": [[1, 0, 1, 0, 1], [0, 1, 0, 0, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]],
    "of it nothing": [[0] * 5] * 4,
}
OPTIONS: dict[str, dict[str, Tensor]] = {
    **{name: {"mask": torch.tensor(mask).bool()} for name, mask in MASKS.items()},
    "lengths": {"lengths": LENGTHS},
    "and all else": {
        "mask": torch.tensor(MASKS["holes, none and all"]).bool(),
        "lengths": LENGTHS,
        "reset": RESET,
    },
}

WRAPPED: dict[str, Callable[[Make], Recurrence]] = {
    "stack": lambda make: Stack([make(3, 4), make(4, 2)]),
    "bidirectional": lambda make: Bidirectional(make(3, 4), make(3, 2)),
    "stack of bidirectional": lambda make: Stack(
        [Bidirectional(make(3, 2), make(3, 2)), Bidirectional(make(4, 3), make(4, 1))]
    ),
    "bidirectional inside out": lambda make: Bidirectional(
        Bidirectional(make(3, 2), make(3, 2)), Bidirectional(make(3, 1), make(3, 2))
    ),
    "reversed": lambda make: Reversed(make(3, 4)),
    "reversed in a bidirectional": lambda make: Bidirectional(make(3, 4), Reversed(make(3, 2))),
    "dropout": lambda make: Dropout(make(3, 4), input=0.5, state=0.5).eval(),
    "residual": lambda make: Residual(make(3, 3)),
    "weight drop": lambda make: WeightDrop(make(3, 4), 0.5).eval(),
    "projection": lambda make: Projection(make(3, 4), 2),
    "highway": lambda make: Highway(make(3, 3)),
    "reset": lambda make: Reset(make(2, 4)),
    "trainable state": lambda make: TrainableState(make(3, 4)),
    "attention": lambda make: Attention(make(3, 4), size=2, window=2),
    "mogrifier": lambda make: Mogrifier(make(3, 4), rounds=2),
    "zoneout": lambda make: Zoneout(make(3, 4), hidden=0.3).eval(),
    "dilated": lambda make: Dilated(make(3, 4), 2),
}


@pytest.fixture
def stepping() -> Any:
    return import_module("stepping")


def given(cell: Recurrence, rows: int = 4, steps: int = 5) -> tuple[Tensor, Any]:
    """Inputs, and a state that steps lead to."""
    x = torch.randn(rows, steps, cell.input_size, dtype=torch.float64)
    before = torch.randn(rows, 2, cell.input_size, dtype=torch.float64)
    return x, detach(unroll_plain(cell, before)[1])


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("name", [*CELLS, "own_cells:FastWeightCell", "own_cells:PeepholeCell"])
def test_every_cell_is_as_by_hand(name: str, options: dict[str, Tensor], stepping: Any) -> None:
    cell = CELLS[name](3, 4).double()
    stepping.assert_as_by_hand(unroll, cell, *given(cell), **options)
    if "reset" in options:
        stepping.assert_as_by_hand(unroll_plain, cell, *given(cell), **options)


@pytest.mark.parametrize("make", [LSTMCell, GRUCell])
@pytest.mark.parametrize("name", WRAPPED)
def test_every_wrapper_is_as_by_hand(name: str, make: Make, stepping: Any) -> None:
    cell = WRAPPED[name](make).double()
    for options in (OPTIONS["padding before"], OPTIONS["lengths"], OPTIONS["and all else"]):
        if "reversed" in name:
            options = {key: value for key, value in options.items() if key != "reset"}
        stepping.assert_as_by_hand(unroll, cell, *given(cell), **options)


@pytest.mark.parametrize("name", CELLS)
def test_without_states_the_kernel_says_the_same(name: str) -> None:
    cell = CELLS[name](3, 4).double()
    x, state = given(cell)
    for options in OPTIONS.values():
        expected = unroll_plain(cell, x, state, **options)
        torch.testing.assert_close(unroll(cell, x, state, **options), expected)


@pytest.mark.parametrize("kind", ["lists", "arrays"])
def test_lists_and_arrays_are_masks(kind: str) -> None:
    cell, x = GRUCell(3, 4), torch.randn(2, 3, 3)
    mask = [[True, False, True], [False, True, True]]
    other: Any = mask if kind == "lists" else np.array(mask)
    torch.testing.assert_close(
        unroll(cell, x, mask=other), unroll(cell, x, mask=torch.tensor(mask))
    )


def test_a_step_that_is_not_there_resets_nothing() -> None:
    cell = GRUCell(3, 4)
    x, here = torch.randn(1, 4, 3), torch.tensor([[True, False, True, True]])
    reset = torch.tensor([[False, True, False, False]])
    y, state = unroll(cell, x, mask=here, reset=reset)
    expected, end = unroll(cell, x[:, here[0]])
    torch.testing.assert_close((y[:, here[0]], state), (expected, end))


@pytest.mark.parametrize("how", [unroll, unroll_plain])
@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, 1e300])
def test_what_is_not_there_may_be_anything_and_nothing_comes_of_it(how: Any, wrong: float) -> None:
    cell = Stack([LSTMCell(3, 4), Bidirectional(GRUCell(4, 2), LSTMCell(4, 2))]).double()
    x = torch.randn(2, 4, 3, dtype=torch.float64)
    mask = torch.tensor([[False, True, True, False], [False] * 4])
    x[~mask] = wrong
    x.requires_grad_()
    y, state, states = how(cell, x, mask=mask, states=True)
    parts = [y, *flatten(state).values(), *flatten(states).values()]
    upstream = [torch.randn_like(part) for part in parts]
    upstream[0][~mask] = torch.nan  # a loss of padding, as a ratio of nothing is
    gradients = torch.autograd.grad(parts, [x, *cell.parameters()], upstream)
    assert all(part.isfinite().all() for part in (*parts, *gradients))
    assert not gradients[0][~mask].any()


@pytest.mark.parametrize(("B", "T"), [(0, 3), (2, 0), (0, 0)])
@pytest.mark.parametrize("how", [unroll, unroll_plain])
def test_no_rows_and_no_steps(how: Any, B: int, T: int) -> None:
    cell = Stack([Bidirectional(LSTMCell(3, 2), GRUCell(3, 2)), Dilated(GRUCell(4, 2), 2)])
    state = cell.initial_state(B)
    everywhere = torch.ones(B, T, dtype=torch.bool)
    options: Any = {
        "mask": everywhere,
        "reset": everywhere,
        "lengths": torch.zeros(B, dtype=torch.int64),
    }
    for given in ({}, {"mask": everywhere}, options):
        y, after, states = how(cell, torch.zeros(B, T, 3), state, states=True, **given)
        assert y.shape == (B, T, 2)
        for name, part in flatten(state).items():
            assert torch.equal(flatten(after)[name], part)
            assert flatten(states)[name].shape == (B, T, *part.shape[1:])


def test_where_steps_lie() -> None:
    rng = np.random.default_rng(1)
    mask, lengths = rng.random((20, 6)) < 0.6, rng.integers(0, 7, 20)
    there = Present(torch.tensor(mask), torch.tensor(lengths))
    x = torch.tensor(rng.standard_normal((20, 6, 2)))
    front, back = there.to_front(x), there.back(there.to_front(x))
    from_start, from_end = there.read(False), there.read(True)
    for b in range(20):
        at = [t for t in range(6) if mask[b, t] and t < lengths[b]]
        assert there.lengths[b] == len(at)
        assert torch.equal(front[b, : len(at)], x[b, at])
        assert torch.equal(back[b, at], x[b, at]) and back[b].count_nonzero() == 2 * len(at)
        for t in range(6):
            assert from_start[b, t] == sum(place <= t for place in at) - 1
            behind = [n for n, place in enumerate(at) if place >= t]
            assert from_end[b, t] == (behind[0] if behind else -1)


PACKINGS = [([5, 3, 1], True), ([2, 5, 4], False), ([4, 4, 4], True), ([1, 1, 1], False)]


def packed_of(x: Tensor, lengths: list[int], in_order: bool) -> PackedSequence:
    return pack_padded_sequence(x, torch.tensor(lengths), True, in_order)


def assert_packed_alike(one: PackedSequence, other: PackedSequence) -> None:
    torch.testing.assert_close(one.data, other.data)
    assert torch.equal(one.batch_sizes, other.batch_sizes)
    for name in ("sorted_indices", "unsorted_indices"):
        found, expected = getattr(one, name), getattr(other, name)
        assert found is expected is None or torch.equal(found, expected)


@pytest.mark.parametrize(("lengths", "in_order"), PACKINGS, ids=str)
@pytest.mark.parametrize("both", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_packed_sequences_are_torchs(
    kind: Any, both: bool, lengths: list[int], in_order: bool
) -> None:
    theirs = kind(3, 4, 2, bidirectional=both, batch_first=True).double()
    cell = from_torch(theirs)
    x = torch.randn(3, max(lengths), 3, dtype=torch.float64, requires_grad=True)
    packed = packed_of(x, lengths, in_order)
    expected, end = theirs(packed)
    y, state, states = unroll(cell, packed, states=True)
    assert_packed_alike(y, expected)
    assert_packed_alike(unroll(cell, packed)[0], expected)
    parts = flatten(state)
    ends = (end,) if isinstance(end, Tensor) else end
    for letter, found in zip("hc", ends):
        ours = [part for name, part in parts.items() if name.endswith(f".{letter}")]
        torch.testing.assert_close(torch.stack(ours), found)
    _, _, rows = unroll(cell, x, lengths=lengths, states=True)
    torch.testing.assert_close(states, rows)
    gradients = [torch.autograd.grad(made.data.sin().sum(), x, retain_graph=True)[0]
                 for made in (y, expected)]  # fmt: skip
    torch.testing.assert_close(*gradients)


def test_packed_sequences_have_states_masks_and_resets_as_rows_have() -> None:
    cell = Stack([Bidirectional(LSTMCell(3, 2), GRUCell(3, 2))]).double()
    x, state = given(cell, rows=3)
    lengths, options = (
        [2, 5, 4],
        {key: OPTIONS["and all else"][key][:3] for key in ("mask", "reset")},
    )
    packed = packed_of(x, lengths, False)
    y, *rest = unroll(cell, packed, state, states=True, **options)
    expected, *others = unroll(cell, x, state, states=True, lengths=lengths, **options)
    assert_packed_alike(y, packed_of(expected, lengths, False))
    torch.testing.assert_close(rest, others)
    assert_packed_alike(unroll_plain(cell, packed, state, **options)[0], y)


def test_packed_sequences_that_do_not_fit_are_refused_in_one_line() -> None:
    cell = GRUCell(3, 4)
    packed = packed_of(torch.randn(3, 5, 3), [2, 5, 4], False)
    wrong: list[tuple[Any, dict[str, Any], str]] = [
        (packed, {"lengths": [2, 5, 4]}, "have their lengths with them: pass no lengths="),
        (
            packed,
            {"mask": torch.ones(3, 4).bool()},
            r"mask is bool of shape \(3, 5\), got \(3, 4\)",
        ),
        (packed, {"reset": torch.ones(11).bool()}, r"reset is bool of shape \(3, 5\), got \(11,\)"),
        (packed, {"state": cell.initial_state(2)}, r"state.h is \(2, 4\), expected \(3, 4\)"),
        (packed.to(torch.float64), {}, "x is of torch.float64, its weights and state of"),
        (packed.to("meta"), {}, "GRUCell is on cpu, x on meta; move one"),
        (pack_sequence([torch.zeros(3)]), {}, r"\(batch, time, input\), got \(1, 3\)"),
        (pack_sequence([torch.zeros(3, 2)]), {}, r"GRUCell takes 3 features, got x of"),
    ]
    for x, options, why in wrong:
        for how in (unroll, unroll_plain):
            with pytest.raises(ShapeError, match=why) as error:
                how(cell, x, **options)
            assert "\n" not in str(error.value)


def test_packed_sequences_of_another_dtype_and_elsewhere() -> None:
    packed = packed_of(torch.randn(3, 5, 3), [2, 5, 4], False)
    assert (
        unroll(GRUCell(3, 4).bfloat16(), packed.to(torch.bfloat16))[0].data.dtype == torch.bfloat16
    )
    y, state, states = unroll(LSTMCell(3, 4).to("meta"), packed.to("meta"), states=True)
    assert y.data.is_meta and y.data.shape == (11, 4) and y.sorted_indices.is_meta
    assert state.h.shape == (3, 4) and states.c.shape == (3, 5, 4)


@pytest.mark.parametrize(("lengths", "in_order"), PACKINGS, ids=str)
def test_what_is_packed_is_laid_out_and_back(lengths: list[int], in_order: bool) -> None:
    x = torch.randn(3, max(lengths), 2)
    packed = packed_of(x, lengths, in_order)
    rows, sizes = padded(packed)
    assert sizes.tolist() == lengths
    past = torch.arange(max(lengths)) >= sizes.unsqueeze(1)
    assert torch.equal(rows, x.masked_fill(past.unsqueeze(2), 0))
    assert_packed_alike(packed_like(rows, packed), packed)
