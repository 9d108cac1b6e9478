from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.series.baselines.naive import Growth, Naive, SeasonalNaive

ONE_SIGMA = 0.8413447460685429  # the normal distribution's level one deviation up


def test_the_last_season_again():
    fitted = SeasonalNaive().fit([1, 2, 3, 11, 12, 13], season=3)
    point = fitted.predict([[1, 2, 3, 11, 12, 13], [4, 5, 6, 7, 8, 9]], 7, [0.5])[:, :, 0]
    assert point.tolist() == [[11, 12, 13, 11, 12, 13, 11], [7, 8, 9, 7, 8, 9, 7]]


def test_the_deviation_grows_by_the_season():
    # y_t - y_(t-2): 3, 4, -3, -4 -> root of (9 + 16 + 9 + 16) / 4
    fitted = SeasonalNaive().fit([0, 0, 3, 4, 0, 0], season=2)
    upper = fitted.predict([[0.0, 0.0]], 5, [ONE_SIGMA])[0, :, 0]
    one = math.sqrt(50 / 4)
    assert upper == pytest.approx([one, one, one * 2**0.5, one * 2**0.5, one * 3**0.5])


def test_the_last_observation_again():
    fitted = Naive().fit([1, 4, 0], season=24)
    quantiles = fitted.predict([[5.0, 7.0]], 4, [0.5, ONE_SIGMA])[0]
    assert quantiles[:, 0].tolist() == [7, 7, 7, 7]
    one = math.sqrt((9 + 16) / 2)
    assert quantiles[:, 1] == pytest.approx([7 + one * h**0.5 for h in (1, 2, 3, 4)])


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=20), st.integers(1, 25), st.integers(1, 30))
def test_each_step_repeats_the_one_a_season_before(values, season, horizon):
    y = list(values)
    lag = season if len(y) > season else 1
    for _ in range(horizon):
        y.append(y[-lag])
    found = SeasonalNaive().fit(values, season).predict([values], horizon, [0.5])[0, :, 0]
    assert found.tolist() == y[len(values) :]


def test_a_history_of_one_season_is_fitted_as_if_there_were_none():
    fitted = SeasonalNaive().fit([1.0, 4.0, 0.0], season=3)
    assert fitted.predict([[5.0, 6.0, 7.0]], 2, [0.5])[0, :, 0].tolist() == [7, 7]
    assert fitted.spread(2) == pytest.approx([math.sqrt(25 / 2), 5])


def test_a_window_shorter_than_a_season_repeats_its_last():
    fitted = SeasonalNaive().fit(np.arange(50.0), season=12)
    assert fitted.predict([[1.0, 2.0, 3.0]], 2, [0.5])[0, :, 0].tolist() == [3, 3]


def grown(values, season, horizon, history=None):
    given = values if history is None else history
    return Growth().fit(values, season).predict([given], horizon, [0.5])[0, :, 0]


def test_last_season_times_its_growth():
    # sums 10 and 12
    assert grown([4, 6, 3, 9], 2, 5) == pytest.approx([3.6, 10.8, 3.6, 10.8, 3.6])


def test_only_the_last_two_seasons_count():
    assert grown([-70, 4, 6, 3, 9], 2, 2) == pytest.approx([3.6, 10.8])


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
def test_without_growth_it_is_seasonal_naive(values, season, why):
    naive = SeasonalNaive().fit(values, season).predict([values], 5, [0.5])[0, :, 0]
    assert grown(values, season, 5).tolist() == naive.tolist(), why


@pytest.mark.parametrize(("before", "growth"), [(1e-9, 2), (1e9, 0.5), (4, 1.5)])
def test_growth_is_at_most_twofold(before, growth):
    assert grown([before, before, 6, 6], 2, 4) == pytest.approx([6 * growth] * 4)


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
