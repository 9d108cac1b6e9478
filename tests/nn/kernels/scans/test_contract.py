"""Derivatives of the derivatives of every scan, run as cells run it, beside the plain loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from recurra.nn.cells import CELLS
from recurra.nn.cells.base import Cell
from recurra.nn.state import State, map_tensors
from recurra.nn.unroll import unroll, unroll_plain

SCANS: dict[str, Callable[[int, int], Cell]] = {
    **{
        name: CELLS[name]
        for name in ("min_gru", "min_lstm", "qrnn", "sru", "ind_rnn", "lru", "rwkv")
    },
    "positive min_gru": partial(CELLS["min_gru"], candidate="positive"),
    "positive min_lstm": partial(CELLS["min_lstm"], candidate="positive"),
}


@pytest.fixture(params=SCANS.values(), ids=SCANS)
def cell(request: pytest.FixtureRequest) -> Cell:
    torch.manual_seed(3)
    made: Cell = request.param(3, 4).double()
    return made


def given(cell: Cell) -> tuple[Tensor, State]:
    x = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    state = map_tensors(lambda part: torch.randn_like(part).requires_grad_(), cell.initial_state(2))
    return x, state


def results(
    run: Callable[..., Any], cell: Cell, x: Tensor, state: State, lengths: Tensor | None
) -> list[Tensor]:
    y, end = run(cell, x, state, lengths=lengths)
    return [y, *end]


@pytest.mark.parametrize("lengths", [None, torch.tensor([3, 1])], ids=["whole", "ragged"])
def test_second_and_third_derivatives_are_those_of_the_loop(
    cell: Cell, lengths: Tensor | None
) -> None:
    x, state = given(cell)
    leaves = [x, *state, *cell.parameters()]
    options = {"allow_unused": True, "materialize_grads": True}

    def derivatives(run: Callable[..., Any]) -> list[Tensor]:
        found = results(run, cell, x, state, lengths)
        for _ in range(3):
            latest = found[-len(leaves) :]
            loss = sum((d * torch.arange(d.numel()).sin().view_as(d)).sum() for d in latest)
            once = torch.autograd.grad(loss, leaves, retain_graph=True, **options)
            further = torch.autograd.grad(loss, leaves, create_graph=True, **options)
            found += [*once, *further]
        return found

    got, expected = map(derivatives, (unroll, unroll_plain))
    torch.testing.assert_close(got, expected, rtol=1e-7, atol=1e-8)


def test_second_derivatives_are_those_of_differences(cell: Cell) -> None:
    x, state = given(cell)

    def outcome(*_: Tensor) -> tuple[Tensor, ...]:
        # gradgradcheck moves the leaves in place, so the cell and the state see it.
        return tuple(results(unroll, cell, x, state, torch.tensor([3, 2])))

    leaves = (x, *state, *cell.parameters())
    assert torch.autograd.gradgradcheck(outcome, leaves, fast_mode=True)


@pytest.mark.parametrize("name", ["rwkv", "slstm", "min_lstm"])
def test_second_derivatives_are_numbers_from_the_first_step_on(name: str) -> None:
    cell = CELLS[name](3, 4)  # whose state says that it has seen nothing, in units of a logarithm
    x = (50 * torch.randn(2, 3, 3)).requires_grad_()
    for run in (unroll, unroll_plain):
        loss = run(cell, x)[0].sum()
        first = torch.autograd.grad(
            loss, [x, *cell.parameters()], create_graph=True, allow_unused=True
        )
        sum(d.square().sum() for d in first if d is not None).backward()
        assert x.grad is not None and x.grad.isfinite().all()
        assert all(p.grad is None or p.grad.isfinite().all() for p in cell.parameters())
