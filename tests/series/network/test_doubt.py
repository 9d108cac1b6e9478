"""Bounds while too little was seen to tell a scale: as wide as what was learned from varies."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from torch import Tensor

from recurra.series.data.windows import Scaling, Window
from recurra.series.judging.metrics import LEVELS
from recurra.series.network.doubt import doubted, usual_deviations

SCALING = Scaling(3, "season")
LEAST = 4
USUAL = torch.tensor([2.0, 10.0]).double()
NORMAL = torch.tensor([NormalDist().inv_cdf(level) for level in LEVELS], dtype=torch.float64)


def window(observed: list[list[int]], deviation: list[float] | None = None) -> Window:
    there = torch.tensor(observed, dtype=torch.bool)
    B, L = there.shape
    given = [math.nan] * B if deviation is None else deviation
    return Window(
        values=torch.where(there, 5.0, 0.0).double(),
        observed=there,
        seen=torch.zeros(B, L, 0),
        known=torch.zeros(B, 2, 0),
        static=torch.zeros(B, 0),
        deviation=torch.tensor(given).double(),
        variable=torch.arange(B) % 2,
    )


def sure(rows: int, spread: float = 0.0) -> Tensor:
    return (5 + spread * NORMAL).expand(rows, 2, -1).clone()


@pytest.mark.parametrize(
    ("observed", "short"),
    [
        ([0, 0, 0, 0, 0, 1], True),
        ([0, 0, 0, 1, 1, 1], True),
        ([0, 0, 0, 1, 1, 0], True),
        ([1, 0, 0, 0, 0, 0], True),
        ([0, 0, 0, 0, 0, 0], True),
        ([0, 0, 1, 1, 1, 1], False),
        ([0, 0, 1, 0, 0, 1], False),
        ([1, 0, 0, 1, 0, 0], False),
        ([1, 1, 1, 1, 1, 1], False),
    ],
)
def test_bounds_are_wide_until_a_season_and_one_more_were_seen(
    observed: list[int], short: bool
) -> None:
    found = doubted(sure(1), window([observed]), LEAST, USUAL, SCALING)
    expected = sure(1, math.sqrt(2) * 2.0) if short else sure(1)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_rows_are_as_wide_as_their_own_deviation_or_as_is_usual_for_their_target() -> None:
    observed = [[0, 0, 0, 1, 1, 1]] * 3 + [[1, 1, 1, 1, 1, 1]]
    seen = window(observed, [7.0, math.nan, math.nan, 7.0])
    found = doubted(sure(4), seen, LEAST, USUAL, SCALING)
    for row, deviation in enumerate([7.0, 10.0, 2.0, 7.0]):  # the last is still, and changed before
        torch.testing.assert_close(found[row], sure(1, math.sqrt(2) * deviation)[0])


def test_what_the_network_doubts_more_is_left_to_the_bit() -> None:
    seen = window([[0, 0, 0, 0, 0, 1]])
    assert torch.equal(doubted(sure(1, 90.0), seen, LEAST, USUAL, SCALING), sure(1, 90.0))


def test_deviations_of_logarithms_are_factors() -> None:
    seen = window([[0, 0, 0, 0, 0, 1], [0, 1, 1, 1, 1, 1]])
    told = doubted(sure(2), seen, LEAST, USUAL / 10, SCALING._replace(logarithm=True))
    torch.testing.assert_close(told[0, 0], 5 * (math.sqrt(2) * 0.2 * NORMAL).exp())
    assert torch.equal(told[1], sure(2)[1]), "no rounding by a logarithm and back"


def test_of_a_window_that_is_one_number_that_number_is_the_median() -> None:
    near = torch.full((3, 2, 11), 5.0 + 1e-9) + 1e-12 * NORMAL
    told = doubted(near, window([[1] * 6] * 3, [0.0, math.nan, 2.0]), LEAST, USUAL, SCALING)
    assert (told[..., LEVELS.index(0.5)] == 5.0).all()
    assert (told[0] == 5.0).all(), "it has never changed"
    torch.testing.assert_close(told[1] - 5, near[1] - near[1, :, 5:6], rtol=0, atol=1e-15)
    torch.testing.assert_close(told[2], sure(1, math.sqrt(2) * 2.0)[0])
    nothing = window([[1] * 6], [0.0])._replace(values=torch.zeros(1, 6).double())
    assert (doubted(torch.full((1, 2, 11), 4.6e-42), nothing, LEAST, USUAL, SCALING) == 0).all()


def test_usual_deviations_are_root_mean_squares_of_each_target() -> None:
    found = usual_deviations(np.array([3.0, np.nan, np.nan, np.nan, 4.0, np.nan]), 2)
    assert found.tolist() == [math.sqrt(12.5), 0.0]


def test_the_interval_holds_whatever_series_like_those_do_next() -> None:
    """Seasonal series told by their first observation alone, without any network's help."""
    draw = np.random.default_rng(1)
    first, later = draw.normal(50, 3, size=(2, 4000))
    seen = window([[0, 0, 0, 0, 0, 1]] * 4000, [3.0] * 4000)
    point = torch.from_numpy(first)[:, None, None].expand(-1, 1, 11)
    told = doubted(point, seen, LEAST, USUAL, SCALING).numpy()[:, 0]
    for low, share in ((0, 0.95), (1, 0.8)):
        inside = ((told[:, low] <= later) & (later <= told[:, -1 - low])).mean()
        assert inside == pytest.approx(share, abs=0.02)
