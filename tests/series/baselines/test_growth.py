from __future__ import annotations

import math

import numpy as np
import pytest

from recurra.series.baselines.growth import Growth
from recurra.series.baselines.naive import SeasonalNaive

ONE_SIGMA = 0.8413447460685429


def point(values, season, horizon, history=None):
    given = values if history is None else history
    return Growth().fit(values, season).predict([given], horizon, [0.5])[0, :, 0]


def test_last_season_times_its_growth():
    # sums 10 and 12
    assert point([4, 6, 3, 9], 2, 5) == pytest.approx([3.6, 10.8, 3.6, 10.8, 3.6])


def test_only_the_last_two_seasons_count():
    assert point([-70, 4, 6, 3, 9], 2, 2) == pytest.approx([3.6, 10.8])


@pytest.mark.parametrize(
    ("values", "season", "why"),
    [
        ([4, -6, 3, 9], 2, "a negative value in the season before"),
        ([4, 6, 0, 9], 2, "a zero in the last season"),
        ([6, 3, 9], 2, "less than two seasons"),
        ([4, 6, 3, 9], 1, "no season"),
        ([9], 2, "one observation"),
    ],
)
def test_else_it_is_seasonal_naive(values, season, why):
    naive = SeasonalNaive().fit(values, season).predict([values], 5, [0.5])[0, :, 0]
    assert point(values, season, 5).tolist() == naive.tolist(), why


@pytest.mark.parametrize(("before", "growth"), [(1e-9, 2), (1e9, 0.5), (4, 1.5)])
def test_growth_is_at_most_twofold(before, growth):
    assert point([before, before, 6, 6], 2, 4) == pytest.approx([6 * growth] * 4)


def test_windows_are_judged_each_by_itself():
    fitted = Growth().fit([4, 6, 3, 9], 2)
    found = fitted.predict([[4, 6, 3, 9], [-4, 6, 3, 9], [1, 1, 1, 1]], 2, [0.5])[:, :, 0]
    assert found == pytest.approx(np.array([[3.6, 10.8], [3, 9], [1, 1]]))


def test_deviation_of_errors_a_season_ahead():
    y = [2.0, 2.0, 3.0, 3.0, 3.0, 6.0]
    # y_5 = 3: seasons (3, 3) over (2, 2) say 3 * 1.5; y_6 = 6: (3, 3) over (2, 3) say 3 * 1.2
    sigma = math.sqrt(((3 - 4.5) ** 2 + (6 - 3.6) ** 2) / 2)
    upper = Growth().fit(y, 2).predict([y], 3, [0.5, ONE_SIGMA])[0]
    assert upper[:, 1] - upper[:, 0] == pytest.approx([sigma, sigma, sigma * 2**0.5])
