from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recurra.errors import RunError
from recurra.nn.cells.base import Cell
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.layer_norm_gru import LayerNormGRUCell
from recurra.nn.unroll import unroll, unroll_plain

CELLS: dict[str, Callable[[int, int], Cell]] = {
    "after": GRUCell,
    "before": partial(GRUCell, reset_after=False),
    "layer norm": LayerNormGRUCell,
}
EACH = pytest.mark.parametrize("name", list(CELLS))
Unroll = Callable[..., tuple[Tensor, object]]


def made(name: str, kind: torch.dtype = torch.float64, I: int = 3, H: int = 19) -> Cell:  # noqa: E741
    cell = CELLS[name](I, H).to(kind)
    for parameter_name, parameter in cell.named_parameters():
        if not parameter_name.startswith("weight"):
            nn.init.normal_(parameter)
    assert not isinstance(cell.kernel(torch.zeros(1, dtype=kind)), str)
    return cell


def gradients(run: Unroll, cell: Cell, lengths: Tensor | None) -> list[Tensor]:
    """Return the outputs, the last state, and the gradients of all that goes in."""
    draw = torch.Generator().manual_seed(5)
    kind = next(cell.parameters()).dtype
    B, T, H = 5, 6, cell.output_size

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=kind)

    x, h = random(B, T, 3).requires_grad_(), random(B, H).requires_grad_()
    state = type(cell.initial_state(B))(h)
    y, end = run(cell, x, state, lengths=lengths)
    loss = (y * random(B, T, H)).sum() + (end.h * random(B, H)).sum()
    return [y, end.h, *torch.autograd.grad(loss, [x, h, *cell.parameters()])]


@EACH
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize(
    ("kind", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)], ids=["single", "double"]
)
def test_the_loop_over_steps(name: str, ragged: bool, kind: torch.dtype, tolerance: float) -> None:
    cell = made(name, kind)
    lengths = torch.tensor([6, 0, 1, 5, 3]) if ragged else None
    for got, expected in zip(
        gradients(unroll, cell, lengths), gradients(unroll_plain, cell, lengths)
    ):
        torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


@EACH
def test_gradients_are_those_of_differences(name: str) -> None:
    cell = made(name, H=4)
    x = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    h = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    state = type(cell.initial_state())
    names = [name for name, _ in cell.named_parameters()]

    def run(x: Tensor, h: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        given = dict(zip(names, weights))
        y, end = torch.func.functional_call(
            Unrolled(cell),
            {f"cell.{name}": weight for name, weight in given.items()},
            (x, state(h)),
        )
        return y, end.h

    assert torch.autograd.gradcheck(run, (x, h, *cell.parameters()))


class Unrolled(nn.Module):
    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor, state: object) -> tuple[Tensor, object]:
        return unroll(self.cell, x, state, lengths=torch.tensor([3, 2]))


@EACH
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_numbers_do_not_depend_on_threads(
    name: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = made(name, torch.float32)
    alone = gradients(unroll, cell, None)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    parts = gradients(unroll, cell, None)
    # Only what is summed over rows may come in another order.
    assert all(map(torch.equal, parts[:4], alone[:4]))
    torch.testing.assert_close(parts, alone)


@EACH
def test_without_gradients_the_same_numbers(name: str) -> None:
    cell = made(name, torch.float32)
    x = torch.randn(2, 7, 3)
    with torch.no_grad():
        alone = unroll(cell, x)
    y, state = unroll(cell, x)
    assert torch.equal(y, alone[0])
    assert torch.equal(state.h, alone[1].h)


@EACH
def test_one_step_at_a_time(name: str) -> None:
    cell = made(name)
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    y, state = unroll(cell, x)
    own = cell.initial_state(2)
    for t in range(7):
        step, own = cell(x[:, t], own)
        torch.testing.assert_close(y[:, t], step, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state.h, own.h, rtol=1e-12, atol=1e-12)


@EACH
def test_what_comes_of_a_nan_is_one(name: str) -> None:
    cell = made(name, torch.float32)
    x = torch.randn(2, 5, 3)
    x[1, 2] = torch.nan
    y = unroll(cell, x)[0]
    assert y[0].isfinite().all()
    assert y[1, :2].isfinite().all()
    assert y[1, 2:].isnan().all()


@EACH
def test_under_autocast_it_stays_in_float32(name: str) -> None:
    def narrow(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return unroll(*args, **kwargs)

    cell = made(name, torch.float32)
    assert all(map(torch.equal, gradients(narrow, cell, None), gradients(unroll, cell, None)))


@EACH
def test_a_second_derivative_is_refused(name: str) -> None:
    cell = made(name)
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(unroll(cell, x)[0].sum(), [x], create_graph=True)
    with pytest.raises(RunError, match="cannot be differentiated twice"):
        first.sum().backward()


@EACH
def test_the_operators_are_well_formed(name: str) -> None:
    cell = made(name)
    kind = "layer_norm_gru_sequence" if name == "layer norm" else "gru_sequence"
    operator = getattr(torch.ops.recurra, kind).default
    draw = torch.Generator().manual_seed(1)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64).requires_grad_()

    h = cell.output_size = 4
    lengths = torch.tensor([3, 1])
    if name == "layer norm":
        tensors = (random(2, 3, 8), random(2, 3, 4), random(2, 4), random(12, 4))
        arguments = (*tensors, random(12), random(12), 1e-5, lengths, True)
    else:
        weights = (random(12, 5), random(12, 4), random(12), random(12))
        arguments = (random(2, 3, 5), random(2, h), *weights, lengths, name == "after")
    kinds = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(operator, arguments, test_utils=kinds)
