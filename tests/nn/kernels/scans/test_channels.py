from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from recurra.nn.cells import CELLS
from recurra.nn.kernels.compiler import team
from recurra.nn.kernels.compiler.compiled import compiled
from recurra.nn.kernels.scans import channels
from recurra.nn.kernels.scans.elementwise import ind_rnn_sequence
from recurra.nn.unroll import unroll


@compiled
def note(found: np.ndarray, seen: np.ndarray, blocks: int, start: int, stop: int) -> None:
    found[1 if start else 0] = blocks
    seen[start:stop] += 1


@compiled
def fail(blocks: int, start: int, stop: int) -> None:
    if start:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("shape", "threads", "blocks"),
    [((1, 2000, 64), 2, 2), ((8, 2000, 64), 2, 1), ((3, 2000, 64), 2, 2), ((1, 2000, 16), 2, 1),
     ((3, 2000, 64), 1, 1), ((1, 5, 64), 2, 1), ((0, 5, 64), 2, 1)],
    ids=str,
)  # fmt: skip
def test_channels_are_shared_out_where_rows_are_too_few(
    shape: tuple[int, int, int], threads: int, blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    found, seen = np.zeros(threads), np.zeros(shape[0] * blocks)
    channels._share_out(torch.empty(shape), note, (found, seen), False)
    assert set(found) - {0} == {blocks}
    assert (seen == 1).all()


def test_an_error_in_a_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)

    with pytest.raises(MemoryError if team._addresses() else ZeroDivisionError):
        channels._share_out(torch.empty(2, 20000, 4), fail, (), False)


@pytest.mark.parametrize("name", ["min_gru", "min_lstm", "lru", "sru", "qrnn", "ind_rnn", "rwkv"])
def test_what_is_kept_grows_as_the_steps_do(name: str) -> None:
    cell = CELLS[name](4, 4)

    def kept(T: int) -> int:
        sizes: dict[int, int] = {}

        def note(tensor: torch.Tensor) -> Any:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            y, _ = unroll(cell, torch.randn(2, T, 4))
        assert y.shape == (2, T, 4)
        return sum(sizes.values())

    one, two, four = (kept(T) for T in (100, 200, 400))
    assert four - two == 2 * (two - one)
    assert two - one <= 100 * 2 * 4 * 4 * 10  # ten numbers a step and unit, of four bytes


def test_outputs_and_gradients_take_no_memory_of_what_is_given() -> None:
    s, state = torch.randn(2, 5, 3, requires_grad=True), torch.ones(2, 3)
    before = s.detach().clone()
    y, end = ind_rnn_sequence(s, torch.zeros(3), torch.ones(3), state)
    y.sum().backward()
    assert torch.equal(s, before) and torch.equal(state, torch.ones(2, 3))
    assert end.data_ptr() != state.data_ptr() != y.data_ptr()
    np.testing.assert_array_equal(y[:, -1].detach().numpy(), end.detach().numpy())


def test_units_share_out_every_channel_once() -> None:
    found = np.zeros((2, 12), np.int64)
    for unit in range(6):
        row, places = channels.unit_of.function(unit, 3, 4)
        for n, place in enumerate(places[:3]):
            found[row, place] += n + 1
    assert found.tolist() == [[1] * 4 + [2] * 4 + [3] * 4] * 2


def test_what_lies_past_a_row_is_cleared_for_one_unit_alone() -> None:
    sequence = np.ones((2, 3, 8), np.float32)
    row, places = channels.unit_of.function(1, 2, 4)
    channels.clear.function(sequence, row, 1, places)
    assert sequence[0, 1:].tolist() == [[1, 1, 0, 0, 1, 1, 0, 0]] * 2
    assert sequence[0, 0].all() and sequence[1].all()
