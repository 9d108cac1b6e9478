from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.linear_model import LinearRegression

from recurra.series.baselines.autoregression import (
    Autoregression,
    FittedAutoregression,
    SecondOrder,
)
from recurra.series.datasets.sine import SineSource
from recurra.series.options import SeriesOptions

ONE_SIGMA = 0.8413447460685429


def process(coefficients, length=600, seed=0, intercept=1.0):
    rng = np.random.default_rng(seed)
    y = list(rng.normal(size=len(coefficients)))
    for shock in rng.normal(size=length):
        y.append(intercept + shock + sum(a * v for a, v in zip(coefficients, y[::-1])))
    return np.array(y[100:])


def test_the_weights_are_those_of_a_linear_regression():
    y = process([0.5, -0.3, 0.2])
    fitted = Autoregression().fit(y, season=4)
    order = len(fitted.coefficients)
    rows = sliding_window_view(y, order + 1)
    reference = LinearRegression().fit(rows[:, :-1], rows[:, -1])
    assert fitted.coefficients == pytest.approx(reference.coef_[::-1])
    ahead = fitted.predict(y[None], 1, [0.5]).item()
    assert ahead == pytest.approx(reference.predict(y[None, -order:])[0])
    residuals = rows[:, -1] - reference.predict(rows[:, :-1])
    assert fitted.spread(1)[0] == pytest.approx(np.sqrt((residuals**2).mean()))


def test_the_order_is_that_of_least_criterion():
    """Each order fitted by itself to the same steps."""
    for seed in range(12):
        y = process([0.6, -0.4, 0.1], seed=seed)
        most = 9  # season 7 and two more
        criteria = []
        for order in range(most + 1):
            rows = sliding_window_view(y, most + 1)
            x = np.column_stack([np.ones(len(rows)), rows[:, most - order : most]])
            left = y[most:] - x @ np.linalg.lstsq(x, y[most:], rcond=None)[0]
            criteria.append(len(rows) * np.log((left**2).mean()) + 2 * order)
        fitted = Autoregression().fit(y, season=7)
        assert len(fitted.coefficients) == np.argmin(criteria)


def test_the_process_is_found():
    fitted = Autoregression().fit(process([1.2, -0.5], length=20_000), season=1)
    assert fitted.coefficients[:2] == pytest.approx([1.2, -0.5], abs=0.03)
    assert fitted.spread(1)[0] == pytest.approx(1, abs=0.02)


def test_a_season_is_seen():
    rng = np.random.default_rng(1)
    y = np.tile(rng.normal(size=12), 12) + 0.01 * rng.normal(size=144)
    fitted = Autoregression().fit(y, season=12)
    assert fitted.predict(y[None], 24, [0.5])[0, :, 0] == pytest.approx(y[:24], abs=0.05)


@pytest.mark.parametrize("step", [0.01, 0.1, 1.0])
def test_a_noiseless_sine_is_two_lags_and_exact(step):
    wave = np.sin(step * np.arange(11_000))
    fitted = Autoregression().fit(wave[:10_000], season=1)
    assert len(fitted.coefficients) == 2
    windows = sliding_window_view(wave[9_990:], 11)
    ahead = fitted.predict(windows[:, :10], 1, [0.5])[:, 0, 0]
    assert np.abs(ahead - windows[:, 10]).max() < 1e-9
    free = fitted.predict(wave[None, 9_990:10_000], 1_000, [0.5])[0, :, 0]
    assert np.abs(free - wave[10_000:]).max() < 1e-3


def test_two_lags_are_enough_for_the_tutorial_s_sine():
    wave = SineSource(SeriesOptions()).open().series[0].values[:, 0]
    fitted = SecondOrder().fit(wave[:10_000], season=628)
    assert fitted.coefficients == pytest.approx([2 * np.cos(100 / 9999), -1], abs=1e-3)
    windows = sliding_window_view(wave[9_999:], 3)
    ahead = fitted.predict(windows[:, :2], 1, [0.5])[:, 0, 0]
    assert np.abs(ahead - windows[:, 2]).max() < 5e-5  # abscissae are rounded to float32


def test_forecasts_are_fed_back_and_shocks_add_up():
    fitted = FittedAutoregression(0.0, 10.0, 2.0, 0.5, np.array([0.5, 0.25]), 3.0)
    # z = (y - 10) / 2 = 1, 2: 0.5 + 0.5 * 2 + 0.25 * 1 = 1.75, 0.5 + 0.875 + 0.5 = 1.875
    assert fitted.point(np.array([[12.0, 14.0]]), 2).tolist() == [[13.5, 13.75]]
    # shocks 1, 0.5, 0.5 * 0.5 + 0.25 = 0.5, each times 3 * 2
    assert fitted.spread(3) == pytest.approx([6, 6 * 1.25**0.5, 6 * 1.5**0.5])


def test_the_spread_is_that_of_what_happens():
    coefficients = [0.7, -0.2, 0.1]
    y = process(coefficients, length=16_000, seed=2)
    fitted = Autoregression().fit(y[:8_000], season=1)
    windows = sliding_window_view(y[8_000:], 15)
    errors = windows[:, 9:] - fitted.predict(windows[:, :9], 6, [0.5])[:, :, 0]
    assert errors.std(axis=0) == pytest.approx(fitted.spread(6), rel=0.05)


def test_a_short_window_is_continued_backwards():
    fitted = FittedAutoregression(0.0, 0.0, 1.0, 0.0, np.array([0.5, 0.25, 0.125]), 1.0)
    assert fitted.point(np.array([[8.0, 0.0]]), 1).item() == 8 * 0.375


def test_an_explosive_recurrence_is_stopped():
    fitted = FittedAutoregression(0.0, 0.0, 1.0, 0.0, np.array([3.0]), 1.0)
    assert fitted.point(np.array([[1.0], [-1.0]]), 5_000)[:, -1].tolist() == [1e6, -1e6]
    assert np.isfinite(fitted.spread(5_000)).all()


@pytest.mark.parametrize("scale", [1e-20, 1e-9, 1e20])
def test_any_scale_is_as_any_other(scale):
    wave = 3 + np.sin(0.3 * np.arange(80)) + 0.1 * np.cos(np.arange(80))
    one, other = (
        Autoregression().fit(k * wave, 7).predict(k * wave[None], 5, [0.5]) for k in (1, scale)
    )
    np.testing.assert_allclose(other, scale * one, rtol=1e-6)
