"""A graph of torch's compiler that has a kernel in it serves any number of rows and steps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from recurra.nn.cells import CELLS
from recurra.nn.unroll import unroll

SIZES = [(2, 3), (3, 5), (5, 2), (7, 11), (2, 9)]


@pytest.fixture(autouse=True)
def _no_graph_of_another_test() -> None:
    torch._dynamo.reset()


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "min_gru"])  # the rest by the campaign
def test_two_graphs_serve_all_sizes(name: str) -> None:
    cell = CELLS[name](3, 4)
    counter = CompileCounterWithBackend("aot_eager")
    whole = torch.compile(lambda x: unroll(cell, x)[0], backend=counter, fullgraph=True)
    options = {"allow_unused": True, "materialize_grads": True}

    def outcome(y: Tensor, x: Tensor) -> list[Tensor]:
        return [y, *torch.autograd.grad(y.sin().sum(), [x, *cell.parameters()], **options)]

    for B, T in SIZES:
        x = torch.randn(B, T, 3, requires_grad=True)
        expected = outcome(unroll(cell, x)[0], x)
        torch.testing.assert_close(outcome(whole(x), x), expected, rtol=1e-4, atol=1e-5)
    assert counter.frame_count <= 2


@pytest.mark.parametrize("name", ["lstm", "rnn", "clockwork_rnn", "gru"])
def test_inputs_that_need_no_gradient(name: str) -> None:
    cell = CELLS[name](3, 4)
    whole = torch.compile(lambda x: unroll(cell, x)[0], backend="aot_eager", fullgraph=True)
    x = torch.randn(2, 5, 3)
    got, expected = (
        torch.autograd.grad(run(x).sin().sum(), cell.parameters(), allow_unused=True)
        for run in (whole, lambda x: unroll(cell, x)[0])
    )
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
