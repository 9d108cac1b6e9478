from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recurra.errors import RunError, ShapeError
from recurra.nn.cells.lstm import LSTMCell, LSTMState
from recurra.nn.kernels.loops.mogrifier import mogrifier_sequence
from recurra.nn.unroll import plan, unroll, unroll_plain
from recurra.nn.wrappers.mogrifier import Mogrifier

ROUNDS = {
    "one round": (1, None),
    "two rounds": (2, None),
    "five rounds": (5, None),
    "rank": (5, 2),
}
EACH = pytest.mark.parametrize("name", list(ROUNDS))
BOTH = pytest.mark.parametrize("name", ["five rounds", "rank"])
Unroll = Callable[..., tuple[Tensor, Any]]


def made(name: str, kind: torch.dtype = torch.float64, H: int = 19) -> Mogrifier:
    cell = Mogrifier(LSTMCell(3, H), *ROUNDS[name]).to(kind)
    assert plan(cell).startswith(f"Mogrifier(3 -> {H}): the compiled Mogrifier LSTM, whole")
    return cell


def gradients(run: Unroll, cell: Mogrifier, lengths: Tensor | None, B: int = 5) -> list[Tensor]:
    """Return the outputs, the last state, and the gradients of all that goes in."""
    draw = torch.Generator().manual_seed(5)
    kind = next(cell.parameters()).dtype
    T, H = 6, cell.output_size

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=kind)

    x, h, c = (random(*shape).requires_grad_() for shape in ((B, T, 3), (B, H), (B, H)))
    y, end = run(cell, x, LSTMState(h, c), lengths=lengths)
    loss = (y * random(B, T, H)).sum() + sum((part * random(B, H)).sum() for part in end)
    return [y, *end, *torch.autograd.grad(loss, [x, h, c, *cell.parameters()])]


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
    names = [f"cell.{name}" for name, _ in cell.named_parameters()]
    x, h, c = (torch.randn(shape, dtype=torch.float64) for shape in ((2, 3, 3), (2, 4), (2, 4)))

    def run(x: Tensor, h: Tensor, c: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        inputs = (x, LSTMState(h, c))
        y, end = torch.func.functional_call(Unrolled(cell), dict(zip(names, weights)), inputs)
        return y, *end

    given = [leaf.requires_grad_() for leaf in (x, h, c)]
    assert torch.autograd.gradcheck(run, (*given, *cell.parameters()))


class Unrolled(nn.Module):
    def __init__(self, cell: Mogrifier) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor, state: object) -> tuple[Tensor, object]:
        return unroll(self.cell, x, state, lengths=torch.tensor([3, 2]))


@BOTH
@pytest.mark.parametrize("threads", [2, 3])
def test_the_numbers_do_not_depend_on_threads(
    name: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = made(name, torch.float32)
    alone = gradients(unroll, cell, None)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    parts = gradients(unroll, cell, None)
    # Only what is summed over rows may come in another order.
    assert all(map(torch.equal, parts[:6], alone[:6]))
    torch.testing.assert_close(parts, alone)


@BOTH
def test_without_gradients_the_same_numbers(name: str) -> None:
    cell = made(name, torch.float32)
    x = torch.randn(2, 7, 3)
    with torch.no_grad():
        alone = unroll(cell, x)
    got = unroll(cell, x)
    assert torch.equal(got[0], alone[0])
    assert all(map(torch.equal, got[1], alone[1]))


def test_resets_cut_it() -> None:
    cell = made("five rounds")
    x = torch.randn(3, 6, 3, dtype=torch.float64)
    reset = torch.rand(3, 6) < 0.3
    lengths = torch.tensor([6, 2, 4])
    got, expected = (run(cell, x, reset=reset, lengths=lengths) for run in (unroll, unroll_plain))
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


def test_what_comes_of_a_nan_is_one() -> None:
    cell = made("five rounds", torch.float32)
    x = torch.randn(2, 5, 3)
    x[1, 2] = torch.nan
    y = unroll(cell, x)[0]
    assert y[0].isfinite().all()
    assert y[1, :2].isfinite().all()
    assert y[1, 2:].isnan().all()


def test_a_second_derivative_is_refused() -> None:
    cell = made("two rounds")
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(unroll(cell, x)[0].sum(), [x], create_graph=True)
    with pytest.raises(RunError, match="cannot be differentiated twice"):
        first.sum().backward()


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("name", ["two rounds", "rank"])
def test_the_operator_is_well_formed(name: str, keep: bool) -> None:
    cell = made(name, H=4)
    draw = torch.Generator().manual_seed(1)

    def random(*shape: int) -> Tensor:
        made = torch.randn(shape, generator=draw, dtype=torch.float64)
        return made.requires_grad_(keep)

    shapes = [(3, 2, 3), (2, 4), (2, 4), (16, 3), (16, 4), (16,)]
    matrices = [matrix.detach().requires_grad_(keep) for matrix in cell.matrices]
    given = (*(random(*shape) for shape in shapes), matrices, cell.rounds, torch.tensor([3, 1]))
    kinds = ("test_schema", "test_autograd_registration", "test_faketensor")
    operator = torch.ops.recurra.mogrifier_sequence.default
    torch.library.opcheck(operator, (*given, keep), test_utils=kinds)


def test_torch_compile_captures_it() -> None:
    torch._dynamo.reset()
    cell = made("five rounds", torch.float32)
    x = torch.randn(2, 3, 3, requires_grad=True)
    whole = torch.compile(unroll, backend="aot_eager", fullgraph=True)
    got, expected = (
        [y, *end, *torch.autograd.grad(y.sin().sum() + end.c.sum(), [x, *cell.parameters()])]
        for y, end in (whole(cell, x), unroll(cell, x))
    )
    torch.testing.assert_close(got, expected)


def test_faults() -> None:
    zeros, square = torch.zeros, torch.zeros(2, 2)
    weights = zeros(8, 3), zeros(8, 2), zeros(8)
    with pytest.raises(ShapeError, match=r"matrices of 2 rounds are \[\(3, 2\), \(2, 3\)\], got"):
        mogrifier_sequence(zeros(2, 4, 3), (square, square), weights, [zeros(3, 2)] * 2, 2)
    with pytest.raises(ShapeError, match=r"c is \(B, H\) of torch.float32 where B = 2"):
        mogrifier_sequence(zeros(2, 4, 3), (square, zeros(2, 3)), weights, [zeros(3, 2)], 1)
