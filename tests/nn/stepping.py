"""What `unroll` means, row by row and step by step: a reference that knows no masks and no pass.

Each row is read alone, only the steps of it that are there; where they came from is written down
afterwards. B rows, T steps, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra.nn.cells.base import Cell
from recurra.nn.state import State, flatten, index, map_tensors
from recurra.nn.wrappers.base import Recurrence, Wrapper
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.reversed import Reversed
from recurra.nn.wrappers.stack import Stack

NAN = torch.nan


class Trail(NamedTuple):
    """A tensor of a state: before any step, after each, and whether the last was read first."""

    before: Tensor
    after: list[Tensor]
    from_end: bool = False


def by_hand(
    cell: Recurrence,
    x: Tensor,
    state: State,
    *,
    lengths: Tensor | None = None,
    mask: Tensor | None = None,
    reset: Tensor | None = None,
    states: bool = True,
) -> tuple[Tensor, State, State]:
    """Do what `unroll` does with `states=True`."""
    T = x.shape[1]
    there = present(x, lengths, mask)
    rows = []
    for b in range(len(x)):
        at = [t for t in range(T) if there[b, t]]
        steps = [x[b : b + 1, t] for t in at]
        # Before each step and after the last, so that it reads the same from either end.
        cuts = [reset is not None and bool(reset[b, t]) for t in at]
        outputs, end, trails = _read(cell, steps, index(state, [b]), [*cuts, False])
        y = [x.new_zeros(1, cell.output_size)] * T
        for t, output in zip(at, outputs, strict=True):
            y[t] = output
        each = _over_trails(trails, lambda trail, at=at: _placed(trail, at, T))
        rows.append((torch.stack(y, 1), end, each))
    return tuple(map_tensors(lambda *parts: torch.cat(parts), *each) for each in zip(*rows))  # type: ignore[return-value]


def present(x: Tensor, lengths: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
    """Which steps are there, `(B, T)`."""
    there = torch.ones(x.shape[:2], dtype=torch.bool)
    if lengths is not None:
        there &= torch.arange(x.shape[1]) < lengths.unsqueeze(1)
    return there if mask is None else there & mask


def everything(
    how: Callable[..., Any], cell: Recurrence, x: Tensor, state: State, **options: Any
) -> dict[str, Tensor]:
    """Outputs, state, states, and the gradients of a number made of all of them."""
    x, state = map_tensors(lambda tensor: tensor.detach().clone().requires_grad_(), (x, state))
    y, after, states = how(cell, x, state, states=True, **options)
    results = {"y": y, **flatten(after, "after"), **flatten(states, "states")}
    parts = [tensor for tensor in results.values() if tensor.requires_grad]
    loss = sum((part * torch.arange(part.numel()).sin().view_as(part)).sum() for part in parts)
    leaves = {"x": x, **flatten(state, "before"), **dict(cell.named_parameters())}
    gradients = torch.autograd.grad(
        loss, list(leaves.values()), allow_unused=True, materialize_grads=True
    )
    return results | {f"gradient of {name}": g for name, g in zip(leaves, gradients)}


def assert_as_by_hand(
    how: Callable[..., Any], cell: Recurrence, x: Tensor, state: State, **options: Any
) -> None:
    """Hold a way of unrolling against it, in float64; what is not there is NaN."""
    there = present(x, options.get("lengths"), options.get("mask"))
    x = x.masked_fill(~there.unsqueeze(2), NAN)
    expected = everything(by_hand, cell, x, state, **options)
    got = everything(how, cell, x, state, **options)
    assert list(got) == list(expected)
    for name, tensor in expected.items():
        assert tensor.isfinite().all(), name
        close = {"rtol": 1e-9, "atol": 1e-11}
        torch.testing.assert_close(got[name], tensor, **close, msg=lambda m, n=name: f"{n}: {m}")
    assert not got["y"][~there].any() and not got["gradient of x"][~there].any()


def _read(
    cell: Any, xs: list[Tensor], state: State, cuts: list[bool]
) -> tuple[list[Tensor], State, Any]:
    """Read one row from its start; `cuts`, one more than steps: where it starts anew."""
    if isinstance(cell, Bidirectional):
        y, end, trails = _read(cell.inner(0), xs, state[0], cuts)
        z, turned, others = _read(cell.inner(1), xs[::-1], state[1], cuts[::-1])
        others = _over_trails(others, lambda o: Trail(o.before, o.after[::-1], not o.from_end))
        merged = [torch.cat(pair, 1) for pair in zip(y, z[::-1])]
        return merged, type(state)(end, turned), type(state)(trails, others)
    if isinstance(cell, Reversed):
        return _read(cell.inner(), xs[::-1], state, cuts)
    if isinstance(cell, Stack) and any(getattr(part, "looks_ahead", 0) for part in cell.modules()):
        ends, trails = [], []
        for inner, begin in zip(cell.cells, state, strict=True):
            xs, end, trail = _read(inner, xs, begin, cuts)
            ends.append(end)
            trails.append(trail)
        return xs, tuple(ends), tuple(trails)
    assert isinstance(cell, Cell) or not isinstance(cell, Wrapper) or not cell.looks_ahead
    before, outputs, seen = state, [], []
    for x, cut in zip(xs, cuts):
        state = cell.initial_state(1, dtype=x.dtype) if cut else state
        y, state = cell(x, state)
        outputs.append(y)
        seen.append(state)
    return outputs, state, map_tensors(lambda first, *after: Trail(first, [*after]), before, *seen)


def _placed(trail: Trail, at: list[int], T: int) -> Tensor:
    """The state as it was at each of T steps, of which those `at` are there."""
    found = []
    for t in range(T):
        read = [n for n, place in enumerate(at) if (place >= t if trail.from_end else place <= t)]
        last = read[0 if trail.from_end else -1] if read else None
        found.append(trail.before if last is None else trail.after[last])
    return torch.stack(found, 1)


def _over_trails(nest: Any, function: Callable[[Trail], Any]) -> Any:
    if isinstance(nest, Trail):
        return function(nest)
    parts = [_over_trails(part, function) for part in nest]
    return type(nest)(*parts) if hasattr(nest, "_fields") else tuple(parts)
