"""The weighted seasons against a loop over them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from recurra.series.network.smoothing import GAIN, MOST_SEASONS, Smoothing


def softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum()


@pytest.mark.parametrize(
    ("context", "season", "horizon"), [(12, 4, 6), (14, 4, 3), (9, 1, 5), (5, 5, 11)]
)
def test_it_is_level_and_shape_each_weighted_by_how_far_back(
    context: int, season: int, horizon: int
) -> None:
    smoothing = Smoothing(context, season).double()
    stream = torch.Generator().manual_seed(1)
    for parameter in smoothing.parameters():
        nn.init.uniform_(parameter, -0.3, 0.3, generator=stream)
    values = torch.randn(3, context, generator=stream).double()
    found = smoothing(values, horizon).detach().numpy()
    count = context // season
    v = softmax(GAIN * smoothing.level.detach().numpy())
    w = softmax(GAIN * smoothing.shape.detach().numpy())
    for b, row in enumerate(values.numpy()):
        back = [row[context - (k + 1) * season : context - k * season] for k in range(count)]
        level = sum(v[k] * back[k].mean() for k in range(count))
        shape = sum(w[k] * (back[k] - back[k].mean()) for k in range(count))
        expected = [level + shape[h % season] for h in range(horizon)]
        np.testing.assert_allclose(found[b], expected, rtol=1e-9)


def test_at_the_start_the_last_season_counts_nearly_alone() -> None:
    smoothing = Smoothing(12, 4)
    assert torch.softmax(GAIN * smoothing.level, 0)[0].item() == pytest.approx(0.98, abs=0.01)
    assert torch.softmax(GAIN * smoothing.shape, 0)[0].item() == pytest.approx(0.78, abs=0.01)
    repeated = torch.tensor([[1.0, 5.0, 2.0, 4.0]]).repeat(1, 3)
    torch.testing.assert_close(smoothing(repeated, 8), repeated[:, :8], rtol=1e-5, atol=1e-5)


def test_of_a_long_context_only_the_last_seasons_count() -> None:
    smoothing = Smoothing(100, 2)
    values = torch.randn(2, 100)
    other = values.clone()
    other[:, : 100 - 2 * MOST_SEASONS] = 9.0
    torch.testing.assert_close(smoothing(values, 3), smoothing(other, 3))
    assert smoothing.level.shape == smoothing.shape.shape == (MOST_SEASONS,)


def test_with_seasons_of_one_step_it_can_be_exponential_smoothing() -> None:
    smoothing = Smoothing(10, 1).double()
    with torch.no_grad():
        smoothing.level.copy_(torch.arange(10) * np.log(0.7) / GAIN)
    values = torch.randn(1, 10).double()
    weights = 0.7 ** np.arange(10)
    expected = (values[0].numpy()[::-1] * weights).sum() / weights.sum()
    assert smoothing(values, 2).tolist()[0] == pytest.approx([expected] * 2)


def test_its_weights_learn() -> None:
    smoothing = Smoothing(12, 4).double()
    values = torch.randn(2, 12).double()
    leaves = (smoothing.level, smoothing.shape)
    assert torch.autograd.gradcheck(lambda *_: smoothing(values, 5), leaves)
