from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from recurra.errors import ConfigError, ShapeError
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.cells.rnn import RNNCell
from recurra.nn.unroll import plan, unroll, unroll_plain
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.residual import Residual
from recurra.nn.wrappers.stack import Stack

MERGES = {
    "concat": lambda a, b: torch.cat([a, b], dim=2),
    "sum": torch.add,
    "mean": lambda a, b: (a + b) / 2,
    "product": torch.mul,
}


@pytest.mark.parametrize("merge", MERGES)
def test_merges(merge: Any) -> None:
    forward, backward = GRUCell(3, 4), GRUCell(3, 4)
    x = torch.randn(2, 5, 3)
    ahead, state_ahead = unroll(forward, x)
    behind, state_behind = unroll(backward, x.flip(1))
    both = Bidirectional(forward, backward, merge)
    y, state = unroll(both, x)
    torch.testing.assert_close(y, MERGES[merge](ahead, behind.flip(1)))
    assert torch.equal(state.forward.h, state_ahead.h)
    assert torch.equal(state.backward.h, state_behind.h)
    assert both.output_size == y.shape[2] == (8 if merge == "concat" else 4)


def test_each_row_is_reversed_within_its_length() -> None:
    both = Bidirectional(GRUCell(3, 4), GRUCell(3, 2))
    x = torch.randn(2, 5, 3)
    y, state = unroll(both, x, lengths=torch.tensor([5, 3]))
    alone, state_alone = unroll(both.cells[1], x[1:, :3].flip(1))
    torch.testing.assert_close(y[1:, :3, 4:], alone.flip(1))
    torch.testing.assert_close(state.backward.h[1:], state_alone.h)


def twin_names(name: str) -> str:
    """weight_ih_l1_reverse -> cells.1.cells.1.weight_ih"""
    stem, reverse = name.removesuffix("_reverse"), name.endswith("_reverse")
    return f"cells.{stem[-1]}.cells.{int(reverse)}.{stem[:-3]}"


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_torch_twins_of_two_layers_packed(kind: str, dtype: torch.dtype) -> None:
    cell = {"LSTM": LSTMCell, "GRU": GRUCell, "RNN": RNNCell}[kind]
    twin = getattr(nn, kind)(3, 4, num_layers=2, bidirectional=True, batch_first=True).to(dtype)
    deep = Stack(
        [Bidirectional(cell(size, 4), cell(size, 4)) for size in (3, 8)]
    ).to(dtype)  # fmt: skip
    deep.load_state_dict({twin_names(name): value for name, value in twin.state_dict().items()})
    lengths = torch.tensor([2, 6, 1, 4])
    x = torch.randn(4, 6, 3, dtype=dtype)

    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    packed_y, ends = twin(packed)
    expected, _ = pad_packed_sequence(packed_y, batch_first=True)
    y, state = unroll(deep, x, lengths=lengths)
    torch.testing.assert_close(y, expected)
    h_end = ends[0] if kind == "LSTM" else ends
    torch.testing.assert_close(torch.stack([d.h for layer in state for d in layer]), h_end)
    if kind == "LSTM":
        torch.testing.assert_close(torch.stack([d.c for layer in state for d in layer]), ends[1])

    def gradients(y: Tensor, model: nn.Module) -> list[Tensor]:
        return list(torch.autograd.grad((y * y.detach().sin()).sum(), list(model.parameters())))

    torch.testing.assert_close(gradients(y, deep), gradients(expected, twin))


def test_a_single_step_raises_and_says_so() -> None:
    both = Bidirectional(GRUCell(3, 4), GRUCell(3, 4))
    message = (
        "Bidirectional and Reversed read the future, .* run whole sequences through recurra.unroll"
    )
    for cell in (both, Stack([both])):
        with pytest.raises(ShapeError, match=message):
            cell(torch.zeros(2, 3), cell.initial_state(2))


class Stepped(Stack):
    def stepwise(self) -> str:
        return "somebody looks between its steps"


def test_a_loop_over_steps_around_it_raises_too() -> None:
    cell = Stepped([Bidirectional(GRUCell(3, 4), GRUCell(3, 4))])
    for how in (unroll, unroll_plain):
        with pytest.raises(ShapeError, match="Bidirectional and Reversed read the future"):
            how(cell, torch.zeros(2, 5, 3))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="merge is concat, sum, mean or product, got 'max'"):
        Bidirectional(GRUCell(3, 4), GRUCell(3, 4), "max")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="the directions take 3 and 2 inputs, expected the same"):
        Bidirectional(GRUCell(3, 4), GRUCell(2, 4))
    with pytest.raises(ShapeError, match="sum needs outputs of one size, got 4 and 5"):
        Bidirectional(GRUCell(3, 4), GRUCell(3, 5), "sum")
    assert "merge='mean'" in str(Bidirectional(GRUCell(3, 4), GRUCell(3, 4), "mean"))


@pytest.mark.parametrize("how", [unroll, unroll_plain])
def test_hooks_are_called_once_over_whole_sequences(how: Any) -> None:
    both = Bidirectional(GRUCell(3, 4), GRUCell(3, 4))
    cell = Stack([both, Residual(GRUCell(8, 8))])
    x, calls = torch.randn(2, 5, 3), []
    expected, _ = how(cell, x)
    for part in (cell, both, cell.inner(1)):
        part.register_forward_hook(
            lambda part, inputs, outputs: calls.append((part, inputs[0].shape, outputs[0].shape))
        )
    assert torch.equal(how(cell, x)[0], expected) or torch.allclose(how(cell, x)[0], expected)
    assert calls[0] == (both, (2, 5, 3), (2, 5, 8))
    assert [part for part, *_ in calls[:7]] == [both, *[cell.inner(1)] * 5, cell]
    assert [shape for _, shape, _ in calls[1:6]] == [(2, 8)] * 5
    assert plan(cell).splitlines()[0] == "Stack(3 -> 8): around whole sequences"
    assert "Residual(8 -> 8): the plain loop: its hooks act at every step" in plan(cell)
