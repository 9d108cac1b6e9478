"""The activations by name, and the cells that take them, beside numpy."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import special
from torch import Tensor, nn

from recurra.errors import ConfigError
from recurra.nn.cells.activation import ACTIVATIONS, activate
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell, LSTMState
from recurra.nn.cells.rnn import RNNCell
from recurra.nn.prepacked import prepack
from recurra.nn.unroll import plan, unroll
from recurra.nn.weights import to_torch
from recurra.nn.wrappers.inside import steps_as
from recurra.nn.wrappers.mogrifier import Mogrifier
from recurra.nn.wrappers.stack import Stack
from recurra.nn.wrappers.zoneout import Zoneout

ALPHA, SCALE = 1.6732632423543772, 1.0507009873554805
X = np.linspace(-7, 7, 57)


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, x)


def shifted_softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x - x.max()) / np.exp(x - x.max()).sum()


EQUATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0),
    "linear": lambda x: x,
    "hard_sigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "keras2_hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "softplus": softplus,
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "selu": lambda x: SCALE * np.where(x > 0, x, ALPHA * np.expm1(x)),
    "celu": lambda x: np.maximum(x, 0) + np.minimum(0, np.expm1(x)),
    "gelu": lambda x: x * special.ndtr(x),
    "silu": lambda x: x * special.expit(x),
    "mish": lambda x: x * np.tanh(softplus(x)),
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "exponential": np.exp,
    "hard_silu": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "hard_shrink": lambda x: np.where(np.abs(x) > 0.5, x, 0),
    "soft_shrink": lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0),
    "tanh_shrink": lambda x: x - np.tanh(x),
    "squareplus": lambda x: 0.5 * (x + np.sqrt(x * x + 4)),
    "sparse_plus": lambda x: np.where(x <= -1, 0, np.where(x >= 1, x, 0.25 * (x + 1) ** 2)),
    "sparse_sigmoid": lambda x: np.where(x <= -1, 0, np.where(x >= 1, 1, 0.5 * (x + 1))),
    "log_sigmoid": lambda x: -softplus(-x),
    "softmax": shifted_softmax,
    "log_softmax": lambda x: np.log(shifted_softmax(x)),
}


def test_every_name_has_its_equation() -> None:
    assert set(EQUATIONS) == set(ACTIVATIONS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_equations(name: str) -> None:
    found = activate(name, torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(found, EQUATIONS[name](X), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_gradients_are_finite(name: str) -> None:
    x = torch.from_numpy(X).requires_grad_()
    activate(name, x).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()


def numbers(cell: nn.Module) -> dict[str, np.ndarray]:
    return {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}


@pytest.mark.parametrize(("of_state", "of_gates"), [("relu", "hard_sigmoid"), ("softsign", "tanh")])
def test_an_lstm_of_other_activations(of_state: str, of_gates: str) -> None:
    cell = LSTMCell(3, 4, activation=of_state, recurrent_activation=of_gates).double()
    act, gate, p = EQUATIONS[of_state], EQUATIONS[of_gates], numbers(cell)
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    h, c = np.zeros((2, 2, 4))
    for t in range(5):
        sums = x[:, t].numpy() @ p["weight_ih"].T + p["bias_ih"] + h @ p["weight_hh"].T
        i, f, g, o = np.split(sums + p["bias_hh"], 4, axis=1)
        c = gate(f) * c + gate(i) * act(g)
        h = gate(o) * act(c)
    y, state = unroll(cell, x)
    np.testing.assert_allclose(y[:, -1].detach().numpy(), h, rtol=1e-12)
    np.testing.assert_allclose(state.c.detach().numpy(), c, rtol=1e-12)


@pytest.mark.parametrize("reset_after", [True, False])
def test_a_gru_of_other_activations(reset_after: bool) -> None:
    cell = GRUCell(3, 4, reset_after, "selu", "keras2_hard_sigmoid").double()
    act, gate, p = EQUATIONS["selu"], EQUATIONS["keras2_hard_sigmoid"], numbers(cell)
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    h = np.zeros((2, 4))
    for t in range(5):
        a_r, a_z, a_n = np.split(x[:, t].numpy() @ p["weight_ih"].T + p["bias_ih"], 3, axis=1)
        w_r, w_z, w_n = np.split(p["weight_hh"], 3)
        b_r, b_z, b_n = np.split(p["bias_hh"], 3)
        r, z = gate(a_r + h @ w_r.T + b_r), gate(a_z + h @ w_z.T + b_z)
        new = r * (h @ w_n.T + b_n) if reset_after else (r * h) @ w_n.T + b_n
        h = (1 - z) * act(a_n + new) + z * h
    np.testing.assert_allclose(unroll(cell, x)[0][:, -1].detach().numpy(), h, rtol=1e-12)


@pytest.mark.parametrize("name", ["linear", "elu"])
def test_a_simple_network_of_another_nonlinearity(name: str) -> None:
    cell = RNNCell(3, 4, name).double()
    p, h = numbers(cell), np.zeros((2, 4))
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    for t in range(5):
        sums = x[:, t].numpy() @ p["weight_ih"].T + h @ p["weight_hh"].T
        h = EQUATIONS[name](sums + p["bias_ih"] + p["bias_hh"])
    np.testing.assert_allclose(unroll(cell, x)[0][:, -1].detach().numpy(), h, rtol=1e-12)


CELLS: dict[str, Any] = {
    "rnn": lambda given: RNNCell(3, 4, given),
    "lstm": lambda given: LSTMCell(3, 4, activation=given),
    "lstm gates": lambda given: LSTMCell(3, 4, recurrent_activation=given),
    "gru": lambda given: GRUCell(3, 4, activation=given),
    "gru gates": lambda given: GRUCell(3, 4, recurrent_activation=given),
}


@pytest.mark.parametrize("make", CELLS.values(), ids=CELLS)
def test_functions_and_modules_are_activations_too(make: Any) -> None:
    relu = nn.ReLU6()
    named, function, module = make("relu6"), make(nn.functional.relu6), make(relu)
    x = torch.randn(2, 5, 3)
    expected = unroll(named, x)[0]
    for cell in (function, module, copy.deepcopy(module)):
        cell.load_state_dict(named.state_dict())
        assert torch.equal(unroll(cell, x)[0], expected)
    twice = Stack([make(relu), GRUCell(4, 3, activation=relu)])  # one module, two cells
    assert not any(isinstance(part, nn.ReLU6) for part in twice.modules())


@pytest.mark.parametrize("make", CELLS.values(), ids=CELLS)
def test_others_run_in_the_plain_loop_and_are_said(make: Any) -> None:
    for given in ("softsign", nn.Softsign(), torch.sin):
        cell = make(given)
        assert "activation=" in cell.extra_repr() or "nonlinearity=" in cell.extra_repr()
        assert cell.unusual() and cell.kernel(torch.zeros(1)) == f"no kernel has {cell.unusual()}"
        assert f"the plain loop: no kernel has {cell.unusual()}" in plan(cell)
        assert not steps_as(cell, type(cell))
        with pytest.raises(ConfigError, match=r"torch\.nn has no module for \w+ with \w+="):
            to_torch(cell)
        if not isinstance(cell, RNNCell):
            with pytest.raises(ConfigError, match="cannot be packed, only the usual"):
                prepack(Stack([cell]))


def test_defaults_are_those_of_the_kernels() -> None:
    for cell in (RNNCell(3, 4), RNNCell(3, 4, "relu"), LSTMCell(3, 4), GRUCell(3, 4)):
        assert not cell.unusual() and steps_as(cell, type(cell))
        assert not isinstance(cell.kernel(torch.zeros(1)), str)
    assert repr(LSTMCell(3, 4)) == "LSTMCell(3, 4)"
    assert repr(RNNCell(3, 4, "relu")) == "RNNCell(3, 4, nonlinearity='relu')"
    said = "GRUCell(3, 4, activation='relu', recurrent_activation='tanh')"
    assert repr(GRUCell(3, 4, activation="relu", recurrent_activation="tanh")) == said


@pytest.mark.parametrize(
    "wrap", [lambda c: Zoneout(c, hidden=0.2, memory=0.1).eval(), lambda c: Mogrifier(c, 3)]
)
def test_kernels_of_wrappers_leave_other_activations_to_the_loop(wrap: Any) -> None:
    cell = wrap(LSTMCell(3, 4, activation="relu")).double()
    assert "the plain loop" in plan(cell)
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    state, ys = cell.initial_state(2), []
    for t in range(5):
        y, state = cell(x[:, t], state)
        ys.append(y)
    torch.testing.assert_close(unroll(cell, x)[0], torch.stack(ys, dim=1))


def test_the_gates_are_those_of_the_step() -> None:
    cell = LSTMCell(3, 4, activation="relu", recurrent_activation="softsign")
    state = LSTMState(*torch.randn(2, 2, 4))
    gates = cell.gates(torch.randn(2, 3), state)
    assert (gates["g"] >= 0).all() and min(gates[k].min() for k in "ifo") < 0


class Slope(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.slope


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("rulu", r"got 'rulu'\. Did you mean 'relu'\?"),
        (None, "or a function of a tensor, got None$"),
        (3, "got 3$"),
        (nn.ReLU, "got <class"),
        (Slope(), "Slope has parameters to learn; write a cell with it"),
    ],
)
def test_what_is_no_activation(given: Any, why: str) -> None:
    for make in CELLS.values():
        with pytest.raises(ConfigError, match=why) as error:
            make(given)
        assert "\n" not in str(error.value)
