from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from recurra.nn.cells.layer_norm_lstm import LayerNormLSTMCell, LayerNormLSTMState
from recurra.nn.unroll import unroll


def logistic(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def normalise(z: np.ndarray, gain: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Ba et al. 2016, equation 15."""
    mean, deviation = z.mean(1, keepdims=True), np.sqrt(z.var(1, keepdims=True) + 1e-5)
    return gain * (z - mean) / deviation + bias


def ba(
    x: np.ndarray, h: np.ndarray, c: np.ndarray, p: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Ba et al. 2016, equations 20-22, the gates in our order."""
    net = normalise(h @ p["weight_hh"].T, p["gain_hh"], p["bias_hh"])
    net = net + normalise(x @ p["weight_ih"].T, p["gain_ih"], p["bias_ih"])
    i, f, g, o = np.split(net, 4, axis=1)
    c = logistic(f) * c + logistic(i) * np.tanh(g)
    return logistic(o) * np.tanh(normalise(c, p["gain_c"], p["bias_c"])), c


def varied(cell: LayerNormLSTMCell) -> LayerNormLSTMCell:
    """The cell with gains and biases that are not those of a fresh one."""
    for name, parameter in cell.named_parameters():
        if "weight" not in name:
            nn.init.normal_(parameter)
    return cell


def test_equations() -> None:
    cell = varied(LayerNormLSTMCell(3, 4)).double()
    p = {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    h, c = np.random.default_rng(0).normal(size=(2, 2, 4))
    state = start = LayerNormLSTMState(torch.from_numpy(h), torch.from_numpy(c))
    for t in range(5):
        h, c = ba(x[:, t].numpy(), h, c, p)
        y, state = cell(x[:, t], state)
        np.testing.assert_allclose(y.detach().numpy(), h, rtol=1e-11)
        np.testing.assert_allclose(state.c.detach().numpy(), c, rtol=1e-11)
    y, state = unroll(cell, x, start)
    np.testing.assert_allclose(y[:, -1].detach().numpy(), h, rtol=1e-10)
    np.testing.assert_allclose(state.c.detach().numpy(), c, rtol=1e-10)


def test_neither_the_scale_nor_the_mean_of_a_sum_matters() -> None:
    cell = varied(LayerNormLSTMCell(3, 4, eps=0.0)).double()
    x = torch.randn(2, 6, 3, dtype=torch.float64)
    state = LayerNormLSTMState(*torch.randn(2, 2, 4, dtype=torch.float64))
    before = unroll(cell, x, state)[0]
    with torch.no_grad():
        cell.weight_hh.mul_(7).add_(torch.randn(1, 4, dtype=torch.float64))
    torch.testing.assert_close(unroll(cell, 3 * x, state)[0], before)


def test_sums_without_variance_are_finite() -> None:
    cell = LayerNormLSTMCell(3, 4)  # h = 0 at first
    x = torch.zeros(2, 6, 3, requires_grad=True)
    y, _ = unroll(cell, x)
    y.sum().backward()
    assert y.isfinite().all() and x.grad is not None and x.grad.isfinite().all()


def test_the_memory_is_kept_as_it_is_and_read_normalised() -> None:
    cell = varied(LayerNormLSTMCell(3, 4))
    x, state = torch.randn(2, 3), LayerNormLSTMState(*torch.randn(2, 2, 4))
    gates = cell.gates(x, state)
    assert list(gates) == ["i", "f", "g", "o"]
    y, after = cell(x, state)
    torch.testing.assert_close(after.c, gates["f"] * state.c + gates["i"] * gates["g"])
    read = nn.functional.layer_norm(after.c, (4,), cell.gain_c, cell.bias_c)
    torch.testing.assert_close(y, gates["o"] * read.tanh())


def test_a_fresh_cell_has_gains_of_one_and_a_forget_bias() -> None:
    cell = LayerNormLSTMCell(3, 4)
    for gain in (cell.gain_ih, cell.gain_hh, cell.gain_c):
        assert (gain == 1).all()
    assert cell.bias_ih.tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8
    assert not cell.bias_hh.any() and not cell.bias_c.any()
    assert 0 < cell.weight_hh.abs().max() <= 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_kernel_says_what_it_is(dtype: torch.dtype) -> None:
    kernel = LayerNormLSTMCell(3, 4).kernel(torch.zeros(1, dtype=dtype))
    assert not isinstance(kernel, str)
    assert kernel.name == "the compiled LSTM with layer normalisation"
