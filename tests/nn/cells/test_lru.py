from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.errors import ConfigError
from recurra.nn.cells.lru import LRUCell, LRUState
from recurra.nn.unroll import unroll, unroll_plain


def orvieto(x: np.ndarray, h: np.ndarray, p: dict[str, np.ndarray]):
    """Orvieto et al. 2023, section 3.4, in complex numbers."""
    N = h.shape[1]
    lam = np.exp(-np.exp(p["nu_log"]) + 1j * np.exp(p["theta_log"]))
    B = p["weight_ih"][:N] + 1j * p["weight_ih"][N:]
    C = p["weight_ho"][:, :N] + 1j * p["weight_ho"][:, N:]
    h = lam * h + np.exp(p["gamma_log"]) * (x @ B.T)
    return (h @ C.T).real + x @ p["weight_io"].T, h


@pytest.mark.parametrize("state_size", [None, 7])
def test_equations(state_size: int | None) -> None:
    cell = LRUCell(3, 4, state_size).double()
    N = state_size or 4
    p = {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    random = np.random.default_rng(0)
    h = random.normal(size=(2, N)) + 1j * random.normal(size=(2, N))
    start = LRUState(torch.from_numpy(h.real.copy()), torch.from_numpy(h.imag.copy()))
    state = start
    for t in range(5):
        expected, h = orvieto(x[:, t].numpy(), h, p)
        y, state = cell(x[:, t], state)
        np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-11)
        np.testing.assert_allclose(torch.complex(*state).detach().numpy(), h, rtol=1e-11)
    y, end = unroll(cell, x, start)
    np.testing.assert_allclose(y[:, -1].detach().numpy(), expected, rtol=1e-11)
    np.testing.assert_allclose(torch.complex(*end).detach().numpy(), h, rtol=1e-11)


def test_lambda_starts_uniformly_in_its_ring() -> None:
    cell = LRUCell(3, 4000, least_radius=0.5, most_radius=0.9, most_phase=1.0)
    radius, phase = torch.exp(-torch.exp(cell.nu_log)), torch.exp(cell.theta_log)
    assert 0.5 <= radius.min() < 0.51 and 0.89 < radius.max() <= 0.9
    # Uniform over the ring is uniform in the square of the radius.
    assert abs(radius.square().mean() - (0.25 + 0.81) / 2) < 0.01
    assert phase.min() > 0 and phase.max() <= 1.0 and abs(phase.mean() - 0.5) < 0.02
    torch.testing.assert_close(cell.gamma_log.exp(), (1 - radius.square()).sqrt())


def test_a_white_input_gives_a_state_of_the_variance_of_its_product() -> None:
    cell = LRUCell(20, 200, least_radius=0.5, most_radius=0.95)
    with torch.no_grad():
        _, state = unroll(cell, torch.randn(50, 200, 20))
    into = torch.randn(1000, 20) @ cell.weight_ih.t()
    total = state.real.square().mean() + state.imag.square().mean()
    assert total.item() == pytest.approx(2 * into.square().mean().item(), rel=0.05)


@pytest.mark.parametrize("draw", [0.0, 1 - 2.0**-24])
def test_the_ends_of_what_is_drawn_are_finite(draw: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, draw))
    cell = LRUCell(3, 4)
    assert all(parameter.isfinite().all() for parameter in cell.parameters())
    y, _ = unroll(cell, torch.randn(2, 50, 3))
    y.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in cell.parameters())


def test_long_sequences_in_single_precision() -> None:
    cell, x = LRUCell(5, 40), torch.randn(3, 300, 5)
    torch.testing.assert_close(unroll(cell, x)[0], unroll_plain(cell, x)[0], rtol=1e-4, atol=1e-4)


def test_under_autocast_the_state_stays_wide() -> None:
    cell, x = LRUCell(5, 8), torch.randn(2, 50, 5)
    exact, _ = unroll(cell, x)
    with torch.autocast("cpu", torch.bfloat16):
        y, state = unroll(cell, x)
    assert y.dtype == state.real.dtype == torch.float32
    torch.testing.assert_close(y, exact, rtol=0.05, atol=0.1)


def test_the_kernel_says_what_it_is() -> None:
    assert LRUCell(3, 4).kernel(torch.zeros(1)).name == "a compiled scan of complex numbers"


@pytest.mark.parametrize(
    "options",
    [
        {"least_radius": 0.9, "most_radius": 0.5},
        {"most_radius": 1.5},
        {"least_radius": -0.1},
        {"most_phase": 0.0},
    ],
    ids=str,
)
def test_a_ring_that_is_none_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="an LRU starts with 0 <= least_radius < most_radius"):
        LRUCell(3, 4, **options)


def test_a_state_of_no_units_is_refused() -> None:
    with pytest.raises(ConfigError, match="state_size is at least 1, got 0"):
        LRUCell(3, 4, 0)
