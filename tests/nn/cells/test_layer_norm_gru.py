from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from recurra.errors import ShapeError
from recurra.nn.cells.layer_norm_gru import LayerNormGRUCell, LayerNormGRUState
from recurra.nn.unroll import unroll


def logistic(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def normal(v: np.ndarray, gain: np.ndarray, bias: np.ndarray, eps: float) -> np.ndarray:
    """Ba et al. 2016, equations 15 and 16 of the supplement, a row at a time."""
    rows = []
    for row in v:
        mu = sum(row) / len(row)
        sigma = np.sqrt(sum((a - mu) ** 2 for a in row) / len(row) + eps)
        rows.append((row - mu) / sigma * gain + bias)
    return np.array(rows)


def ba(x: np.ndarray, h: np.ndarray, p: dict[str, np.ndarray], eps: float) -> np.ndarray:
    """Ba et al. 2016, equations 22-25 of the supplement.

    The paper takes the new state by z, so its z is 1 - z of here, which a minus before z's sum
    says; its gates lie in the order z, r, under one normalisation, where order does not matter.
    """
    H = h.shape[1]
    gates, own = slice(0, 2 * H), slice(2 * H, 3 * H)

    def of_x(part: slice) -> np.ndarray:
        return normal(x @ p["weight_ih"][part].T, p["gain_ih"][part], p["bias_ih"][part], eps)

    def of_h(part: slice) -> np.ndarray:
        return normal(h @ p["weight_hh"][part].T, p["gain_hh"][part], p["bias_hh"][part], eps)

    r, z = np.split(of_h(gates) + of_x(gates), 2, axis=1)
    candidate = np.tanh(of_x(own) + logistic(r) * of_h(own))
    update = logistic(-z)
    return (1 - update) * h + update * candidate


def made(I: int = 3, H: int = 4, eps: float = 1e-5) -> LayerNormGRUCell:  # noqa: E741
    cell = LayerNormGRUCell(I, H, eps).double()
    for name in ("gain_ih", "gain_hh", "bias_ih", "bias_hh"):
        nn.init.normal_(getattr(cell, name))
    return cell


@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_equations(eps: float) -> None:
    cell = made(eps=eps)
    p = {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    h = np.random.default_rng(0).normal(size=(2, 4))
    state = start = LayerNormGRUState(torch.from_numpy(h))
    for t in range(5):
        h = ba(x[:, t].numpy(), h, p, eps)
        y, state = cell(x[:, t], state)
        np.testing.assert_allclose(y.detach().numpy(), h, rtol=1e-10)
        assert torch.equal(y, state.h)
    np.testing.assert_allclose(unroll(cell, x, start)[1].h.detach().numpy(), h, rtol=1e-10)


def test_sums_of_both_gates_are_normalised_together_and_the_candidates_apart() -> None:
    cell, v = made(H=50), torch.randn(2, 150).double() * 9 + 4
    r, z, n = cell._normalised(v, torch.ones(150).double(), torch.zeros(150).double())
    for part in (torch.cat([r, z], dim=1), n):
        torch.testing.assert_close(part.mean(dim=1), torch.zeros(2).double())
        torch.testing.assert_close(part.var(dim=1, correction=0), torch.ones(2).double())
    assert r.mean().abs() > 1e-3


def test_how_large_the_weights_are_does_not_matter() -> None:
    cell = made(eps=0.0)
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    first = LayerNormGRUState(torch.randn(2, 4).double())
    before = unroll(cell, x, first)[0]
    with torch.no_grad():
        cell.weight_ih *= 7
        cell.weight_hh *= 0.3
    torch.testing.assert_close(unroll(cell, x, first)[0], before)


def test_fresh_parameters() -> None:
    cell, again = LayerNormGRUCell(3, 5), LayerNormGRUCell(3, 5)
    for each in (cell, again):
        each.reset_parameters(torch.Generator().manual_seed(3))
    for (name, one), other in zip(cell.named_parameters(), again.parameters()):
        assert torch.equal(one, other)
        if name.startswith("gain"):
            assert (one == 1).all()
        elif name.startswith("bias"):
            assert not one.any()
        else:
            assert 0 < one.abs().max() < 5**-0.5


def test_gates_and_kernel() -> None:
    cell = made()
    x, h = torch.randn(2, 3).double(), torch.randn(2, 4).double()
    gates = cell.gates(x, LayerNormGRUState(h))
    assert list(gates) == ["r", "z", "n"]
    y = cell(x, LayerNormGRUState(h))[0]
    torch.testing.assert_close(y, (1 - gates["z"]) * gates["n"] + gates["z"] * h)
    assert cell.kernel(x).name == "the compiled layer-norm GRU"
    assert "not bfloat16" in cell.kernel(x.bfloat16())


def test_shapes_are_checked() -> None:
    with pytest.raises(ShapeError, match="LayerNormGRUCell"):
        made()(torch.zeros(2, 4).double(), LayerNormGRUState(torch.zeros(2, 4).double()))
