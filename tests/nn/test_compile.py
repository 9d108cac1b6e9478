"""`torch.compile` goes through `unroll` without a break, for the kernels are operators to it.

The backends are those that need no compiler: dynamo captures the graph, and "aot_eager" takes
its backward apart too.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from recurra.nn.cells import CELLS
from recurra.nn.state import flatten
from recurra.nn.unroll import plan, unroll
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.dilated import Dilated
from recurra.nn.wrappers.reset import Reset
from recurra.nn.wrappers.residual import Residual
from recurra.nn.wrappers.stack import Stack
from recurra.nn.wrappers.trainable_state import TrainableState

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script")  # torch's own, of its scan


@pytest.fixture(autouse=True)
def _no_graph_of_another_test() -> None:
    torch._dynamo.reset()


def outcome(run: Any, cell: Any, x: Tensor, **options: Tensor) -> list[Tensor]:
    """Outputs, state, and gradients of the input and all parameters."""
    y, state = run(cell, x, **options)
    leaves = [x, *cell.parameters()]
    gradients = torch.autograd.grad(
        (y * y.detach().cos()).sum(), leaves, allow_unused=True, materialize_grads=True
    )
    return [y, *flatten(state).values(), *gradients]


@pytest.mark.parametrize("name", CELLS)
def test_one_graph_of_every_cell(name: str) -> None:
    cell = CELLS[name](3, 4)
    x = torch.randn(2, 3, 3, requires_grad=True)
    whole = torch.compile(unroll, backend="eager", fullgraph=True)
    torch.testing.assert_close(outcome(whole, cell, x), outcome(unroll, cell, x))


@pytest.mark.parametrize("name", ["gru", "peephole_lstm", "lru", "mlstm"])
def test_a_backward_that_is_captured_too(name: str) -> None:
    cell = CELLS[name](3, 4)
    assert plan(cell).endswith("whole sequences at once")
    x = torch.randn(2, 3, 3, requires_grad=True)
    whole = torch.compile(unroll, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(outcome(whole, cell, x), outcome(unroll, cell, x))


def test_a_nest() -> None:
    gru, lru = CELLS["gru"], CELLS["lru"]
    cell = Stack([Bidirectional(gru(3, 2), gru(3, 2)), Residual(Dilated(gru(4, 4), 2)), lru(4, 3)])
    x = torch.randn(2, 3, 3, requires_grad=True)
    whole = torch.compile(unroll, backend="eager", fullgraph=True)
    torch.testing.assert_close(outcome(whole, cell, x), outcome(unroll, cell, x))


MASK = torch.tensor([[True, False, True], [False, True, True]])
LENGTHS = torch.tensor([3, 2])
RESET = torch.tensor([[False, True, False], [False, True, True]])
TOLD: dict[str, dict[str, Tensor]] = {
    "lengths": {"lengths": LENGTHS},
    "mask": {"mask": MASK},
    "all": {"lengths": LENGTHS, "mask": MASK, "reset": RESET},
}


def assert_one_graph(cell: Any, x: Tensor, options: dict[str, Any]) -> None:
    whole = torch.compile(unroll, backend="aot_eager", fullgraph=True)
    expected = outcome(unroll, cell, x, **options)
    torch.testing.assert_close(outcome(whole, cell, x, **options), expected)


@pytest.mark.parametrize("options", TOLD.values(), ids=TOLD)
def test_lengths_masks_and_resets_break_no_graph(options: dict[str, Tensor]) -> None:
    assert_one_graph(CELLS["gru"](3, 4), torch.randn(2, 3, 3, requires_grad=True), options)


def test_resets_of_what_stands_behind_other_loops() -> None:
    gru = CELLS["gru"]
    cell = Bidirectional(gru(3, 2), Stack([TrainableState(gru(3, 2)), gru(2, 3)]))
    cell.inner(1).inner(0).starts[0].data.fill_(0.5)
    options = {"reset": RESET, "mask": MASK}
    x = torch.randn(2, 3, 3)
    with torch.no_grad():
        whole = torch.compile(unroll, backend="eager", fullgraph=True)
        found = whole(cell, x, states=True, **options)
        torch.testing.assert_close(found, unroll(cell, x, states=True, **options))
        resets = Stack([Reset(gru(2, 2)), Reset(gru(1, 2))])
        x = torch.randn(2, 4, 3).sign() * 2
        torch.testing.assert_close(whole(resets, x), unroll(resets, x))
