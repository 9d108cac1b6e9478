from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recurra.errors import RunError, ShapeError
from recurra.nn.cells.base import Cell
from recurra.nn.cells.recurrent_highway import RecurrentHighwayCell
from recurra.nn.cells.slstm import SLSTMCell
from recurra.nn.kernels.loops import highway as highway_sequence
from recurra.nn.kernels.loops import slstm as slstm_sequence
from recurra.nn.unroll import unroll, unroll_plain

CELLS: dict[str, Callable[[int, int], Cell]] = {
    "sLSTM": SLSTMCell,
    "heads": partial(SLSTMCell, num_heads=3),
    "exponential": partial(SLSTMCell, forget="exponential"),
    "highway": RecurrentHighwayCell,
    "one layer": partial(RecurrentHighwayCell, depth=1),
}
EACH = pytest.mark.parametrize("name", list(CELLS))
BOTH = pytest.mark.parametrize("name", ["heads", "highway"])
Unroll = Callable[..., tuple[Tensor, Any]]


def made(name: str, kind: torch.dtype = torch.float64, H: int = 21) -> Cell:
    cell = CELLS[name](3, H).to(kind)
    for parameter_name, parameter in cell.named_parameters():
        if parameter_name.startswith("bias"):
            nn.init.normal_(parameter)
    assert "compiled" in cell.kernel(torch.zeros(1, dtype=kind)).name  # type: ignore[union-attr]
    return cell


def gradients(run: Unroll, cell: Cell, lengths: Tensor | None, B: int = 5) -> list[Tensor]:
    """Return the outputs, the last state, and the gradients of all that goes in."""
    draw = torch.Generator().manual_seed(5)
    kind = next(cell.parameters()).dtype
    T, H = 6, cell.output_size

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=kind)

    x = random(B, T, 3).requires_grad_()
    state = type(cell.initial_state(B))
    first = [random(B, H).requires_grad_() for _ in state._fields]
    y, end = run(cell, x, state(*first), lengths=lengths)
    loss = (y * random(B, T, H)).sum() + sum((part * random(B, H)).sum() for part in end)
    return [y, *end, *torch.autograd.grad(loss, [x, *first, *cell.parameters()])]


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
    cell = made(name, H=3)
    leaves = [torch.randn(2, 3, 3, dtype=torch.float64)]
    state = type(cell.initial_state())
    leaves += torch.randn(len(state._fields), 2, 3, dtype=torch.float64).unbind()
    names = [name for name, _ in cell.named_parameters()]

    def run(x: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
        cut = len(state._fields)
        weights = {f"cell.{name}": weight for name, weight in zip(names, given[cut:])}
        inputs = (x, state(*given[:cut]))
        y, end = torch.func.functional_call(Unrolled(cell), weights, inputs)
        return y, *end

    given = [leaf.requires_grad_() for leaf in leaves]
    assert torch.autograd.gradcheck(run, (*given, *cell.parameters()))


class Unrolled(nn.Module):
    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor, state: object) -> tuple[Tensor, object]:
        return unroll(self.cell, x, state, lengths=torch.tensor([3, 2]))


@BOTH
def test_more_rows_than_a_block_of_the_product(name: str) -> None:
    cell = made(name)
    for got, expected in zip(
        gradients(unroll, cell, None, B=27), gradients(unroll_plain, cell, None, B=27)
    ):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


@BOTH
def test_the_outputs_alone_or_the_end_alone(name: str) -> None:
    cell = made(name)
    x = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    for part in (0, 1):
        got, expected = (
            torch.autograd.grad(sum(t.sum() for t in [run(cell, x)[0], run(cell, x)[1][-1]][part]),
                                [x, *cell.parameters()])
            for run in (unroll, unroll_plain)
        )  # fmt: skip
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


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
    own = len(alone) - len(list(cell.parameters()))
    assert all(map(torch.equal, parts[:own], alone[:own]))
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


@BOTH
def test_what_comes_of_a_nan_is_one(name: str) -> None:
    cell = made(name, torch.float32)
    x = torch.randn(2, 5, 3)
    x[1, 2] = torch.nan
    y = unroll(cell, x)[0]
    assert y[0].isfinite().all()
    assert y[1, :2].isfinite().all()
    assert y[1, 2:].isnan().all()


@BOTH
def test_under_autocast_it_stays_in_float32(name: str) -> None:
    def narrow(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return unroll(*args, **kwargs)

    cell = made(name, torch.float32)
    assert all(map(torch.equal, gradients(narrow, cell, None), gradients(unroll, cell, None)))


@BOTH
def test_a_second_derivative_is_refused(name: str) -> None:
    cell = made(name)
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(unroll(cell, x)[0].sum(), [x], create_graph=True)
    with pytest.raises(RunError, match="cannot be differentiated twice"):
        first.sum().backward()


@EACH
def test_half_precision_is_for_the_loop(name: str) -> None:
    cell = CELLS[name](3, 6).bfloat16()
    x = torch.randn(2, 3, 3).bfloat16()
    kernel = cell.kernel(x)
    assert kernel.name.startswith("a loop behind one product of all inputs, as")  # type: ignore[union-attr]
    assert unroll(cell, x)[0].dtype == torch.bfloat16
    alike = CELLS[name](3, 6)
    alike.load_state_dict(cell.state_dict())
    torch.testing.assert_close(
        unroll(cell, x)[0].float(), unroll(alike, x.float())[0], rtol=0.1, atol=0.1
    )


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize(("name", "G", "M"), [("slstm", 4, 2), ("highway", 2, 0)])
def test_the_operators_are_well_formed(name: str, G: int, M: int, keep: bool) -> None:
    T, B, N, D, L = 3, 2, 2, 3, 1 if M else 2
    shapes = [(T, B, N, G * D), (B, N, D), (B, N, M, D), (L, N, G * D, D), (L - 1, N, G * D)]
    tensors = [torch.randn(shape, dtype=torch.float64, requires_grad=keep) for shape in shapes]
    operator = getattr(torch.ops.recurra, f"{name}_sequence").default
    kinds = ("test_schema", "test_autograd_registration", "test_faketensor")
    given = (*tensors, torch.tensor([3, 1]), 0.0, keep)
    torch.library.opcheck(operator, given, test_utils=kinds)


@pytest.mark.parametrize("lengths", [[4, 1], [-1, 1], [1]])
def test_lengths_outside_the_sequence(lengths: list[int]) -> None:
    weights = torch.zeros(4, 3), torch.zeros(1, 4, 2), torch.zeros(4), torch.zeros(1, 4)
    with pytest.raises(ShapeError, match=r"lengths are 2 integers in 0 \.\.\. 3"):
        highway_sequence.highway_sequence(
            torch.zeros(2, 3, 3), torch.zeros(2, 2), weights, torch.tensor(lengths)
        )


def test_the_cache_of_compiled_code_tells_the_loops_apart() -> None:
    loops = slstm_sequence._slstm, highway_sequence._highway
    assert len({pickle.dumps(loop.forward) for loop in loops}) == 2
    assert pickle.loads(pickle.dumps(slstm_sequence._step)) is slstm_sequence._step
