from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recurra.errors import ConfigError
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.cells.peephole_lstm import PeepholeLSTMCell, PeepholeLSTMState
from recurra.nn.unroll import unroll


def logistic(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def graves(
    x: np.ndarray, h: np.ndarray, c: np.ndarray, p: dict[str, np.ndarray], clip: float = np.inf
) -> tuple[np.ndarray, np.ndarray]:
    """Graves 2013, equations 7-11, with diagonal W_ci, W_cf, W_co."""
    H = h.shape[1]

    def net(gate: int) -> np.ndarray:
        at = slice(gate * H, (gate + 1) * H)
        into = x @ p["weight_ih"][at].T + h @ p["weight_hh"][at].T
        return into + p["bias_ih"][at] + p["bias_hh"][at]

    i = logistic(net(0) + p["peephole_i"] * c)
    f = logistic(net(1) + p["peephole_f"] * c)
    c = np.clip(f * c + i * np.tanh(net(2)), -clip, clip)
    o = logistic(net(3) + p["peephole_o"] * c)
    return o * np.tanh(c), c


@pytest.mark.parametrize("clip", [None, 0.4])
def test_equations(clip: float | None) -> None:
    cell = PeepholeLSTMCell(3, 4, cell_clip=clip).double()
    p = {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    h, c = np.random.default_rng(0).normal(size=(2, 2, 4))
    state = start = PeepholeLSTMState(torch.from_numpy(h), torch.from_numpy(c))
    for t in range(5):
        h, c = graves(x[:, t].numpy(), h, c, p, clip or np.inf)
        y, state = cell(x[:, t], state)
        np.testing.assert_allclose(y.detach().numpy(), h, rtol=1e-12)
        np.testing.assert_allclose(state.c.detach().numpy(), c, rtol=1e-12)
        assert torch.equal(y, state.h)
    y, state = unroll(cell, x, start)
    np.testing.assert_allclose(y[:, -1].detach().numpy(), h, rtol=1e-12)
    np.testing.assert_allclose(state.c.detach().numpy(), c, rtol=1e-12)
    if clip:
        assert (np.abs(c) == clip).any()


def test_without_peepholes_it_is_the_lstm() -> None:
    cell, plain = PeepholeLSTMCell(3, 4), LSTMCell(3, 4)
    cell.load_state_dict(plain.state_dict(), strict=False)
    for peephole in (cell.peephole_i, cell.peephole_f, cell.peephole_o):
        nn.init.zeros_(peephole)
    x = torch.randn(2, 7, 3)
    (y, state), (expected, end) = unroll(cell, x), unroll(plain, x)
    torch.testing.assert_close((y, *state), (expected, *end))


def test_the_output_gate_sees_the_memory_after_the_step_and_the_others_that_before() -> None:
    cell = PeepholeLSTMCell(3, 4)
    x, state = torch.randn(2, 3), PeepholeLSTMState(*torch.randn(2, 2, 4))
    gates = cell.gates(x, state)
    assert list(gates) == ["i", "f", "g", "o"]
    y, after = cell(x, state)
    torch.testing.assert_close(after.c, gates["f"] * state.c + gates["i"] * gates["g"])
    torch.testing.assert_close(y, gates["o"] * after.c.tanh())
    blind = PeepholeLSTMState(state.h, torch.zeros_like(state.c))
    with torch.no_grad():
        cell.peephole_o.zero_()
        other = cell.gates(x, blind)
        assert torch.equal(other["g"], gates["g"])
        torch.testing.assert_close(cell.gates(x, state)["o"], other["o"])
        moved = torch.logit(gates["i"]) - torch.logit(other["i"])
        torch.testing.assert_close(moved, cell.peephole_i * state.c, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("clip", [0.0, -1.0, float("nan")])
def test_a_clip_that_is_not_above_zero_is_refused(clip: float) -> None:
    with pytest.raises(ConfigError, match="PeepholeLSTMCell: cell_clip is above 0 or None, got"):
        PeepholeLSTMCell(3, 4, cell_clip=clip)


def test_a_subclass_with_its_own_step_keeps_it() -> None:
    class Louder(PeepholeLSTMCell):
        def forward(self, x: Tensor, state: PeepholeLSTMState) -> tuple[Tensor, PeepholeLSTMState]:
            return super().forward(2 * x, state)

    cell, plain = Louder(3, 4), PeepholeLSTMCell(3, 4)
    cell.load_state_dict(plain.state_dict())
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(unroll(cell, x)[0], unroll(plain, 2 * x)[0])


def test_the_kernel_says_what_it_is_or_why_there_is_none() -> None:
    cell = PeepholeLSTMCell(3, 4)
    kernel = cell.kernel(torch.zeros(1))
    assert not isinstance(kernel, str) and kernel.name == "the compiled LSTM with peepholes"
    assert isinstance(cell.kernel(torch.zeros(1).half()), str)
