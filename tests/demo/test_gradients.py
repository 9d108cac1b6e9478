"""Vanishing gradients: against a product of Jacobians in numpy, and as theory has them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.demo import gradients as demo
from recurra.demo.gradients import GradientNorms, gradients, jacobian_norms
from recurra.nn.cells import CELLS
from recurra.nn.cells.rnn import RNNCell


def brute_force(cell: RNNCell, x: np.ndarray) -> list[float]:
    """||diag(1 - h_T^2) W ... diag(1 - h_{T-k}^2) U|| for every k, by the chain rule."""
    U, W = cell.weight_ih.detach().numpy(), cell.weight_hh.detach().numpy()
    b = (cell.bias_ih + cell.bias_hh).detach().numpy()
    h, slopes = np.zeros(len(W)), []
    for step in x:
        h = np.tanh(U @ step + W @ h + b)
        slopes.append(np.diag(1 - h**2))
    norms, onward = [], np.eye(len(W))
    for slope in reversed(slopes):
        norms.append(float(np.linalg.norm(onward @ slope @ U)))
        onward = onward @ slope @ W
    return norms


def test_an_rnns_norms_are_a_product_of_jacobians() -> None:
    torch.manual_seed(1)
    cell = RNNCell(3, 5).double()
    x = torch.randn(40, 3, dtype=torch.float64)
    np.testing.assert_allclose(jacobian_norms(cell, x), brute_force(cell, x.numpy()), rtol=1e-9)


@pytest.mark.parametrize("name", CELLS)
def test_any_cells_norms_are_those_of_small_changes(name: str) -> None:
    torch.manual_seed(2)
    cell = CELLS[name](2, 3).double()
    x = torch.randn(6, 2, dtype=torch.float64)

    def last(inputs: torch.Tensor) -> torch.Tensor:
        state = cell.initial_state()
        for step in inputs:
            y, state = cell(step[None], state)
        return y[0].detach()

    expected = []
    for t in reversed(range(6)):
        change = torch.zeros(2, 6, 2, dtype=torch.float64)
        change[0, t, 0] = change[1, t, 1] = 1e-6
        rows = [(last(x + each) - last(x - each)) / 2e-6 for each in change]
        expected.append(float(torch.stack(rows).norm()))
    np.testing.assert_allclose(jacobian_norms(cell, x), expected, rtol=1e-7, atol=1e-10)


def test_a_relu_rnn_of_one_unit_multiplies_by_its_weight() -> None:
    cell = RNNCell(1, 1, nonlinearity="relu").double()
    for name, value in (("ih", 2.0), ("hh", 0.5)):
        getattr(cell, f"weight_{name}").data.fill_(value)
        getattr(cell, f"bias_{name}").data.zero_()
    found = jacobian_norms(cell, torch.ones(5, 1, dtype=torch.float64))
    assert found.tolist() == [2.0, 1.0, 0.5, 0.25, 0.125]


def test_what_the_demonstration_says_is_so() -> None:
    found = gradients(40, networks=3)
    assert found.distances == list(range(41))
    assert list(found.norms) == ["rnn", "gru", "lstm", "lstm_forget_bias_3"]
    for name, norms in found.norms.items():
        low, high = found.lowest[name], found.highest[name]
        assert all(a <= b <= c for a, b, c in zip(low, norms, high))
    # the weights' spectral radius is 1 / sqrt(3), and a tanh shrinks it further
    assert 0.45 < found.rate("rnn") < 3**-0.5 < found.rate("gru") < 0.73 < found.rate("lstm") < 0.95
    assert found.rate("lstm_forget_bias_3") > 0.95
    fallen = [found.falls_to(name, 1e-3) for name in found.norms]
    assert fallen[:3] == sorted(fallen[:3], key=lambda k: k or 99)
    assert fallen[3] is None
    assert fallen[0] == next(
        k for k, norm in enumerate(found.norms["rnn"]) if norm < found.norms["rnn"][0] / 1000
    )


def test_it_is_a_function_of_its_seed() -> None:
    small = {"hidden_size": 4, "input_size": 2, "networks": 2}
    torch.manual_seed(1)
    one = gradients(5, **small)
    torch.manual_seed(2)
    assert gradients(5, **small) == one
    assert gradients(5, **small, seed=2).norms != one.norms


def test_the_mean_over_networks_is_geometric(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {0: np.array([1.0, 1e-8]), 1: np.array([4.0, 1e-4])}
    one = {number: (row, {"w": 2.0**number}) for number, row in rows.items()}
    monkeypatch.setattr(demo, "_one_network", lambda *given: one[given[-1]])
    found = gradients(1, networks=2)
    assert found.norms["gru"] == pytest.approx([2.0, 1e-6])
    assert (found.lowest["gru"], found.highest["gru"]) == ([1.0, 1e-8], [4.0, 1e-4])
    assert found.parameters["gru"] == pytest.approx({"w": 2**0.5})


def test_the_rate_is_that_of_the_farther_half() -> None:
    norms = {"rnn": [9.0, 7.0, 8.0, 4.0, 2.0]}
    found = GradientNorms(list(range(5)), norms, norms, norms, 1, 1, 1, {})
    assert found.rate("rnn") == pytest.approx(0.5)
    assert (found.falls_to("rnn", 0.5), found.falls_to("rnn", 0.1)) == (3, None)
