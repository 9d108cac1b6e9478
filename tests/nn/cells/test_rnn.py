from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from recurra.errors import ConfigError
from recurra.nn.cells.rnn import RNNCell
from recurra.nn.unroll import unroll

BOTH = pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])


def elman(x: np.ndarray, h: np.ndarray, p: dict[str, np.ndarray], relu: bool) -> np.ndarray:
    """Elman 1990: context units copy the hidden units of the step before."""
    net = x @ p["weight_ih"].T + h @ p["weight_hh"].T + p["bias_ih"] + p["bias_hh"]
    return np.where(net > 0, net, 0) if relu else np.tanh(net)


@BOTH
def test_equations(nonlinearity: str) -> None:
    cell = RNNCell(3, 4, nonlinearity).double()
    p = {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    state = cell.initial_state(2)
    h = np.zeros((2, 4))
    for t in range(5):
        h = elman(x[:, t].numpy(), h, p, nonlinearity == "relu")
        y, state = cell(x[:, t], state)
        np.testing.assert_allclose(y.detach().numpy(), h, rtol=1e-12)
        assert torch.equal(y, state.h)
    np.testing.assert_allclose(unroll(cell, x)[0][:, -1].detach().numpy(), h, rtol=1e-12)


@BOTH
def test_torch_twins_with_the_same_weights(nonlinearity: str) -> None:
    cell = RNNCell(3, 4, nonlinearity)
    twin = nn.RNNCell(3, 4, nonlinearity=nonlinearity)
    cell.load_state_dict(twin.state_dict())
    x, h = torch.randn(2, 3), torch.randn(2, 4)
    torch.testing.assert_close(cell(x, cell.initial_state(2)._replace(h=h))[0], twin(x, h))

    layer = nn.RNN(3, 4, nonlinearity=nonlinearity, batch_first=True)
    layer.load_state_dict({f"{name}_l0": value for name, value in cell.state_dict().items()})
    x = torch.randn(2, 7, 3)
    y, state = unroll(cell, x, cell.initial_state(2)._replace(h=h))
    expected, h_end = layer(x, h.unsqueeze(0))
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(state.h, h_end[0])


def test_an_unknown_nonlinearity_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"nonlinearity is one of .*, got 'galu'\. Did .* 'gelu'"):
        RNNCell(3, 4, "galu")


def test_the_kernel_says_what_it_is() -> None:
    assert RNNCell(3, 4).kernel(torch.zeros(1)).name == "ATen's RNN loop"
