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
from recurra.nn.unroll import unroll
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.dilated import Dilated
from recurra.nn.wrappers.residual import Residual
from recurra.nn.wrappers.stack import Stack


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


def test_a_nest() -> None:
    gru, lru = CELLS["gru"], CELLS["lru"]
    cell = Stack([Bidirectional(gru(3, 2), gru(3, 2)), Residual(Dilated(gru(4, 4), 2)), lru(4, 3)])
    x = torch.randn(2, 3, 3, requires_grad=True)
    whole = torch.compile(unroll, backend="eager", fullgraph=True)
    torch.testing.assert_close(outcome(whole, cell, x), outcome(unroll, cell, x))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # dynamo asks for it
def test_lengths_and_resets_break_the_graph_and_nothing_else() -> None:
    cell = CELLS["gru"](3, 4)
    x = torch.randn(2, 3, 3, requires_grad=True)
    options = {"lengths": torch.tensor([3, 1]), "reset": torch.tensor([[False, True, False]] * 2)}
    pieces = torch.compile(unroll, backend="eager")
    expected = outcome(unroll, cell, x, **options)
    torch.testing.assert_close(outcome(pieces, cell, x, **options), expected)
