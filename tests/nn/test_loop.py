"""The loop over steps, Python's and a compiler's, held against one another and a sum."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from recurra.nn.loop import looped
from recurra.nn.state import step_of

compiling = pytest.mark.parametrize("compiled", [False, True], ids=["by Python", "by scan"])


pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script")  # torch's own, of its scan


@pytest.fixture(autouse=True)
def _no_graph_of_another_test() -> None:
    torch._dynamo.reset()


def ways(function: Any, compiled: bool) -> Any:
    return torch.compile(function, backend="eager", fullgraph=True) if compiled else function


@compiling
def test_sums_and_their_gradients(compiled: bool) -> None:
    def run(x: Tensor, scale: Tensor, begin: Tensor) -> Any:
        def step(t: Any, x_t: Tensor, state: Any) -> Any:
            total, (count,) = state
            after = total + scale * x_t * step_of(x, t)
            return after, (after, (count + 1,))

        return looped(step, x, (begin, (torch.zeros(2, dtype=torch.int64),)), True)

    x, begin = (torch.randn(2, *shape, dtype=torch.float64) for shape in ((4, 3), (3,)))
    leaves = (
        x.requires_grad_(),
        torch.tensor(2.0).double().requires_grad_(),
        begin.requires_grad_(),
    )
    y, (end, (count,)), (each, (counts,)) = ways(run, compiled)(*leaves)
    expected = begin.unsqueeze(1) + (leaves[1] * x * x).cumsum(1)
    for found in (y, each):
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(end, expected[:, -1])
    assert count.tolist() == [4, 4] and counts.tolist() == [[1, 2, 3, 4]] * 2
    found = torch.autograd.grad(y.sin().sum() + each.cos().sum() + end.sum(), leaves)
    loss = expected.sin().sum() + expected.cos().sum() + expected[:, -1].sum()
    torch.testing.assert_close(found, torch.autograd.grad(loss, leaves))


@compiling
def test_a_step_may_return_what_it_got_and_one_tensor_twice(compiled: bool) -> None:
    def run(x: Tensor) -> Any:
        return looped(lambda t, x_t, h: (x_t, (h[1], h[0])), x, (x[:, 0], x[:, 1]), True)

    x = torch.randn(2, 3, 1)
    y, (a, b), states = ways(run, compiled)(x)
    assert torch.equal(y, x) and torch.equal(a, x[:, 1]) and torch.equal(b, x[:, 0])
    assert torch.equal(states[0], x[:, [1, 0, 1]]) and torch.equal(states[1], x[:, [0, 1, 0]])


@compiling
def test_a_state_takes_the_dtype_that_steps_give_it(compiled: bool) -> None:
    def run(x: Tensor) -> Any:
        step = lambda t, x_t, h: (h.float() + x_t, (h + x_t).bfloat16())  # noqa: E731
        return looped(step, x, torch.zeros(2, 1), False)

    y, end, states = ways(run, compiled)(torch.ones(2, 3, 1))
    assert y.flatten().tolist() == [1, 2, 3] * 2 and states is None
    assert end.dtype is torch.bfloat16 and end.flatten().tolist() == [3, 3]


@compiling
def test_one_step_and_no_state(compiled: bool) -> None:
    def run(x: Tensor) -> Any:
        return looped(lambda t, x_t, state: (2 * x_t, state), x, (), True)

    x = torch.randn(2, 1, 3)
    y, end, states = ways(run, compiled)(x)
    assert torch.equal(y, 2 * x) and end == states == ()
