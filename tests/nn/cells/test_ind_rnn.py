from __future__ import annotations

import numpy as np
import torch

from recurra.nn.cells.ind_rnn import IndRNNCell, IndRNNState
from recurra.nn.cells.rnn import RNNCell
from recurra.nn.unroll import unroll, unroll_plain


def li(x: np.ndarray, h: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
    """Li et al. 2018, equation 2, unit by unit."""
    after = np.empty_like(h)
    for n in range(h.shape[1]):
        sums = x @ p["weight_ih"][n] + p["weight_hh"][n] * h[:, n] + p["bias_ih"][n]
        after[:, n] = np.maximum(sums, 0)
    return after


def test_equations() -> None:
    cell = IndRNNCell(3, 4).double()
    p = {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    h = np.random.default_rng(0).normal(size=(2, 4))
    state = start = IndRNNState(torch.from_numpy(h))
    for t in range(5):
        h = li(x[:, t].numpy(), h, p)
        y, state = cell(x[:, t], state)
        np.testing.assert_allclose(y.detach().numpy(), h, rtol=1e-12)
        assert torch.equal(y, state.h)
    np.testing.assert_allclose(unroll(cell, x, start)[1].h.detach().numpy(), h, rtol=1e-12)


def test_it_is_the_simple_network_whose_recurrent_matrix_is_diagonal() -> None:
    cell, twin = IndRNNCell(3, 4), RNNCell(3, 4, "relu")
    with torch.no_grad():
        twin.weight_ih.copy_(cell.weight_ih)
        twin.weight_hh.copy_(torch.diag(cell.weight_hh))
        twin.bias_ih.copy_(cell.bias_ih)
        twin.bias_hh.zero_()
    x = torch.randn(2, 9, 3)
    torch.testing.assert_close(unroll(cell, x)[0], unroll(twin, x)[0])


def test_recurrent_weights_start_between_0_and_1() -> None:
    weight = IndRNNCell(3, 1000).weight_hh
    assert 0 <= weight.min() < 0.02 and 0.98 < weight.max() <= 1
    assert abs(weight.mean() - 0.5) < 0.05


def test_long_sequences_in_single_precision() -> None:
    cell = IndRNNCell(5, 40)
    x = torch.randn(3, 300, 5)
    torch.testing.assert_close(unroll(cell, x)[0], unroll_plain(cell, x)[0], rtol=1e-4, atol=1e-4)


def test_the_kernel_says_what_it_is() -> None:
    name = IndRNNCell(3, 4).kernel(torch.zeros(1)).name
    assert name == "a compiled loop over each unit's own sequence"
