from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from recurra.errors import ConfigError
from recurra.nn.head.quantile import QuantileHead, pinball

LEVELS = (0.025, 0.1, 0.3, 0.5, 0.6, 0.9)


def drawn(head: QuantileHead, size: float = 1.0) -> Any:
    for parameter in head.parameters():
        nn.init.uniform_(parameter, -size, size)
    return head


def test_the_quantile_loss_is_its_two_slopes() -> None:
    found = pinball(torch.tensor([[1.0, 4.0]]), torch.tensor([3.0]), torch.tensor([0.2, 0.9]))
    assert found[0].tolist() == pytest.approx([0.2 * 2, 0.1 * 1])


@pytest.mark.parametrize("level", [0.1, 0.5, 0.8])
def test_the_quantile_loss_is_least_at_the_quantile(level: float) -> None:
    sample = torch.randn(5001).double()
    places = torch.linspace(-2, 2, 401).double()
    losses = pinball(places.expand(5001, 401), sample, torch.tensor(level)).mean(0)
    least = float(places[losses.argmin()])
    assert least == pytest.approx(float(sample.quantile(level)), abs=0.011)


def test_quantiles_are_a_middle_and_distances_outward() -> None:
    head = drawn(QuantileHead(4, 3, LEVELS))
    hidden = torch.randn(2, 5, 4)
    raw = (hidden @ head.linear.weight.T + head.linear.bias).view(2, 5, 3, 6)
    found = head(hidden)
    assert found.shape == (2, 5, 3, 6)
    steps = torch.log1p(raw.exp())
    torch.testing.assert_close(found[..., 3], raw[..., 3])
    torch.testing.assert_close(found[..., 2], raw[..., 3] - steps[..., 2])
    torch.testing.assert_close(found[..., 0], raw[..., 3] - steps[..., :3].sum(-1))
    torch.testing.assert_close(found[..., 5], raw[..., 3] + steps[..., 4:].sum(-1))
    assert head.quantiles(found) is found
    assert head.middle == 3


@given(st.integers(0, 1000), st.floats(0.01, 100))
def test_quantiles_never_cross_whatever_the_weights(seed: int, size: float) -> None:
    torch.manual_seed(seed)
    found = drawn(QuantileHead(4, 2, LEVELS), size)(10 * torch.randn(3, 4))
    assert bool((found.diff(dim=-1) >= 0).all())


def test_the_quantile_heads_loss_is_the_mean_over_its_levels() -> None:
    head = drawn(QuantileHead(4, 3, LEVELS))
    targets = torch.randn(2, 3)
    told = head(torch.randn(2, 4)).detach()
    found = head.loss(told, targets)
    for b in range(2):
        for n in range(3):
            errors = [float(targets[b, n] - q) for q in told[b, n]]
            each = [max(a * e, (a - 1) * e) for a, e in zip(LEVELS, errors)]
            assert float(found[b, n]) == pytest.approx(np.mean(each), rel=1e-5)


def test_a_fresh_quantile_head_says_the_same_of_everything() -> None:
    found = QuantileHead(4, 2, LEVELS)(torch.randn(3, 4))
    expected = torch.tensor([-0.3, -0.2, -0.1, 0, 0.1, 0.2]).expand(3, 2, 6)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("levels", [(0.1, 0.9), (0.5, 0.1), (0.1, 0.5, 0.5)])
def test_levels_that_do_not_increase_about_a_median_are_refused(levels: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match=r"levels increase and hold 0\.5, got"):
        QuantileHead(4, 2, levels)


def test_gradients_are_those_of_finite_differences() -> None:
    head = drawn(QuantileHead(3, 2, LEVELS)).double()
    hidden = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    targets = torch.randn(2, 2).double()
    leaves = (hidden, *head.parameters())
    assert torch.autograd.gradcheck(lambda hidden, *_: head.loss(head(hidden), targets), leaves)
