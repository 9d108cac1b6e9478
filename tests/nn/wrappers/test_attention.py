from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from recurra.errors import ConfigError, ShapeError
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.unroll import plan, unroll
from recurra.nn.wrappers import attention
from recurra.nn.wrappers.attention import Attention, WindowAttention, WindowState


def oracle(cell: WindowAttention, f: Any, window: int) -> Any:
    """The paper's equations over one sequence `f (T, O)`, from an empty window."""
    W_m, W_q, v, W_r, W_y = (
        getattr(cell, name).detach().numpy()
        for name in ("weight_memory", "weight_query", "score", "weight_read", "weight_out")
    )
    y = np.zeros_like(f)
    for t in range(len(f)):
        past = f[max(0, t - window) : t]
        r = np.zeros(f.shape[1])
        if len(past):
            e = np.tanh(past @ W_m.T + f[t] @ W_q.T) @ v
            a = np.exp(e) / np.exp(e).sum()
            r = a @ past
        y[t] = np.tanh(W_r @ r + W_y @ f[t])
    return y


@pytest.mark.parametrize("window", [1, 3, 9])
def test_the_equations(window: int) -> None:
    inner = GRUCell(3, 4).double()
    cell = Attention(inner, size=5, window=window).double()
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    f, after = unroll(inner, x)
    y, state = unroll(cell, x)
    for row in range(2):
        expected = oracle(cell.inner(1), f[row].detach().numpy(), window)
        np.testing.assert_allclose(y[row].detach().numpy(), expected, atol=1e-12)
    assert torch.equal(state.cell.h, after.h)
    there = min(window, 7)
    torch.testing.assert_close(state.window.memory[:, -there:], f[:, -there:])
    assert state.window.filled.sum(dim=1).tolist() == [there, there]


def test_what_is_not_filled_is_never_read() -> None:
    cell = WindowAttention(4, 3, 2)
    x = torch.randn(1, 5, 4)
    noise = WindowState(torch.full((1, 2, 4), 1e6), torch.zeros(1, 2))
    assert torch.equal(unroll(cell, x, noise)[0], unroll(cell, x)[0])
    # W_y f alone, where there is nothing to read.
    torch.testing.assert_close(cell(x[:, 0], noise)[0], torch.tanh(x[:, 0] @ cell.weight_out.T))


def test_blocks_of_steps_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = WindowAttention(4, 3, 3).double()
    x = torch.randn(2, 11, 4, dtype=torch.float64)
    whole, _ = unroll(cell, x)
    monkeypatch.setattr(attention, "BLOCK", 4)
    torch.testing.assert_close(unroll(cell, x)[0], whole)


@pytest.mark.parametrize("block", [3, 128])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_is_read_from_the_windows_it_stands_in_alone(
    bad: float, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "BLOCK", block)
    cell = WindowAttention(4, 3, 2)
    x = torch.randn(2, 9, 4)
    clean, _ = unroll(cell, x)
    x[0, 3, 2] = bad
    y, _ = unroll(cell, x)
    same = [torch.equal(y[0, t], clean[0, t]) for t in range(9)]
    assert same == [t not in (3, 4, 5) for t in range(9)]
    assert torch.equal(y[1], clean[1])
    assert y[0, 4:6].isnan().all()
    garbage = WindowState(torch.full((2, 2, 4), bad), torch.zeros(2, 2))
    assert torch.equal(unroll(cell, x, garbage)[0][1], clean[1])


def test_a_reset_empties_the_window() -> None:
    cell = Attention(LSTMCell(3, 4), window=4)
    x = torch.randn(1, 6, 3)
    reset = torch.tensor([[False, False, False, True, False, False]])
    y, state = unroll(cell, x, reset=reset)
    torch.testing.assert_close(y[:, 3:], unroll(cell, x[:, 3:])[0])
    assert state.window.filled.tolist() == [[0, 1, 1, 1]]


def test_both_parts_are_on_kernels() -> None:
    assert plan(Attention(LSTMCell(3, 4))) == (
        "Attention(3 -> 4): around whole sequences\n"
        "  LSTMCell(3 -> 4): oneDNN's LSTM, whole sequences at once\n"
        "  WindowAttention(4 -> 4): attention over windows, whole sequences at once"
    )


def test_its_own_parameters_alone_are_drawn_anew() -> None:
    cell = Attention(GRUCell(3, 4), size=2)
    within = [p.clone() for p in cell.inner(0).parameters()]
    cell.reset_parameters(torch.Generator().manual_seed(1))
    first = [p.clone() for p in cell.inner(1).parameters()]
    cell.reset_parameters(torch.Generator().manual_seed(1))
    assert all(map(torch.equal, first, cell.inner(1).parameters()))
    assert all(map(torch.equal, within, cell.inner(0).parameters()))


def test_faults() -> None:
    with pytest.raises(ConfigError, match="at least 1, got size=None, window=0"):
        Attention(GRUCell(3, 4), window=0)
    with pytest.raises(ConfigError, match="at least 1, got size=0, window=15"):
        Attention(GRUCell(3, 4), size=0)
    with pytest.raises(ConfigError, match=r"at least 1, got size=None, window=2\.5"):
        Attention(GRUCell(3, 4), window=2.5)  # type: ignore[arg-type]
    cell = WindowAttention(4, 3, 2)
    narrow = WindowState(torch.zeros(1, 2, 3), torch.zeros(1, 2))
    with pytest.raises(ShapeError, match=r"memory is \(1, 2, 3\), expected \(1, 2, 4\)"):
        cell(torch.zeros(1, 4), narrow)
