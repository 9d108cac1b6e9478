from __future__ import annotations

import numpy as np
import torch

from recurra.nn.cells.coupled_lstm import CoupledLSTMCell, CoupledLSTMState
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.unroll import unroll


def logistic(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def greff(
    x: np.ndarray, h: np.ndarray, c: np.ndarray, p: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Greff et al. 2017, CIFG: the vanilla LSTM with i = 1 - f, without peepholes."""
    net = x @ p["weight_ih"].T + p["bias_ih"] + h @ p["weight_hh"].T + p["bias_hh"]
    f, z, o = np.split(net, 3, axis=1)
    i = 1 - logistic(f)
    c = np.tanh(z) * i + c * logistic(f)
    return np.tanh(c) * logistic(o), c


def test_equations() -> None:
    cell = CoupledLSTMCell(3, 4).double()
    p = {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    h, c = np.random.default_rng(0).normal(size=(2, 2, 4))
    state = start = CoupledLSTMState(torch.from_numpy(h), torch.from_numpy(c))
    for t in range(5):
        h, c = greff(x[:, t].numpy(), h, c, p)
        y, state = cell(x[:, t], state)
        np.testing.assert_allclose(y.detach().numpy(), h, rtol=1e-12)
        np.testing.assert_allclose(state.c.detach().numpy(), c, rtol=1e-12)
    y, state = unroll(cell, x, start)
    np.testing.assert_allclose(y[:, -1].detach().numpy(), h, rtol=1e-12)
    np.testing.assert_allclose(state.c.detach().numpy(), c, rtol=1e-12)


def test_it_is_an_lstm_whose_input_gate_mirrors_the_forget_gate() -> None:
    cell, plain = CoupledLSTMCell(3, 4), LSTMCell(3, 4)
    with torch.no_grad():
        for name, own in cell.named_parameters():
            f, g, o = own.chunk(3)
            plain.get_parameter(name).copy_(torch.cat([-f, f, g, o]))
    x = torch.randn(2, 7, 3)
    (y, state), (expected, end) = unroll(cell, x), unroll(plain, x)
    torch.testing.assert_close((y, *state), (expected, *end))


def test_the_memory_stays_within_one() -> None:
    cell = CoupledLSTMCell(3, 4)
    state = CoupledLSTMState(torch.zeros(2, 4), 2 * torch.rand(2, 4) - 1)
    _, after = unroll(cell, 100 * torch.randn(2, 50, 3), state)
    assert after.c.abs().max() <= 1


def test_the_gates_make_the_state() -> None:
    cell = CoupledLSTMCell(3, 4)
    x, state = torch.randn(2, 3), CoupledLSTMState(*torch.randn(2, 2, 4))
    gates = cell.gates(x, state)
    assert list(gates) == ["f", "g", "o"]
    y, after = cell(x, state)
    torch.testing.assert_close(after.c, gates["f"] * state.c + (1 - gates["f"]) * gates["g"])
    torch.testing.assert_close(y, gates["o"] * after.c.tanh())


def test_the_kernel_says_what_it_is() -> None:
    kernel = CoupledLSTMCell(3, 4).kernel(torch.zeros(1))
    assert not isinstance(kernel, str) and kernel.name == "the compiled LSTM with coupled gates"
