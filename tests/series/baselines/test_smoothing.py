from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.signal import lfilter

from recurra.series.baselines.smoothing import (
    BLOCK,
    ExponentialSmoothing,
    FittedTheta,
    Theta,
    best_alpha,
    is_seasonal,
    last_level,
    seasonal_indices,
    smooth,
)

ONE_SIGMA = 0.8413447460685429


def levels(values, alpha):
    """The recurrence as one filter of scipy's."""
    start = [(1 - alpha) * values[0]]
    return lfilter([alpha], [1, alpha - 1], values, zi=start)[0]


def squares(values, alpha):
    return ((values[1:] - levels(values, alpha)[:-1]) ** 2).sum()


@given(
    st.integers(1, 3 * BLOCK + 1),
    st.lists(st.floats(0, 1), min_size=1, max_size=4),
    st.integers(0, 99),
)
def test_blocks_are_the_recurrence(length, alphas, seed):
    values = np.random.default_rng(seed).normal(size=length)
    found = smooth(values, np.array(alphas))
    assert found.shape == (len(alphas), length)
    for row, alpha in zip(found, alphas):
        assert row == pytest.approx(levels(values, alpha), abs=1e-12)
        assert last_level(values[None], alpha)[0] == pytest.approx(row[-1], abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_alpha_has_the_least_squares(seed, share):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=300) + np.cumsum(share * rng.normal(size=300))
    best = minimize_scalar(lambda a: squares(values, a), bounds=(1e-4, 0.9999), method="bounded")
    assert squares(values, best_alpha(values)) <= best.fun * (1 + 1e-4)


def test_smoothing_by_hand():
    fitted = ExponentialSmoothing().fit(np.cumsum(np.ones(30)), season=1)
    assert fitted.alpha == 0.9999
    level = last_level(np.array([[0.0, 1.0]]), 0.9999)[0]
    quantiles = fitted.predict([[0.0, 1.0]], 3, [0.5, ONE_SIGMA])[0]
    assert quantiles[:, 0] == pytest.approx([level] * 3)
    one = quantiles[0, 1] - level
    assert one == pytest.approx(1, abs=1e-3)  # each step is one higher than its forecast
    assert quantiles[2, 1] - level == pytest.approx(one * np.sqrt(1 + 2 * 0.9999**2))


def test_noise_is_smoothed_away():
    values = 7 + np.random.default_rng(0).normal(size=5_000)
    ahead = ExponentialSmoothing().fit(values, 1).predict(values[None], 1, [0.5]).item()
    assert ahead == pytest.approx(7, abs=0.3)


def autocorrelations(y, most):
    d = [v - sum(y) / len(y) for v in y]
    power = sum(v * v for v in d)
    return [sum(a * b for a, b in zip(d[k:], d)) / power for k in range(1, most + 1)]


@pytest.mark.parametrize("size", [0.0, 0.3, 0.5, 0.7, 3.0])
def test_seasonal_where_the_autocorrelation_says_so(size):
    found = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        y = rng.normal(size=40) + size * np.sin(np.pi * np.arange(40) / 3)
        r = autocorrelations(y, 6)
        limit = 1.645 * ((1 + 2 * sum(v * v for v in r[:5])) / 40) ** 0.5
        found.append(is_seasonal(y, 6))
        assert found[-1] == (abs(r[5]) > limit)
    assert sum(found) <= 3 if size == 0 else sum(found) == 10 if size == 3 else True


def test_not_seasonal():
    y = np.tile([1.0, 9.0], 10)
    assert is_seasonal(y, 2) and not is_seasonal(y, 1)
    spikes = np.tile([9.0, *[1.0] * 9], 3)
    assert is_seasonal(spikes, 10) and not is_seasonal(spikes[:29], 10)  # under three seasons
    assert not is_seasonal(np.ones(20), 2)


@pytest.mark.parametrize("season", [2, 3, 6, 7])
@pytest.mark.parametrize("kind", ["multiplicative", "additive"])
@pytest.mark.parametrize("extra", [0, 1, 4])
def test_indices_by_decomposition_a_point_at_a_time(season, kind, extra):
    rng = np.random.default_rng(season)
    y = rng.uniform(1, 9, size=3 * season + extra)
    around = {phase: [] for phase in range(season)}
    half = season // 2
    for t in range(half, len(y) - half):
        window = list(y[t - half : t + half + 1])
        if season % 2 == 0:
            window[0] /= 2
            window[-1] /= 2
        trend = sum(window) / season
        around[(t - len(y)) % season].append(y[t] / trend if kind[0] == "m" else y[t] - trend)
    raw = np.array([np.mean(values) for values in around.values()])
    expected = raw / raw.mean() if kind[0] == "m" else raw - raw.mean()
    assert seasonal_indices(y[None], season, kind)[0] == pytest.approx(expected)


@given(st.integers(2, 9), st.integers(0, 30), st.integers(0, 99))
def test_a_season_on_a_line_is_taken_out_whole(season, extra, seed):
    rng = np.random.default_rng(seed)
    pattern = rng.normal(size=season)
    t = np.arange(2 * season + extra + 1)
    y = 3 + 0.5 * t + np.tile(pattern, 40)[: len(t)]
    expected = np.tile(pattern - pattern.mean(), 80)[len(t) : len(t) + season]
    assert seasonal_indices(y[None], season, "additive")[0] == pytest.approx(expected, abs=1e-9)


def test_short_windows_have_the_season_they_show():
    y = np.array([[7.0, 2.0, 6.0, 4.0]])
    assert seasonal_indices(y, 3, "additive")[0].tolist() == [-2, 2, 0]
    assert seasonal_indices(y, 3, "multiplicative")[0].tolist() == [0.5, 1.5, 1]
    assert seasonal_indices(y, 5, "additive")[0].tolist() == [0] * 5
    assert seasonal_indices(y, 5, "multiplicative")[0].tolist() == [1] * 5
    assert seasonal_indices(y, 3, "none")[0].tolist() == [0] * 3


def theta(y, horizon, season=1, multiplicative=None):
    """The method again, by numpy.polyfit and scipy."""
    index = np.ones(season) if multiplicative else np.zeros(season)
    if multiplicative is not None:
        kind = "multiplicative" if multiplicative else "additive"
        index = seasonal_indices(y[None], season, kind)[0]
    seen, ahead = index[np.arange(-len(y), 0) % season], index[np.arange(horizon) % season]
    plain = y / seen if multiplicative else y - seen
    slope, start = np.polyfit(np.arange(len(y)), plain, 1)
    line = start + slope * np.arange(len(y) + horizon)
    second = 2 * plain - line[: len(y)]
    best = minimize_scalar(lambda a: squares(second, a), bounds=(1e-4, 0.9999), method="bounded")
    point = (line[len(y) :] + levels(second, best.x)[-1]) / 2
    return point * ahead if multiplicative else point + ahead


@pytest.mark.parametrize("seed", range(4))
def test_theta_by_other_means(seed):
    rng = np.random.default_rng(seed)
    y = 30 + 0.1 * np.arange(90) + np.cumsum(0.3 * rng.normal(size=90)) + rng.normal(size=90)
    wave = np.tile(rng.uniform(0.5, 2, size=6), 15)
    for values, season, multiplicative in [
        (y, 1, None),
        (y * wave, 6, True),
        (y * wave - 40, 6, False),
    ]:
        found = Theta().fit(values, season).predict(values[None], 12, [0.5])[0, :, 0]
        expected = theta(values, 12, season, multiplicative)
        assert found == pytest.approx(expected, rel=1e-3, abs=0.02)


def test_theta_takes_the_season_out_as_the_values_allow():
    y = np.tile([1.0, 2.0, 6.0], 8)
    assert Theta().fit(y, 3).kind == "multiplicative"
    assert Theta().fit(y - 1, 3).kind == "additive"
    assert Theta().fit(y[:8], 3).kind == "none"
    assert Theta().fit(np.random.default_rng(0).uniform(1, 2, size=24), 3).kind == "none"


def test_a_window_that_is_not_positive_is_adjusted_additively():
    rng = np.random.default_rng(5)
    windows = 20 + 9 * np.sin(np.pi * np.arange(48) / 3) + rng.normal(size=(3, 48))
    windows[1] -= 30
    ratio = FittedTheta(0.0, season=6, kind="multiplicative", alpha=0.3, deviation=0.0)
    difference = FittedTheta(0.0, season=6, kind="additive", alpha=0.3, deviation=0.0)
    found, other = ratio.point(windows, 9), difference.point(windows, 9)
    assert found[1] == pytest.approx(other[1], rel=1e-12)
    assert np.abs(found[[0, 2]] - other[[0, 2]]).max() > 0.01
    alone = ratio.point(windows[[0, 2]], 9)
    assert found[[0, 2]] == pytest.approx(alone)


def test_theta_carries_on_half_of_a_trend():
    line = 5 + 2.0 * np.arange(40)
    ahead = Theta().fit(line, 1).predict(line[None], 11, [0.5])[0, :, 0]
    assert np.diff(ahead) == pytest.approx(np.ones(10))
    assert ahead[0] == pytest.approx(line[-1] + 1, abs=0.01)


def test_the_deviation_is_of_one_step_errors():
    rng = np.random.default_rng(6)
    y = 50 + rng.normal(size=3_000)
    spread = Theta().fit(y, 1).spread(5)
    assert spread[0] == pytest.approx(1, abs=0.05)
    season = np.tile(rng.uniform(0.5, 1.5, size=4), 750)
    seasonal = Theta().fit(y * season, 4)
    assert seasonal.spread(1)[0] == pytest.approx(np.sqrt((season**2).mean()), rel=0.05)
