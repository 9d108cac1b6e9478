from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from recurra.errors import ConfigError, DataError, ShapeError
from recurra.series.baselines.base import (
    Baseline,
    Fitted,
    fill_forward,
    normal_quantiles,
    root_mean_square,
)

cells = st.one_of(st.just(math.nan), st.floats(-10, 10))


@dataclass(frozen=True)
class FittedEcho(Fitted):
    values: tuple[float, ...]
    season: int

    def point(self, history, horizon):
        return np.repeat(history.sum(axis=1)[:, None], horizon, axis=1)

    def spread(self, horizon):
        return np.arange(1.0, horizon + 1)


class Echo(Baseline):
    """Shows what it was given."""

    def learn(self, values, season):
        return FittedEcho(float(values[-1]), tuple(values.tolist()), season)


def filled(row, default):
    """A row at a time."""
    there = [value for value in row if not math.isnan(value)]
    last, out = (there or [default])[0], []
    for value in row:
        last = last if math.isnan(value) else value
        out.append(last)
    return out


@given(
    st.integers(1, 6).flatmap(
        lambda n: st.lists(st.lists(cells, min_size=n, max_size=n), min_size=1)
    )
)
def test_fill_forward(rows):
    before = np.array(rows)
    found = fill_forward(before, default=99.0)
    assert found.tolist() == [filled(row, 99.0) for row in rows]
    assert np.array_equal(before, np.array(rows), equal_nan=True)


def test_gaps_are_filled_before_anything_is_learned():
    fitted = Echo().fit([math.nan, 1, math.nan, 3, math.nan], season=2)
    assert fitted == FittedEcho(3.0, (1.0, 1.0, 1.0, 3.0, 3.0), 2)
    history = [[math.nan, 1.0, math.nan], [math.nan] * 3]
    assert fitted.predict(history, 1, [0.5])[:, 0, 0].tolist() == [3.0, 9.0]


def test_intervals_are_normal_about_the_point():
    levels = (0.025, 0.1, 0.5, 0.9)
    quantiles = Echo().fit([1.0], 1).predict([[2.0], [5.0]], 3, levels)
    assert quantiles.shape == (2, 3, 4)
    for step, deviation in enumerate([1, 2, 3]):
        for window, middle in enumerate([2, 5]):
            expected = norm.ppf(levels, middle, deviation)
            assert quantiles[window, step] == pytest.approx(expected)


def test_no_windows():
    assert Echo().fit([1.0], 1).predict(np.empty((0, 4)), 2, [0.5]).shape == (0, 2, 1)


@given(st.floats(1e-6, 1 - 1e-6))
def test_normal_quantiles(level):
    assert normal_quantiles([level])[0] == pytest.approx(norm.ppf(level), abs=1e-9)


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, math.nan])
def test_levels_out_of_range(level):
    with pytest.raises(ConfigError, match="give levels between 0 and 1"):
        Echo().fit([1.0], 1).predict([[1.0]], 1, [0.5, level])


def test_root_mean_square():
    assert root_mean_square(np.array([1.0, 7.0])) == 5
    assert root_mean_square(np.array([])) == 0


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([], DataError, "got 0 values, 0 of them gaps"),
        ([math.nan] * 3, DataError, "got 3 values, 3 of them gaps and 0 infinite"),
        ([1.0, math.inf], DataError, "0 of them gaps and 1 infinite or over 1e\\+150"),
        ([1.0, -1e151, math.nan], DataError, "1 of them gaps and 1 infinite"),
        ([[1.0, 2.0]], ShapeError, r"got values \(1, 2\); give one series"),
    ],
)
def test_values_that_cannot_be_fitted(values, error, message):
    with pytest.raises(error, match=message):
        Echo().fit(values, 1)


def test_settings_that_cannot_be():
    with pytest.raises(ConfigError, match="season is 0"):
        Echo().fit([1.0], 0)
    with pytest.raises(ConfigError, match="horizon is 0"):
        Echo().fit([1.0], 1).predict([[1.0]], 0, [0.5])
    for shape in [(3,), (2, 0), (1, 2, 3)]:
        with pytest.raises(ShapeError, match="give windows"):
            Echo().fit([1.0], 1).predict(np.zeros(shape), 1, [0.5])
