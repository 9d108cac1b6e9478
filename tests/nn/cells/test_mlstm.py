from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.errors import ConfigError, ShapeError
from recurra.nn.cells.mlstm import CHUNK, MLSTMCell
from recurra.nn.unroll import plan, unroll, unroll_plain


def logistic(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def beck(x: np.ndarray, p: dict[str, np.ndarray], N: int) -> tuple[np.ndarray, np.ndarray]:
    """Beck et al. 2024, equations 19-27 as they stand, head by head, for one sequence (T, I).

    Returns the outputs, and the memory C of the last head.
    """
    sums = x @ p["weight_ih"].T + p["bias_ih"]
    H = (sums.shape[1] - 2 * N) // 4
    d = H // N
    y = np.zeros((len(x), H))
    for head in range(N):
        own = slice(head * d, (head + 1) * d)
        C, n = np.zeros((d, d)), np.zeros(d)
        for t, row in enumerate(sums):
            q, v, o = row[:H][own], row[2 * H : 3 * H][own], logistic(row[3 * H : 4 * H][own])
            k = row[H : 2 * H][own] / np.sqrt(d)
            i, f = np.exp(row[4 * H + head]), logistic(row[4 * H + N + head])
            C = f * C + i * np.outer(v, k)
            n = f * n + i * k
            y[t, own] = o * (C @ q) / max(abs(n @ q), 1)
    return y, C


@pytest.mark.parametrize("num_heads", [1, 2])
def test_equations(num_heads: int) -> None:
    cell = MLSTMCell(3, 6, num_heads).double()
    p = {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}
    T = 2 * CHUNK + 5
    x = 2 * torch.randn(1, T, 3, dtype=torch.float64)
    expected, C = beck(x[0].numpy(), p, num_heads)
    for how in (unroll, unroll_plain):
        y, state = how(cell, x)
        np.testing.assert_allclose(y[0].detach().numpy(), expected, rtol=1e-9, atol=1e-12)
        memory = state.c[0, -1] * state.m[0, -1].exp()
        np.testing.assert_allclose(memory.detach().numpy(), C, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("T", [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_chunks_are_the_loop(T: int) -> None:
    cell = MLSTMCell(3, 4, 2).double()
    x = torch.randn(3, T, 3, dtype=torch.float64)
    for lengths in (None, torch.tensor([T, 0, T // 2])):
        whole, state = unroll(cell, x, lengths=lengths)
        expected, last = unroll_plain(cell, x, lengths=lengths)
        torch.testing.assert_close((whole, *state), (expected, *last), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("later", [torch.nan, torch.inf, -torch.inf, 1e30, 3e38])
def test_what_is_not_finite_reaches_no_earlier_output_and_every_later_one(later: float) -> None:
    cell = MLSTMCell(3, 4, 2)
    x = torch.randn(2, CHUNK + 30, 3)
    clean = [*unroll(cell, x[:, :CHUNK]), unroll(cell, x)[0]]
    for t in (0, 20, CHUNK - 1, CHUNK, CHUNK + 7):
        spoilt = x.clone()
        spoilt[0, t, 1] = later
        y, state = unroll(cell, spoilt)
        assert torch.equal(y[0, :t], clean[2][0, :t]) and torch.equal(y[1], clean[2][1])
        expected, last = unroll_plain(cell, spoilt)
        assert y.isnan().equal(expected.isnan()) or later > 1
        assert state.c.isnan().equal(last.c.isnan()) or later > 1


@pytest.mark.parametrize("size", [-300.0, 300.0])
def test_gates_whose_exponentials_overflow(size: float) -> None:
    cell = MLSTMCell(3, 4, 2)
    with torch.no_grad():
        cell.bias_ih[-4:-2] = size
    x = torch.randn(2, 100, 3, requires_grad=True)
    for how in (unroll, unroll_plain):
        y, state = how(cell, x)
        assert all(tensor.isfinite().all() for tensor in (y, *state))
        (gradient,) = torch.autograd.grad(y.sum(), x)
        assert gradient.isfinite().all()


def test_a_value_written_at_a_key_is_read_by_it() -> None:
    cell = MLSTMCell(2, 2)
    with torch.no_grad():
        cell.weight_ih.zero_()
        cell.bias_ih.zero_()
        cell.weight_ih[0:2] = torch.eye(2) * 2**0.5  # q
        cell.weight_ih[2:4] = torch.eye(2) * 2**0.5  # k, over the square root of 2
        cell.weight_ih[4:6] = torch.tensor([[3.0, 0.0], [0.0, 5.0]])  # v
        cell.bias_ih[6:8] = 100.0  # o is open
        cell.bias_ih[8], cell.bias_ih[9] = 5.0, 100.0  # i writes, f keeps
    one, other = torch.eye(2).unsqueeze(1)
    _, state = cell(one, cell.initial_state())
    _, state = cell(other, state)
    torch.testing.assert_close(cell(one, state)[0], torch.tensor([[3.0, 0.0]]))
    torch.testing.assert_close(cell(other, state)[0], torch.tensor([[0.0, 5.0]]))


def test_faults() -> None:
    with pytest.raises(ConfigError, match="num_heads divides the 6 units, got 4"):
        MLSTMCell(3, 6, num_heads=4)
    cell = MLSTMCell(3, 6, 2)
    with pytest.raises(ShapeError, match=r"state.c is \(2, 1, 6, 6\), expected \(2, 2, 3, 3\)"):
        cell(torch.zeros(2, 3), MLSTMCell(3, 6).initial_state(2))


def test_forget_bias_at_initialisation() -> None:
    cell, plain = MLSTMCell(3, 4, 2), MLSTMCell(3, 4, 2, forget_bias=0)
    for each in (cell, plain):
        each.reset_parameters(torch.Generator().manual_seed(2))
    added = torch.zeros(20)
    added[18:] = 3.0
    torch.testing.assert_close(cell.bias_ih - plain.bias_ih, added)


def test_the_plan_names_the_kernel() -> None:
    assert plan(MLSTMCell(3, 4)) == (
        "MLSTMCell(3 -> 4): products of matrices over chunks of 64 steps, whole sequences at once"
    )
