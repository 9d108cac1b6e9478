"""Exploding gradients: against finite differences, and a step of descent by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from recurra.demo import explosion as demo
from recurra.demo.explosion import explosion
from recurra.randomness import generator


def test_its_norms_grow_and_its_radius_is_the_scale_s() -> None:
    found = explosion()
    assert len(found.norms) == 101
    assert found.norms[100] > 1e3 * found.norms[0] and found.rate > 1
    cell, _ = demo._network(4.0, generator(1, "explosion weights"))
    usual, _ = demo._network(1.0, generator(1, "explosion weights"))
    values = np.linalg.eigvals(usual.weight_hh.detach().numpy())
    assert found.spectral_radius == pytest.approx(4 * np.abs(values).max())
    assert torch.equal(cell.weight_hh, 4 * usual.weight_hh)
    assert explosion(times=1.0).norms[100] < 1e-10, "as it is usually drawn it vanishes"


def test_the_step_is_descent_clipped_and_not() -> None:
    found = explosion(10)
    cell, read = demo._network(4.0, generator(1, "explosion weights"))
    draws = generator(1, "explosion inputs")
    torch.randn(31, 16, generator=draws, dtype=torch.float64)
    x = torch.randn(20, 35, 16, generator=draws, dtype=torch.float64)
    parameters = [*cell.parameters(), *read.parameters()]

    def loss() -> torch.Tensor:
        h = torch.zeros(20, 64, dtype=torch.float64)
        for t in range(35):
            h = torch.tanh(
                x[:, t] @ cell.weight_ih.T + cell.bias_ih + h @ cell.weight_hh.T + cell.bias_hh
            )
        return ((h @ read.weight.T + read.bias)[:, 0] - x.mean((1, 2))).square().mean()

    begun = [parameter.detach().clone() for parameter in parameters]
    before = loss()
    before.backward()  # type: ignore[no-untyped-call]
    assert found.training.loss == pytest.approx(float(before.detach()))
    norm = torch.cat([p.grad.flatten() for p in parameters]).norm()
    assert found.training.unclipped.gradient_norm == pytest.approx(float(norm), rel=1e-9)
    after = {}
    for clipped in (False, True):
        if clipped:
            nn.utils.clip_grad_norm_(parameters, 5.0)
        with torch.no_grad():
            for parameter, start in zip(parameters, begun):
                parameter.copy_(start - parameter.grad)
            after[clipped] = float(loss())
    assert found.training.unclipped.loss == pytest.approx(after[False], rel=1e-6)
    assert found.training.clipped.loss == pytest.approx(after[True], rel=1e-4)
    clipped = found.training.clipped
    assert (clipped.gradient_norm, clipped.step_norm) == pytest.approx((5.0, 5.0))
    assert found.training.unclipped.step_norm == pytest.approx(float(norm))


def test_what_is_short_enough_is_not_clipped() -> None:
    found = explosion(5, clip_norm=1e9)
    assert found.training.clipped == found.training.unclipped


def test_it_is_a_function_of_its_seed() -> None:
    torch.manual_seed(1)
    one = explosion(5)
    torch.manual_seed(2)
    assert explosion(5) == one != explosion(5, seed=2)
