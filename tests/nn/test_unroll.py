from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from recurra.errors import ShapeError
from recurra.nn.cells import CELLS
from recurra.nn.cells.base import Kernel
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell, LSTMState
from recurra.nn.cells.rnn import RNNCell
from recurra.nn.state import detach, flatten, where
from recurra.nn.unroll import plan, unroll, unroll_plain
from recurra.nn.wrappers.base import Wrapper
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.masks import Masks
from recurra.nn.wrappers.residual import Residual
from recurra.nn.wrappers.stack import Stack


class Duck(nn.Module):
    """Somebody's module that has what a cell has and is none."""

    input_size, output_size = 3, 4

    def __init__(self) -> None:
        super().__init__()
        self.core = nn.GRUCell(3, 4)

    def initial_state(self, batch_size: int = 1, **where: Any) -> Tensor:
        return torch.zeros(batch_size, 4, **where)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        h = self.core(x, state)
        return h, h


class LearnedStart(GRUCell):
    """A GRU whose first state is learned."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.start = nn.Parameter(torch.linspace(-1, 1, hidden_size))

    def initial_state(self, batch_size: int = 1, **where: Any) -> Any:
        zeros = super().initial_state(batch_size, **where)
        return zeros._replace(h=zeros.h + self.start)


class Leak(Wrapper):
    """The masked hidden state, doubled, is what the next step starts from: with a kernel."""

    def __init__(self, cell: GRUCell) -> None:
        super().__init__([cell], cell.input_size, cell.output_size)
        self.pieces: list[tuple[int, int]] = []

    def through(self, x: Tensor, state: Any, run: Any) -> tuple[Tensor, Any]:
        y, state = run(self.inner(), x, state)
        return y, state._replace(h=2 * run.drop(self, "h", state.h, 0.5, False))

    def stepwise(self) -> str:
        return "it leaks between steps"

    def fused(self, x: Tensor, masks: Masks | None, start: int = 0) -> Kernel:
        def run(x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
            assert masks is not None
            drawn = masks.get(self, "h", state.h.unsqueeze(1), 0.5, False)[:, start:]
            self.pieces.append((start, x.shape[1]))
            outputs = []
            for t in range(x.shape[1]):
                y, after = self.inner()(x[:, t], state)
                after = after._replace(h=2 * after.h * drawn[:, t])
                alive = t < (torch.tensor(99) if lengths is None else lengths)
                state = after if lengths is None else where(alive, after, state)
                outputs.append(y)
            return torch.stack(outputs, dim=1), state

        return Kernel("a leaking loop", run)


batches = st.integers(1, 4).flatmap(
    lambda B: st.integers(1, 6).flatmap(
        lambda T: st.tuples(
            st.just((B, T)),
            st.lists(st.integers(0, T), min_size=B, max_size=B),
            st.lists(st.booleans(), min_size=B * T, max_size=B * T),
            st.integers(0, T),
        )
    )
)


@given(batches, st.sampled_from(sorted(CELLS)), st.booleans())
@settings(max_examples=60)
def test_any_lengths_and_resets(batch: Any, name: str, both: bool) -> None:
    (B, T), lengths, reset, cut = batch
    torch.manual_seed(B * T)
    cell: Any = Stack([CELLS[name](2, 3), CELLS[name](3, 2)]).double()
    if both:
        cell = Bidirectional(cell, CELLS[name](2, 2).double(), "sum")
    x = torch.randn(B, T, 2, dtype=torch.float64)
    options: Any = {
        "lengths": torch.tensor(lengths),
        "reset": torch.tensor(reset).view(B, T),
    }
    y, state = unroll(cell, x, **options)
    expected, state_expected = unroll_plain(cell, x, **options)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(flatten(state), flatten(state_expected))
    if not both:  # what comes after a cut does not change what came before
        first = {"lengths": options["lengths"].clamp(max=cut), "reset": options["reset"][:, :cut]}
        torch.testing.assert_close(unroll(cell, x[:, :cut], **first)[0], y[:, :cut])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", CELLS)
def test_without_gradients_the_numbers_are_the_same(name: str, dtype: torch.dtype) -> None:
    cell = Stack([CELLS[name](3, 4), CELLS[name](4, 4)]).to(dtype)
    x = torch.randn(3, 5, 3, dtype=dtype)
    lengths = torch.tensor([5, 2, 0])
    y, state = unroll(cell, x, lengths=lengths)
    with torch.no_grad():
        quiet, quiet_state = unroll(cell.eval(), x, lengths=lengths)
    assert not quiet.requires_grad
    torch.testing.assert_close(quiet, y.detach())
    torch.testing.assert_close(quiet_state, detach(state))


@pytest.mark.parametrize("name", CELLS)
def test_some_parameters_may_be_frozen(name: str) -> None:
    cell = CELLS[name](3, 4)
    frozen, *others = cell.parameters()
    frozen.requires_grad_(False)
    y, _ = unroll(cell, torch.randn(2, 5, 3), lengths=torch.tensor([5, 2]))
    y.sum().backward()
    assert frozen.grad is None
    assert all(other.grad is not None for other in others)
    assert any(other.grad.any() for other in others)


@pytest.mark.parametrize("name", sorted(CELLS))
def test_gradients_that_are_not_contiguous(name: str) -> None:
    """At a width at which products have more than one panel."""
    cell = CELLS[name](3, 36).double()
    x = torch.randn(5, 4, 3, dtype=torch.float64, requires_grad=True)

    def gradients(run: Any) -> tuple[Tensor, ...]:
        y, state = run(cell, x)
        torch.manual_seed(4)
        parts = [y, *flatten(state).values()]
        turned = [part.transpose(0, -1) for part in parts if part.is_floating_point()]
        loss = sum((part * torch.randn(part.shape, dtype=part.dtype)).sum() for part in turned)
        leaves = (x, *cell.parameters())
        return torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)

    for got, expected in zip(gradients(unroll), gradients(unroll_plain)):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own
@pytest.mark.parametrize("name", sorted(set(CELLS) - {"lstm", "rnn"}))
def test_forward_mode_goes_by_the_loop(name: str) -> None:
    cell = CELLS[name](3, 4).double()
    x, direction = torch.randn(2, 2, 5, 3, dtype=torch.float64)
    results = [
        torch.func.jvp(lambda x, run=run: run(cell, x)[0], (x,), (direction,))
        for run in (unroll, unroll_plain)
    ]
    assert results[0][1].any()
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("name", sorted(CELLS))
def test_activations_may_be_made_again(name: str) -> None:
    cell = CELLS[name](3, 4)
    x = torch.randn(2, 5, 3, requires_grad=True)
    expected = torch.autograd.grad(unroll(cell, x)[0].sum(), x)
    y = checkpoint(lambda x: unroll(cell, x)[0], x, use_reentrant=False)
    torch.testing.assert_close(torch.autograd.grad(y.sum(), x), expected)


def test_inputs_that_are_not_contiguous() -> None:
    cell = LSTMCell(3, 4)
    x = torch.randn(5, 2, 6).transpose(0, 1)[:, :, ::2]
    torch.testing.assert_close(unroll(cell, x)[0], unroll(cell, x.contiguous())[0])


def test_a_learned_first_state_is_where_resets_go() -> None:
    cell = LearnedStart(3, 4).double()
    x = torch.randn(1, 4, 3, dtype=torch.float64)
    reset = torch.tensor([[False, False, True, False]])
    for how in (unroll, unroll_plain):
        y, _ = how(cell, x, reset=reset)
        torch.testing.assert_close(y[:, 2:], how(cell, x[:, 2:])[0])
        (gradient,) = torch.autograd.grad(y[:, 2:].sum(), cell.start)
        assert gradient.abs().min() > 0
    assert plan(cell).endswith("whole sequences at once")


@pytest.mark.parametrize("lengths", [None, torch.tensor([4, 2])], ids=["all", "lengths"])
def test_a_wrapper_may_bring_a_kernel_for_what_goes_step_by_step(lengths: Tensor | None) -> None:
    cell = Leak(GRUCell(3, 4))
    x = torch.randn(2, 4, 3)

    def run(how: Any, **options: Any) -> Any:
        generator = torch.Generator().manual_seed(1)
        return how(cell, x, lengths=lengths, generator=generator, **options)

    run(unroll)  # and once its kernel is held against its steps
    cell.pieces.clear()
    torch.testing.assert_close(run(unroll), run(unroll_plain))
    assert cell.pieces == [(0, 4)]
    reset = torch.tensor([[False, True, False, False], [False, False, False, True]])
    torch.testing.assert_close(run(unroll, reset=reset), run(unroll_plain, reset=reset))
    assert cell.pieces[1:] == [(0, 1), (1, 2), (3, 1)]
    assert plan(Stack([cell])) == (
        "Stack(3 -> 4): around whole sequences\n"
        "  Leak(3 -> 4): a leaking loop, whole sequences at once\n"
        "    GRUCell(3 -> 4): within it"
    )


def test_the_kernel_of_a_wrapper_is_not_that_of_a_subclass_that_does_something_else() -> None:
    class Straight(Leak):
        def through(self, x: Tensor, state: Any, run: Any) -> tuple[Tensor, Any]:
            return run(self.inner(), x, state)

    cell = Straight(GRUCell(3, 4))
    x = torch.randn(2, 4, 3)
    torch.testing.assert_close(unroll(cell, x), unroll(cell.inner(), x))
    assert not cell.pieces
    assert plan(cell).startswith("Straight(3 -> 4): the plain loop: it leaks between steps")


def test_no_rows_and_no_steps_reach_no_kernel() -> None:
    cell = Leak(GRUCell(3, 4))
    for B, T in ((0, 3), (2, 0)):
        y, _ = unroll(cell, torch.zeros(B, T, 3), generator=torch.Generator())
        assert y.shape == (B, T, 4)
    assert not cell.pieces


def test_somebodys_module_runs_by_the_loop() -> None:
    duck: Any = Duck()
    x = torch.randn(2, 5, 3)
    y, state = unroll(Residual(Stack([GRUCell(3, 3)])), x)
    h = torch.zeros(2, 4)
    for t in range(5):
        h = duck.core(x[:, t], h)
    y, state = unroll(duck, x)
    assert torch.equal(y[:, -1], h) and torch.equal(state, h)
    assert plan(duck) == (
        "Duck(3 -> 4): the plain loop: not a Cell of this package, so it has no kernel"
    )


def test_a_parametrised_weight_reaches_the_kernel() -> None:
    cell = GRUCell(3, 4)
    parametrizations.weight_norm(cell, "weight_hh")
    x = torch.randn(2, 5, 3)
    assert plan(cell).endswith("whole sequences at once")
    y, _ = unroll(cell, x)
    torch.testing.assert_close(y, unroll_plain(cell, x)[0])
    y.sum().backward()
    assert all(parameter.grad is not None for parameter in cell.parameters())


@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook"])
def test_hooks_are_never_passed_by(register: str) -> None:
    cell = GRUCell(3, 4)
    seen: list[int] = []
    getattr(cell, register)(lambda *arguments: seen.append(1))
    unroll(cell, torch.randn(2, 5, 3))
    assert len(seen) == 5
    assert plan(cell) == "GRUCell(3 -> 4): the plain loop: its hooks act at every step"


def test_the_plan_of_every_kind() -> None:
    whole = "whole sequences at once"
    assert plan(LSTMCell(3, 4)) == f"LSTMCell(3 -> 4): oneDNN's LSTM, {whole}"
    assert plan(LSTMCell(3, 4).double()) == (
        f"LSTMCell(3 -> 4): the compiled LSTM, as oneDNN has none in torch.float64, {whole}"
    )
    assert plan(LSTMCell(3, 4), torch.zeros(1, dtype=torch.float64)) == plan(
        LSTMCell(3, 4).double()
    )
    assert plan(GRUCell(3, 4)) == f"GRUCell(3 -> 4): the compiled GRU, {whole}"
    assert plan(RNNCell(3, 4)) == f"RNNCell(3 -> 4): ATen's RNN loop, {whole}"
    own = CELLS["own_cells:FastWeightCell"](3, 4)
    assert plan(own) == (
        "FastWeightCell(3 -> 4): the plain loop: its class gives the step and no kernel for it"
    )
    changed = CELLS["own_cells:PeepholeCell"](3, 4)
    assert plan(changed) == (
        "PeepholeCell(3 -> 4): the plain loop: its class gives the step and no kernel for it"
    )


def test_the_plan_of_a_nest() -> None:
    cell = Stack(
        [
            Dropout(LSTMCell(3, 4), output=0.5),
            Residual(Bidirectional(GRUCell(4, 2), CELLS["own_cells:PeepholeCell"](4, 2))),
            Dropout(Residual(LSTMCell(4, 4)), state=0.5),
        ]
    )
    loop = """\
  Dropout(4 -> 4): the plain loop: dropout of the state acts between steps
    Residual(4 -> 4): one step at a time
      LSTMCell(4 -> 4): one step at a time"""
    expected = f"""\
Stack(3 -> 4): around whole sequences
  Dropout(3 -> 4): around whole sequences
    LSTMCell(3 -> 4): oneDNN's LSTM, whole sequences at once
  Residual(4 -> 4): around whole sequences
    Bidirectional(4 -> 4): around whole sequences
      GRUCell(4 -> 2): the compiled GRU, whole sequences at once
      PeepholeCell(4 -> 2): the plain loop: its class gives the step and no kernel for it
{loop}"""
    assert plan(cell) == expected
    awake = """\
  Dropout(4 -> 4): around whole sequences
    Residual(4 -> 4): around whole sequences
      LSTMCell(4 -> 4): oneDNN's LSTM, whole sequences at once"""
    assert plan(cell.eval()) == expected.replace(loop, awake)


def test_shapes_that_do_not_fit_are_refused() -> None:
    cell = LSTMCell(3, 4)
    x = torch.zeros(2, 5, 3)
    for how in (unroll, unroll_plain):
        with pytest.raises(
            ShapeError, match=r"takes x of shape \(batch, time, input\), got \(5, 3\)"
        ):
            how(cell, x[0])
        with pytest.raises(ShapeError, match=r"LSTMCell takes 3 features, got x .* batch first"):
            how(cell, torch.zeros(2, 5, 4))
        with pytest.raises(ShapeError, match=r"one integer a row, shape \(2,\), got \(3,\)"):
            how(cell, x, lengths=torch.tensor([1, 2, 3]))
        for kind in (torch.float32, torch.bool):
            with pytest.raises(ShapeError, match=f"one integer a row, .* {kind}"):
                how(cell, x, lengths=torch.ones(2, dtype=kind))
        with pytest.raises(ShapeError, match="lie between 0 and 5, the steps of x, got -1 to 6"):
            how(cell, x, lengths=torch.tensor([6, -1]))
        with pytest.raises(ShapeError, match=r"reset is bool of shape \(2, 5\), got \(2, 4\)"):
            how(cell, x, reset=torch.zeros(2, 4).bool())
        with pytest.raises(ShapeError, match=r"reset is bool .* torch.int64"):
            how(cell, x, reset=torch.zeros(2, 5).long())


@pytest.mark.parametrize("kind", [torch.uint8, torch.int8, torch.int16, torch.int32], ids=str)
def test_lengths_of_any_integer_kind(kind: torch.dtype) -> None:
    both = Bidirectional(GRUCell(3, 4), LSTMCell(3, 4))
    x = torch.randn(3, 5, 3)
    lengths = torch.tensor([0, 5, 2])
    narrow = unroll(both, x, lengths=lengths.to(kind))
    torch.testing.assert_close(narrow, unroll(both, x, lengths=lengths))


def test_a_state_of_another_shape_never_reaches_a_kernel() -> None:
    cell = LSTMCell(3, 4)
    x = torch.zeros(2, 5, 3)
    # Read by oneDNN, a state of too few rows would be a read past its end.
    with pytest.raises(ShapeError, match=r"state.h is \(1, 4\), expected \(2, 4\)"):
        unroll(cell, x, cell.initial_state(1))
    with pytest.raises(ShapeError, match=r"state.c is \(2, 1\), expected \(2, 4\)"):
        unroll(cell, x, LSTMState(torch.zeros(2, 4), torch.zeros(2, 1)))
    with pytest.raises(ShapeError, match=r"'state.0.h'.*, expected .*'state.h'"):
        unroll(cell, x, (cell.initial_state(2),))


def test_the_plan_of_one_step_is_the_step() -> None:
    cell = LSTMCell(3, 4)
    assert plan(cell, torch.zeros(2, 1, 3)) == "LSTMCell(3 -> 4): one step, by the cell itself"
    assert "oneDNN" in plan(cell, torch.zeros(2, 2, 3))
