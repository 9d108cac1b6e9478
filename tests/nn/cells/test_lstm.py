from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from recurra.nn.cells.lstm import LSTMCell, LSTMState
from recurra.nn.unroll import unroll


def logistic(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def gers(
    x: np.ndarray, h: np.ndarray, c: np.ndarray, p: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Gers et al. 2000, gate by gate; the rows of the weights stand in the order i, f, g, o."""
    H = h.shape[1]

    def net(gate: int) -> np.ndarray:
        rows = slice(gate * H, (gate + 1) * H)
        into = x @ p["weight_ih"][rows].T + p["bias_ih"][rows]
        return into + h @ p["weight_hh"][rows].T + p["bias_hh"][rows]

    into, keep, new, out = (
        logistic(net(0)),
        logistic(net(1)),
        np.tanh(net(2)),
        logistic(net(3)),
    )
    c = keep * c + into * new
    return out * np.tanh(c), c


def test_equations() -> None:
    cell = LSTMCell(3, 4).double()
    p = {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    h, c = np.random.default_rng(0).normal(size=(2, 2, 4))
    state = start = LSTMState(torch.from_numpy(h), torch.from_numpy(c))
    for t in range(5):
        h, c = gers(x[:, t].numpy(), h, c, p)
        y, state = cell(x[:, t], state)
        np.testing.assert_allclose(y.detach().numpy(), h, rtol=1e-12)
        np.testing.assert_allclose(state.c.detach().numpy(), c, rtol=1e-12)
        assert torch.equal(y, state.h)
    y, state = unroll(cell, x, start)
    np.testing.assert_allclose(y[:, -1].detach().numpy(), h, rtol=1e-12)
    np.testing.assert_allclose(state.c.detach().numpy(), c, rtol=1e-12)


def test_the_gates_do_not_read_the_cell_state() -> None:
    cell = LSTMCell(3, 4).double()
    x, h, c = torch.randn(3, 2, 4, dtype=torch.float64)
    after = [cell(x[:, :3], LSTMState(h, c * k))[1].c for k in (0, 1, 2)]
    # Were c among the gates' inputs, c' would not be linear in c.
    torch.testing.assert_close(after[2] - after[1], after[1] - after[0])


def test_torch_twins_with_the_same_weights() -> None:
    cell, twin = LSTMCell(3, 4), nn.LSTMCell(3, 4)
    cell.load_state_dict(twin.state_dict())
    x, h, c = torch.randn(2, 3), torch.randn(2, 4), torch.randn(2, 4)
    y, state = cell(x, LSTMState(h, c))
    torch.testing.assert_close(tuple(state), twin(x, (h, c)))

    layer = nn.LSTM(3, 4, batch_first=True)
    layer.load_state_dict({f"{name}_l0": value for name, value in cell.state_dict().items()})
    x = torch.randn(2, 7, 3)
    y, state = unroll(cell, x, LSTMState(h, c))
    expected, (h_end, c_end) = layer(x, (h.unsqueeze(0), c.unsqueeze(0)))
    torch.testing.assert_close((y, *state), (expected, h_end[0], c_end[0]))


@pytest.mark.parametrize("forget_bias", [1.0, 0.0, -2.5])
def test_forget_bias_at_initialisation(forget_bias: float) -> None:
    cell = LSTMCell(3, 4, forget_bias)
    plain = LSTMCell(3, 4, forget_bias=0)
    cell.reset_parameters(torch.Generator().manual_seed(2))
    plain.reset_parameters(torch.Generator().manual_seed(2))
    added = torch.zeros(16)
    added[4:8] = forget_bias
    torch.testing.assert_close(cell.bias_ih, plain.bias_ih + added)
    for name in ("weight_ih", "weight_hh", "bias_hh"):
        assert torch.equal(cell.get_parameter(name), plain.get_parameter(name))
    assert LSTMCell(3, 4).forget_bias == 1.0


def test_a_fresh_cell_remembers_by_its_forget_bias() -> None:
    @torch.no_grad()
    def left_of_one_after_three_steps(forget_bias: float) -> float:
        cell = LSTMCell(3, 400, forget_bias)
        one = cell.initial_state()._replace(c=torch.ones(1, 400))
        x = torch.zeros(1, 3, 3)
        return (unroll(cell, x, one)[1].c - unroll(cell, x)[1].c).mean().item()

    assert left_of_one_after_three_steps(1.0) == pytest.approx(0.731**3, rel=0.05)  # logistic(1)
    assert left_of_one_after_three_steps(0.0) == pytest.approx(0.5**3, rel=0.05)


def test_the_kernel_says_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = LSTMCell(3, 4)
    assert cell.kernel(torch.zeros(1)).name == "oneDNN's LSTM"
    double = cell.kernel(torch.zeros(1, dtype=torch.float64))
    assert double.name == "the compiled LSTM, as oneDNN has none in torch.float64"
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    assert cell.kernel(torch.zeros(1)).name == "the compiled LSTM, as oneDNN is switched off"


def test_the_gates_are_those_of_the_equations_and_make_the_state() -> None:
    cell = LSTMCell(3, 4).double()
    p = {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}
    x = torch.randn(2, 3, dtype=torch.float64)
    state = LSTMState(*torch.randn(2, 2, 4, dtype=torch.float64))
    gates = {name: gate.detach().numpy() for name, gate in cell.gates(x, state).items()}
    assert list(gates) == ["i", "f", "g", "o"]
    sums = x.numpy() @ p["weight_ih"].T + p["bias_ih"] + state.h.numpy() @ p["weight_hh"].T
    i, f, g, o = np.split(sums + p["bias_hh"], 4, axis=1)
    expected = {"i": logistic(i), "f": logistic(f), "g": np.tanh(g), "o": logistic(o)}
    for name, gate in expected.items():
        np.testing.assert_allclose(gates[name], gate, rtol=1e-12)
    y, after = cell(x, state)
    c = gates["f"] * state.c.numpy() + gates["i"] * gates["g"]
    np.testing.assert_allclose(after.c.detach().numpy(), c, rtol=1e-12)
    np.testing.assert_allclose(y.detach().numpy(), gates["o"] * np.tanh(c), rtol=1e-12)
