from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.errors import ConfigError
from recurra.nn.cells.min_lstm import MinLSTMCell, MinLSTMState
from recurra.nn.unroll import unroll, unroll_plain

BOTH = pytest.mark.parametrize("candidate", ["linear", "positive"])


def logistic(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def feng(x: np.ndarray, h: np.ndarray, p: dict[str, np.ndarray], candidate: str) -> np.ndarray:
    """Feng et al. 2024, section 3.2: two gates made to add up to one, by their sum."""
    i, f, h_tilde = np.split(x @ p["weight_ih"].T + p["bias_ih"], 3, axis=1)
    i, f = logistic(i), logistic(f)
    f_prime, i_prime = f / (f + i), i / (f + i)
    if candidate == "positive":
        h_tilde = np.where(h_tilde >= 0, h_tilde + 0.5, logistic(h_tilde))
    return f_prime * h + i_prime * h_tilde


@BOTH
def test_equations(candidate: str) -> None:
    cell = MinLSTMCell(3, 4, candidate).double()
    p = {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    h = np.random.default_rng(0).normal(size=(2, 4))
    state = start = MinLSTMState(torch.from_numpy(h))
    for t in range(5):
        h = feng(x[:, t].numpy(), h, p, candidate)
        y, state = cell(x[:, t], state)
        np.testing.assert_allclose(y.detach().numpy(), h, rtol=1e-12)
        assert torch.equal(y, state.h)
    np.testing.assert_allclose(unroll(cell, x, start)[1].h.detach().numpy(), h, rtol=1e-12)


@BOTH
def test_long_sequences_in_single_precision(candidate: str) -> None:
    cell = MinLSTMCell(5, 40, candidate)
    x = torch.randn(3, 300, 5)
    torch.testing.assert_close(unroll(cell, x)[0], unroll_plain(cell, x)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("how", [unroll, unroll_plain])
def test_gates_closed_so_far_that_they_underflow_still_share(how) -> None:
    cell = MinLSTMCell(1, 1)
    with torch.no_grad():
        cell.weight_ih.zero_()
        cell.bias_ih.copy_(torch.tensor([-300.0, -301.0, 1.0]))
    _, state = how(cell, torch.zeros(1, 1, 1))
    assert state.h.item() == pytest.approx(1 / (1 + np.exp(-1.0)), rel=1e-5)
    state.h.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in cell.parameters())


def test_the_kernel_says_what_it_is() -> None:
    assert MinLSTMCell(3, 4).kernel(torch.zeros(1)).name == "a compiled scan, gates and all"


def test_another_candidate_is_refused() -> None:
    with pytest.raises(ConfigError, match="candidate is 'linear' or 'positive', got 'tanh'"):
        MinLSTMCell(3, 4, "tanh")


def test_the_gates_add_up_to_one_and_make_the_state() -> None:
    cell, x = MinLSTMCell(3, 4), torch.randn(2, 3)
    state = MinLSTMState(torch.randn(2, 4))
    i, f, g = cell.gates(x, state).values()
    torch.testing.assert_close(i + f, torch.ones(2, 4))
    torch.testing.assert_close(cell(x, state)[0], f * state.h + i * g)
