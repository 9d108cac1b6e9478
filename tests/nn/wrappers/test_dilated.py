from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from recurra.errors import ConfigError
from recurra.nn.cells import CELLS
from recurra.nn.cells.base import Kernel
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.cells.mgu import MGUCell
from recurra.nn.state import State, flatten, map_tensors
from recurra.nn.unroll import plan, unroll, unroll_plain
from recurra.nn.wrappers.dilated import Dilated
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.stack import Stack

CELL_NAMES = ["lstm", "gru", "mlstm", "rwkv", "clockwork_rnn", "own_cells:FastWeightCell"]


def chang(cell: Any, x: Tensor, D: int) -> Tensor:
    """Chang et al. 2017, equation 1, by looking D steps back in a list of all states."""
    states: list[State] = [cell.initial_state(len(x)) for _ in range(D)]
    outputs = []
    for t in range(x.shape[1]):
        y, after = cell(x[:, t], states[t])  # states[t + D] is that after step t
        states.append(after)
        outputs.append(y)
    return torch.stack(outputs, dim=1)


@pytest.mark.parametrize("D", [1, 2, 3, 5])
@pytest.mark.parametrize("name", CELL_NAMES)
def test_equation(name: str, D: int) -> None:
    cell = CELLS[name](3, 4).double()
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    expected = chang(cell, x, D)
    for how in (unroll, unroll_plain):
        torch.testing.assert_close(how(Dilated(cell, D), x)[0], expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("T", [1, 2, 3, 6, 8])
@pytest.mark.parametrize("name", CELL_NAMES)
def test_whole_sequences_are_the_steps_with_any_lengths_and_resets(name: str, T: int) -> None:
    cell = Dilated(CELLS[name](3, 4), 3).double()
    x = torch.randn(4, T, 3, dtype=torch.float64, requires_grad=True)
    start = map_tensors(
        lambda tensor: torch.randn_like(tensor).requires_grad_(), cell.initial_state(4)
    )
    lengths = torch.tensor([T, 0, T // 2, max(T - 1, 0)])
    reset = torch.rand(4, T, generator=torch.Generator().manual_seed(T)) < 0.3
    for options in (
        {},
        {"lengths": lengths},
        {"reset": reset},
        {"lengths": lengths, "reset": reset},
    ):
        results = []
        for how in (unroll, unroll_plain):
            y, after = how(cell, x, start, **options)
            tensors = [y, *flatten(after).values()]
            loss = sum((each * each.detach().cos()).sum() for each in tensors)
            leaves = [x, *flatten(start).values(), *cell.parameters()]
            gradients = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
            results.append((tensors, gradients))
        torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-11)


def test_a_step_reaches_dilation_steps_back_and_no_nearer() -> None:
    cell = Dilated(LSTMCell(3, 4), 3)
    x = torch.randn(1, 9, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(unroll(cell, x)[0][:, 8].sum(), x)
    assert [bool(step.any()) for step in gradient[0]] == [t % 3 == 2 for t in range(9)]


def test_chunks_of_any_length_with_the_state_carried_are_the_whole() -> None:
    cell = Dilated(GRUCell(3, 4), 3).double()
    x = torch.randn(2, 11, 3, dtype=torch.float64)
    whole, end = unroll(cell, x)
    state, outputs = None, []
    for chunk in x.split([1, 2, 5, 3], dim=1):
        y, state = unroll(cell, chunk, state)
        outputs.append(y)
    torch.testing.assert_close(torch.cat(outputs, dim=1), whole)
    torch.testing.assert_close(flatten(state), flatten(end))


def test_a_wrapper_inside_goes_step_by_step_with_its_own_masks() -> None:
    cell = Dilated(Dropout(Stack([LSTMCell(3, 4), GRUCell(4, 4)]), state=0.5), 2)
    x = torch.randn(2, 5, 3)
    y, _ = unroll(cell, x, generator=torch.Generator().manual_seed(1))
    state, outputs, generator = cell.initial_state(2), [], torch.Generator().manual_seed(1)
    assert y.shape == (2, 5, 4)
    for t in range(5):
        step, state = cell.eval()(x[:, t], state, generator)
        outputs.append(step)
    torch.testing.assert_close(torch.stack(outputs, dim=1), unroll(cell, x)[0])


def test_the_plan_names_the_kernel_and_why_there_is_none() -> None:
    kernel = LSTMCell(3, 4).kernel(torch.zeros(1)).name
    for D, words in ((2, "every second step"), (3, "every third step"), (5, "every 5th step")):
        assert plan(Dilated(LSTMCell(3, 4), D)).splitlines()[0] == (
            f"Dilated(3 -> 4): {kernel} over {words}, whole sequences at once"
        )
    assert plan(Dilated(LSTMCell(3, 4), 1)).splitlines()[0] == (
        "Dilated(3 -> 4): around whole sequences"
    )
    assert plan(Dilated(Stack([LSTMCell(3, 4)]), 4)).splitlines()[0] == (
        "Dilated(3 -> 4): the plain loop: each step starts from the state of 4 steps before"
    )
    watched = LSTMCell(3, 4)
    watched.register_forward_hook(lambda *arguments: None)
    assert "the plain loop" in plan(Dilated(watched, 2))


def test_a_kernel_that_loops_still_does() -> None:
    class Looped(MGUCell):
        def kernel(self, x: Tensor) -> Kernel:
            return Kernel("a loop", self._loop, looped=True)

    for cell in (Looped(3, 4), MGUCell(3, 4)):
        kernel = Dilated(cell, 2).fused(torch.zeros(1), None)
        assert kernel is not None
        assert kernel.looped is isinstance(cell, Looped)


@pytest.mark.parametrize("dilation", [0, -1, 2.5])
def test_no_dilation_is_refused(dilation: int) -> None:
    with pytest.raises(ConfigError, match=f"a whole number of at least 1, got {dilation}"):
        Dilated(LSTMCell(3, 4), dilation)
