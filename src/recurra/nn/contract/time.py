"""Whether a sequence is its steps, however it is cut, and rows end and begin where they are told.

B rows, T steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from recurra.nn.contract.purity import whole
from recurra.nn.contract.subject import (
    Results,
    Subject,
    copied,
    differing,
    looks_ahead,
    named,
    rows_of,
    shown,
)
from recurra.nn.state import State, detach, flatten, map_tensors, unflatten
from recurra.nn.unroll import unroll
from recurra.nn.wrappers.base import Recurrence

__all__ = ["chunks_are_the_whole", "rows_end_and_begin", "steps_are_the_whole"]

T = 6


def steps_are_the_whole(subject: Subject) -> Iterator[str]:
    """Step by step is the whole sequence, and `states=True` gives the state after each.

    Args:
        subject: what is checked.
    """
    cell = subject.fresh(torch.float64)
    if looks_ahead(cell):
        return
    subject.doing = "unroll"
    x, state = subject.x(2, T, cell), subject.begins(2)
    with torch.no_grad():
        expected = whole(cell, x, copied(state))
        outputs, each, now = [], [], copied(state)
        for t in range(T):
            subject.doing = f"step {t + 1}"
            y, now = cell(x[:, t].clone(), now)
            outputs.append(y)
            each.append(copied(now))
        stepped = named(torch.stack(outputs, 1), now, "last")
        if found := differing(stepped, expected):
            yield (
                f"step by step the {shown(found[0])} is not that of the whole sequence (B = 2, "
                f"T = {T}; {found[1]})"
            )
            return
        subject.doing = "unroll with states=True"
        y, after, states = unroll(
            cell, x, copied(state), states=True, generator=torch.Generator().manual_seed(7)
        )
        together = map_tensors(lambda *parts: torch.stack(parts, 1), *each)
    traced = {f"each {n}": t for n, t in flatten(states).items()} | named(y, after, "last")
    wanted = {f"each {n}": t for n, t in flatten(together).items()} | expected
    if found := differing(traced, wanted):
        yield (
            f"with states=True the {shown(found[0])} is not that of the steps (B = 2, T = {T}; "
            f"{found[1]})"
        )


def chunks_are_the_whole(subject: Subject) -> Iterator[str]:
    """Pieces with the state carried, saved and read back, are the whole.

    Args:
        subject: what is checked.
    """
    cell = subject.fresh(torch.float64)
    if looks_ahead(cell):
        return
    subject.doing = "unroll over pieces"
    x, state = subject.x(2, T, cell), subject.begins(2)
    with torch.no_grad():
        expected = whole(cell, x, copied(state))
        now, outputs = copied(state), []
        for start, end in ((0, 1), (1, 4), (4, T)):
            y, now = unroll(cell, x[:, start:end], now, generator=torch.Generator())
            kept = {name: part.clone() for name, part in flatten(now).items()}
            like = cell.initial_state(2, dtype=torch.float64)
            now = detach(unflatten(kept, like))
            outputs.append(y)
        pieces = named(torch.cat(outputs, 1), now, "last")
    if found := differing(pieces, expected):
        yield (
            f"in pieces of 1, 3 and 2 steps, the state carried, the {shown(found[0])} is not that "
            f"of the whole (B = 2, T = {T}; {found[1]})"
        )


def rows_end_and_begin(subject: Subject) -> Iterator[str]:
    """Lengths, masks and resets: each row is as if it stood alone with the steps that are there.

    Args:
        subject: what is checked.
    """
    cell = subject.fresh(torch.float64)
    x, state = subject.x(3, T, cell), subject.begins(3)
    lengths = torch.tensor([T, 0, 2])
    padded = x.clone()
    padded[torch.arange(T) >= lengths.unsqueeze(1)] = torch.nan
    mask = torch.tensor([[1, 1, 0, 1, 0, 1], [0] * T, [0, 1, 1, 1, 1, 1]]).bool()
    for what, given, options in (
        ("lengths 6, 0 and 2, NaN behind them", padded, {"lengths": lengths}),
        ("a mask", x.masked_fill(~mask.unsqueeze(2), torch.nan), {"mask": mask}),
    ):
        there = mask if "mask" in options else torch.arange(T) < lengths.unsqueeze(1)
        subject.doing = f"unroll with {what}"
        with torch.no_grad():
            got = whole(cell, given, copied(state), **options)
            expected = _alone(cell, x, state, there)
        if found := differing(got, expected):
            yield (
                f"with {what} the {shown(found[0])} is not that of each row alone (B = 3, T = {T}; "
                f"{found[1]})"
            )
            return
    yield from _resets(subject, cell, x, state)


def _alone(cell: Recurrence, x: Tensor, state: State, there: Tensor) -> Results:
    """Run each row alone over the steps that are there."""
    outputs, ends = [], []
    for row in range(len(x)):
        steps = there[row].nonzero().flatten()
        y, end = unroll(cell, x[[row]][:, steps], rows_of(state, [row]), generator=_drawn())
        full = x.new_zeros(1, x.shape[1], cell.output_size)
        full[:, steps] = y
        outputs.append(full)
        ends.append(end)
    return named(torch.cat(outputs), map_tensors(lambda *each: torch.cat(each), *ends), "last")


def _drawn() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def _resets(subject: Subject, cell: Recurrence, x: Tensor, state: State) -> Iterator[str]:
    if looks_ahead(cell):
        return
    subject.doing = "unroll with resets"
    reset: Any = torch.zeros(2, T, dtype=torch.bool)
    reset[0, 3] = reset[1, 0] = True
    with torch.no_grad():
        got = whole(cell, x[:2], rows_of(state, [0, 1]), reset=reset)
        start = cell.initial_state(1, dtype=torch.float64)
        y, _ = unroll(cell, x[:1, :3], rows_of(state, [0]), generator=_drawn())
        again, end = unroll(cell, x[:1, 3:], start, generator=_drawn())
        other, last = unroll(cell, x[1:2], start, generator=_drawn())
    expected = named(
        torch.cat([torch.cat([y, again], 1), other]),
        map_tensors(lambda *each: torch.cat(each), end, last),
        "last",
    )
    if found := differing(got, expected):
        yield (
            f"after a reset the {shown(found[0])} is not that from initial_state (B = 2, T = {T}; "
            f"{found[1]})"
        )
