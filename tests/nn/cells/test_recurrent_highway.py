from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.errors import ConfigError
from recurra.nn.cells.recurrent_highway import RecurrentHighwayCell, RecurrentHighwayState
from recurra.nn.unroll import plan, unroll


def logistic(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def zilly(x: np.ndarray, s: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
    """Zilly et al. 2017, equations 6-9, with its indicator of the first layer, and c = 1 - t."""
    H = s.shape[1]
    for layer in range(len(p["weight_hh"])):
        first = float(layer == 0)
        W, R = p["weight_ih"], p["weight_hh"][layer]
        b = p["bias_hh"][layer] + first * p["bias_ih"]
        h = np.tanh(first * x @ W[:H].T + s @ R[:H].T + b[:H])
        t = logistic(first * x @ W[H:].T + s @ R[H:].T + b[H:])
        c = 1 - t
        s = h * t + s * c
    return s


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_equations(depth: int) -> None:
    cell = RecurrentHighwayCell(3, 4, depth).double()
    p = {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    h = np.random.default_rng(0).normal(size=(2, 4))
    state = start = RecurrentHighwayState(torch.from_numpy(h))
    for t in range(5):
        h = zilly(x[:, t].numpy(), h, p)
        y, state = cell(x[:, t], state)
        np.testing.assert_allclose(y.detach().numpy(), h, rtol=1e-12)
        assert torch.equal(y, state.h)
    np.testing.assert_allclose(unroll(cell, x, start)[1].h.detach().numpy(), h, rtol=1e-12)


def test_no_depth_is_refused() -> None:
    with pytest.raises(ConfigError, match="depth is at least 1, got 0"):
        RecurrentHighwayCell(3, 4, depth=0)


@pytest.mark.parametrize("bias", [-2.0, 0.0, 3.0])
def test_the_bias_of_the_transform_gates_at_initialisation(bias: float) -> None:
    cell = RecurrentHighwayCell(3, 4, 2, transform_bias=bias)
    plain = RecurrentHighwayCell(3, 4, 2, transform_bias=0.0)
    for each in (cell, plain):
        each.reset_parameters(torch.Generator().manual_seed(2))
    added = torch.zeros(2, 8)
    added[:, 4:] = bias
    torch.testing.assert_close(cell.bias_hh, plain.bias_hh + added)
    for name in ("weight_ih", "weight_hh", "bias_ih"):
        assert torch.equal(cell.get_parameter(name), plain.get_parameter(name))
    assert RecurrentHighwayCell(3, 4).transform_bias == -2.0


def test_a_network_that_carries_alone_keeps_its_state() -> None:
    cell = RecurrentHighwayCell(3, 4, transform_bias=-200.0)
    h = torch.randn(2, 4)
    y, _ = unroll(cell, torch.randn(2, 5, 3), RecurrentHighwayState(h))
    assert torch.equal(y, h.unsqueeze(1).expand(2, 5, 4))


def test_the_plan_names_the_kernel() -> None:
    assert plan(RecurrentHighwayCell(3, 4)) == (
        "RecurrentHighwayCell(3 -> 4): the compiled recurrent highway, whole sequences at once"
    )
    assert plan(RecurrentHighwayCell(3, 4).half()) == (
        "RecurrentHighwayCell(3 -> 4): a loop behind one product of all inputs, as compiled "
        "kernels are of float32 and float64, not float16, whole sequences at once"
    )
