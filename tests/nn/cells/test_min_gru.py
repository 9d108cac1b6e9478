from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.errors import ConfigError
from recurra.nn.cells.min_gru import MinGRUCell, MinGRUState
from recurra.nn.unroll import unroll, unroll_plain

BOTH = pytest.mark.parametrize("candidate", ["linear", "positive"])


def logistic(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def feng(x: np.ndarray, h: np.ndarray, p: dict[str, np.ndarray], candidate: str) -> np.ndarray:
    """Feng et al. 2024, section 3.1: the gate and h~ read x; g of their appendix B."""
    H = h.shape[1]
    W, b = p["weight_ih"], p["bias_ih"]
    z = logistic(x @ W[:H].T + b[:H])
    h_tilde = x @ W[H:].T + b[H:]
    if candidate == "positive":
        h_tilde = np.where(h_tilde >= 0, h_tilde + 0.5, logistic(h_tilde))
    return (1 - z) * h + z * h_tilde


@BOTH
def test_equations(candidate: str) -> None:
    cell = MinGRUCell(3, 4, candidate).double()
    p = {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    h = np.random.default_rng(0).normal(size=(2, 4))
    state = start = MinGRUState(torch.from_numpy(h))
    for t in range(5):
        h = feng(x[:, t].numpy(), h, p, candidate)
        y, state = cell(x[:, t], state)
        np.testing.assert_allclose(y.detach().numpy(), h, rtol=1e-12)
        assert torch.equal(y, state.h)
    np.testing.assert_allclose(unroll(cell, x, start)[1].h.detach().numpy(), h, rtol=1e-12)


@BOTH
def test_long_sequences_in_single_precision(candidate: str) -> None:
    cell = MinGRUCell(5, 40, candidate)
    x = torch.randn(3, 300, 5)
    torch.testing.assert_close(unroll(cell, x)[0], unroll_plain(cell, x)[0], rtol=1e-4, atol=1e-5)


def test_under_autocast_the_state_stays_wide() -> None:
    cell, x = MinGRUCell(5, 8), torch.randn(2, 50, 5)
    exact, _ = unroll(cell, x)
    with torch.autocast("cpu", torch.bfloat16):
        y, state = unroll(cell, x)
        plain, _ = unroll_plain(cell, x)
    assert y.dtype == plain.dtype == state.h.dtype == torch.float32
    torch.testing.assert_close(y, plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(y, exact, rtol=0.05, atol=0.02)


def test_the_kernel_says_what_it_is_or_why_there_is_none() -> None:
    cell = MinGRUCell(3, 4)
    assert cell.kernel(torch.zeros(1)).name == "a compiled scan, gates and all"
    assert "float16" in cell.kernel(torch.zeros(1).half())


def test_another_candidate_is_refused() -> None:
    with pytest.raises(ConfigError, match="candidate is 'linear' or 'positive', got 'tanh'"):
        MinGRUCell(3, 4, "tanh")


@BOTH
def test_the_gates_make_the_state(candidate: str) -> None:
    cell, x = MinGRUCell(3, 4, candidate), torch.randn(2, 3)
    state = MinGRUState(torch.randn(2, 4))
    gates = cell.gates(x, state)
    assert list(gates) == ["z", "n"]
    z, n = gates.values()
    torch.testing.assert_close(cell(x, state)[0], (1 - z) * state.h + z * n)
