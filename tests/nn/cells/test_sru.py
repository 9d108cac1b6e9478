from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.nn.cells.sru import SRUCell, SRUState
from recurra.nn.unroll import unroll, unroll_plain

SIZES = pytest.mark.parametrize("I", [3, 4])  # with a product for the highway, and without


def logistic(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def lei(x: np.ndarray, c: np.ndarray, p: dict[str, np.ndarray], alpha: float):
    """Lei et al. 2018, equations 1-5, with the alpha of section 3.2."""
    H = c.shape[1]
    W = np.split(p["weight_ih"], len(p["weight_ih"]) // H)
    v_f, v_r = np.split(p["weight_hh"], 2)
    b_f, b_r = np.split(p["bias_ih"], 2)
    f = logistic(x @ W[1].T + v_f * c + b_f)
    r = logistic(x @ W[2].T + v_r * c + b_r)
    c = f * c + (1 - f) * (x @ W[0].T)
    past = x if len(W) == 3 else x @ W[3].T
    return r * c + (1 - r) * past * alpha, c


@SIZES
def test_equations(I: int) -> None:  # noqa: E741
    cell = SRUCell(I, 4, highway_bias=-1.0).double()
    p = {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}
    x = torch.randn(2, 5, I, dtype=torch.float64)
    c = np.random.default_rng(0).normal(size=(2, 4))
    state = start = SRUState(torch.from_numpy(c))
    for t in range(5):
        h, c = lei(x[:, t].numpy(), c, p, np.sqrt(1 + 2 * np.exp(-1.0)))
        y, state = cell(x[:, t], state)
        np.testing.assert_allclose(y.detach().numpy(), h, rtol=1e-12)
        np.testing.assert_allclose(state.c.detach().numpy(), c, rtol=1e-12)
    y, end = unroll(cell, x, start)
    np.testing.assert_allclose(y[:, -1].detach().numpy(), h, rtol=1e-12)
    np.testing.assert_allclose(end.c.detach().numpy(), c, rtol=1e-12)


def test_the_highway_has_a_product_where_sizes_differ_alone() -> None:
    assert SRUCell(4, 4).weight_ih.shape == (12, 4)
    assert SRUCell(3, 4).weight_ih.shape == (16, 3)


def test_the_highway_s_bias_is_added_at_initialisation() -> None:
    cell, plain = SRUCell(3, 4, highway_bias=-3.0), SRUCell(3, 4)
    for each in (cell, plain):
        each.reset_parameters(torch.Generator().manual_seed(1))
    moved = cell.bias_ih - plain.bias_ih
    torch.testing.assert_close(moved, torch.tensor([0.0, -3.0]).repeat_interleave(4))
    assert plain.scale == pytest.approx(3**0.5)


@SIZES
def test_long_sequences_in_single_precision(I: int) -> None:  # noqa: E741
    cell, x = SRUCell(I, 40), torch.randn(3, 300, I)
    torch.testing.assert_close(unroll(cell, x)[0], unroll_plain(cell, x)[0], rtol=1e-4, atol=1e-4)


def test_the_gates_make_the_state() -> None:
    cell, x, state = SRUCell(3, 4), torch.randn(2, 3), SRUState(torch.randn(2, 4))
    n, f, r = cell.gates(x, state).values()
    torch.testing.assert_close(cell(x, state)[1].c, f * state.c + (1 - f) * n)
    assert r.shape == (2, 4)
    assert cell.kernel(x).name == "a compiled loop over each unit's own sequence"
