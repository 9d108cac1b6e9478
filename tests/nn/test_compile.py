"""`torch.compile` goes through `unroll` without a break, for the kernels are operators to it.

The backends are those that need no compiler: dynamo captures the graph, and "aot_eager" takes
its backward apart too.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounter

from recurra.nn.cells import CELLS
from recurra.nn.state import flatten
from recurra.nn.unroll import unroll
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.dilated import Dilated
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.reset import Reset
from recurra.nn.wrappers.residual import Residual
from recurra.nn.wrappers.stack import Stack
from recurra.nn.wrappers.trainable_state import TrainableState
from recurra.nn.wrappers.weight_drop import WeightDrop
from recurra.nn.wrappers.zoneout import Zoneout

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated")  # torch's


@pytest.fixture(autouse=True)
def _no_graph_of_another_test() -> None:
    torch._dynamo.reset()


def outcome(run: Any, cell: Any, x: Tensor, **options: Any) -> list[Tensor]:
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


DRAWING = {
    "dropout": lambda: Dropout(CELLS["lstm"](3, 4), input=0.3, output=0.5),
    "dropout of the state": lambda: Dropout(CELLS["gru"](3, 4), state=0.5, variational=True),
    "weight drop": lambda: WeightDrop(CELLS["lstm"](3, 4), 0.5),
    "zoneout": lambda: Zoneout(CELLS["lstm"](3, 4), 0.3, 0.3),
}


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # dynamo asks for it
@pytest.mark.parametrize("name", DRAWING)
def test_masks_are_drawn_between_two_graphs(name: str) -> None:
    cell = DRAWING[name]()

    def between(cell: Any, x: Tensor, generator: torch.Generator) -> Any:
        y, state = unroll(cell, x * 2, generator=generator)
        return y * 3, state

    counter = CompileCounter()
    graphs = torch.compile(between, backend=counter)
    for seed in (1, 2):
        x = torch.randn(2, 3, 3, requires_grad=True)
        found, expected = (
            outcome(run, cell, x, generator=torch.Generator().manual_seed(seed))
            for run in (graphs, between)
        )
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert counter.frame_count == 2


def test_a_generator_breaks_no_graph_where_nothing_is_drawn_and_is_named_where_it_does() -> None:
    cell = DRAWING["dropout"]()
    x = torch.randn(2, 3, 3)
    whole = torch.compile(unroll, backend="eager", fullgraph=True)
    with pytest.raises(torch._dynamo.exc.Unsupported, match="generator= is given"):
        whole(cell, x, generator=torch.Generator())
    cell.eval()
    torch.testing.assert_close(whole(cell, x, generator=torch.Generator()), unroll(cell, x))
    gru = CELLS["gru"](3, 4)  # in training mode, but with nothing to be drawn
    torch.testing.assert_close(whole(gru, x, generator=torch.Generator()), unroll(gru, x))
