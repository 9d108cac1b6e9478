"""What every entry of BASELINES keeps to."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.errors import ConfigError
from recurra.series.baselines import BASELINES
from recurra.series.baselines.base import Baseline, fill_forward

LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)


@pytest.fixture(params=list(BASELINES))
def name(request):
    return request.param


def seasonal(seed=0, length=120, season=6):
    rng = np.random.default_rng(seed)
    t = np.arange(length)
    return 20 + 0.05 * t + 5 * np.sin(2 * np.pi * t / season) + rng.normal(size=length)


def forecast(name, values, season, horizon, levels=LEVELS):
    return BASELINES[name]().fit(values, season).predict(values[None], horizon, levels)[0]


def test_names_are_those_of_the_report():
    names = ["naive", "seasonal_naive", "drift", "growth", "ar", "ar2", "theta", "ses"]
    assert list(BASELINES) == names
    with pytest.raises(ConfigError, match=r"named 'thetta'\. Did you mean 'theta'\?"):
        BASELINES["thetta"]


def test_is_a_baseline(name):
    assert issubclass(BASELINES[name], Baseline)


def test_many_windows_at_once_are_as_one_at_a_time(name):
    y = seasonal()
    fitted = BASELINES[name]().fit(y[:90], 6)
    windows = np.lib.stride_tricks.sliding_window_view(y, 30)
    together = fitted.predict(windows, 8, LEVELS)
    assert together.shape == (91, 8, 5)
    for row in (0, 17, 90):
        assert np.allclose(together[row], fitted.predict(windows[row : row + 1], 8, LEVELS)[0])


def test_quantiles_increase_and_surround_the_median(name):
    quantiles = forecast(name, seasonal(), 6, 15)
    assert (np.diff(quantiles, axis=1) > 0).all()
    assert np.allclose(quantiles[:, 0] + quantiles[:, 4], 2 * quantiles[:, 2])


def test_the_farther_the_less_certain(name):
    spread = BASELINES[name]().fit(seasonal(), 6).spread(40)
    assert spread.shape == (40,)
    assert (np.diff(spread) >= -1e-12).all()


def test_a_shorter_horizon_is_the_beginning_of_a_longer_one(name):
    y = seasonal()
    assert np.allclose(forecast(name, y, 6, 4), forecast(name, y, 6, 20)[:4])


@given(factor=st.sampled_from([1e-3, 0.5, 7.0, 1e5]), seed=st.integers(0, 50))
@pytest.mark.parametrize("name", list(BASELINES))
def test_a_change_of_unit(name, factor, seed):
    y = seasonal(seed)
    assert np.allclose(
        forecast(name, factor * y, 6, 8), factor * forecast(name, y, 6, 8), rtol=1e-6
    )


@given(seed=st.integers(0, 50))
@pytest.mark.parametrize("name", [name for name in BASELINES if name != "growth"])
def test_a_change_of_level_where_the_season_is_added(name, seed):
    y = seasonal(seed) - 20  # some values are negative, so no season is a ratio
    higher = forecast(name, y - 100, 6, 8) + 100
    assert np.allclose(higher, forecast(name, y, 6, 8), atol=1e-6)


@pytest.mark.parametrize("season", [1, 4])
@pytest.mark.parametrize("value", [0.0, 3.0, -1e9, 1e-200])
def test_a_constant_goes_on(name, season, value):
    quantiles = forecast(name, np.full(40, value), season, 6)
    assert np.allclose(quantiles, value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("season", [1, 2, 7, 24])
def test_short_histories_give_numbers(name, season):
    rng = np.random.default_rng(3)
    for length in range(1, 30):
        y = rng.normal(size=length)
        fitted = BASELINES[name]().fit(y, season)
        for seen in {1, length // 2 or 1, length}:
            quantiles = fitted.predict(y[None, -seen:], 9, LEVELS)
            assert quantiles.shape == (1, 9, 5)
            assert np.isfinite(quantiles).all(), (length, seen)
            assert (np.diff(quantiles, axis=2) >= 0).all()


def test_the_longest_horizon_overflows_nothing(name):
    y = np.exp(0.5 * np.arange(40))
    assert np.isfinite(forecast(name, y, 4, 20_000)).all()


def test_gaps_are_as_the_observation_before(name):
    y = seasonal()
    y[[0, 1, 17, 60, 61, 62, 119]] = np.nan
    full = fill_forward(y[None], math.nan)[0]
    assert np.array_equal(forecast(name, y, 6, 8), forecast(name, full, 6, 8))


def test_a_window_of_gaps_is_the_last_observation(name):
    y = seasonal()
    fitted = BASELINES[name]().fit(y, 6)
    nothing = fitted.predict(np.full((1, 24), np.nan), 5, LEVELS)
    assert np.allclose(nothing, fitted.predict(np.full((1, 24), y[-1]), 5, LEVELS))


def test_nothing_that_was_given_is_changed(name):
    y = seasonal()
    y[5] = np.nan
    kept, windows = y.copy(), np.stack([y, y])
    BASELINES[name]().fit(y, 6).predict(windows, 4, LEVELS)
    assert np.array_equal(y, kept, equal_nan=True)
    assert np.array_equal(windows, np.stack([kept, kept]), equal_nan=True)


def test_white_noise_is_covered_as_it_says(name):
    """One step ahead of noise about a level; the naive ones know their own error too."""
    rng = np.random.default_rng(4)
    y = 50 + rng.normal(size=4_000)
    fitted = BASELINES[name]().fit(y[:2_000], 7)
    windows = np.lib.stride_tricks.sliding_window_view(y[2_000:], 101)
    quantiles = fitted.predict(windows[:, :100], 1, (0.025, 0.975))[:, 0]
    inside = (quantiles[:, 0] <= windows[:, 100]) & (windows[:, 100] <= quantiles[:, 1])
    assert inside.mean() == pytest.approx(0.95, abs=0.02)
