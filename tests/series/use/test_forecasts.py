"""Quantiles, what lies between them, and forecasts as rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from recurra.errors import ConfigError
from recurra.series.judging.metrics import LEVELS
from recurra.series.use.forecasts import Distribution, Forecasts, at_levels, interval

GAUSS = 3.0 + 2.0 * norm.ppf(LEVELS)


@given(st.floats(1e-6, 1 - 1e-6))
def test_the_quantiles_of_a_normal_are_a_normals_at_every_level(level: float) -> None:
    found = at_levels(np.stack([GAUSS, -GAUSS[::-1]]), [level])
    assert found[0, 0] == pytest.approx(norm.ppf(level, 3, 2), abs=1e-9)
    assert found[1, 0] == pytest.approx(norm.ppf(level, -3, 2), abs=1e-9)


@given(
    st.lists(st.floats(0, 100), min_size=11, max_size=11),
    st.lists(st.floats(0.001, 0.999), min_size=2, max_size=8),
)
def test_quantiles_at_any_levels_do_not_cross_and_known_ones_are_themselves(
    steps: list[float], levels: list[float]
) -> None:
    quantiles = np.cumsum(steps) - 50
    found = at_levels(quantiles, sorted(levels))
    assert (np.diff(found) >= -1e-9).all()
    np.testing.assert_allclose(at_levels(quantiles, LEVELS), quantiles, rtol=0, atol=1e-9)


def test_between_two_levels_lies_what_a_normal_through_both_has() -> None:
    quantiles = np.arange(11.0) ** 2
    low, high = norm.ppf([0.8, 0.9])
    share = (norm.ppf(0.85) - low) / (high - low)
    assert at_levels(quantiles, [0.85])[0] == pytest.approx(64 + share * (81 - 64), rel=1e-12)


@pytest.mark.parametrize(("percent", "places"), [(80, (1, 9)), (95, (0, 10)), (60, (2, 8))])
def test_an_interval_lies_between_opposite_quantiles(
    percent: float, places: tuple[int, int]
) -> None:
    quantiles = np.sort(np.random.default_rng(0).normal(size=(3, 4, 11)), axis=-1)
    low, high = interval(quantiles, percent)
    np.testing.assert_allclose(low, quantiles[..., places[0]], rtol=1e-12)
    np.testing.assert_allclose(high, quantiles[..., places[1]], rtol=1e-12)


@pytest.mark.parametrize("percent", [0, 100, -5, 120])
def test_an_interval_of_nothing_or_of_everything_is_refused(percent: float) -> None:
    with pytest.raises(ConfigError, match=f"an interval holds {percent}%: give a level between 0"):
        interval(GAUSS, percent)


@pytest.mark.parametrize("level", [0.0, 1.0, 1.5])
def test_a_level_that_is_none_is_refused(level: float) -> None:
    with pytest.raises(ConfigError, match=f"a quantile's level is {level}; give levels between"):
        at_levels(GAUSS, [0.5, level])


@pytest.mark.parametrize("shape", [(4, 11), (3, 4, 11)])
def test_a_distribution_has_a_middle_and_intervals(shape: tuple[int, ...]) -> None:
    told = Distribution(torch.randn(shape, generator=torch.Generator().manual_seed(0)).sort(-1)[0])
    assert torch.equal(told.median, told.quantiles[..., 5])
    low, high = told.interval(90)
    expected = interval(told.quantiles.double().numpy(), 90)
    np.testing.assert_array_equal(low, expected[0])
    np.testing.assert_array_equal(high, expected[1])
    assert low.shape == shape[:-1]
    assert bool((low <= told.median).all())


def test_forecasts_are_rows_of_stamps_middles_and_bounds() -> None:
    days = np.array([["2024-01-31", "2024-02-29"], ["2024-01-31T12:30", "2024-02-29"]], "M8[ns]")
    quantiles = GAUSS + np.arange(4.0).reshape(2, 2, 1)
    forecasts = Forecasts(("a", "b"), days, quantiles, (80, 99.5))
    rows = list(forecasts)
    assert len(forecasts) == 2
    assert [row["ds"] for row in rows] == [
        "2024-01-31 00:00:00",
        "2024-02-29 00:00:00",
        "2024-01-31 12:30:00",
        "2024-02-29 00:00:00",
    ]
    assert [row["unique_id"] for row in rows] == ["a", "a", "b", "b"]
    assert list(rows[0]) == ["unique_id", "ds", "yhat", "lo-80", "hi-80", "lo-99.5", "hi-99.5"]
    for n, row in enumerate(rows):
        assert row["yhat"] == pytest.approx(3 + n)
        assert row["hi-80"] == pytest.approx(norm.ppf(0.9, 3 + n, 2))
        assert row["lo-99.5"] == pytest.approx(norm.ppf(0.0025, 3 + n, 2))
    assert forecasts.median.tolist() == [[3.0, 4.0], [5.0, 6.0]]


def test_stamps_that_are_numbers_stay_numbers() -> None:
    stamps = np.array([[3.0, 4.5]])
    rows = list(Forecasts(("a",), stamps, np.zeros((1, 2, 11))))
    assert [(row["ds"], type(row["ds"])) for row in rows] == [(3, int), (4.5, float)]


def test_a_wide_table_has_a_row_a_stamp_and_holes_where_a_series_has_ended():
    stamps = np.array(
        [["2020-01-01", "2020-01-02"], ["2020-01-02", "2020-01-03"]], "datetime64[ns]"
    )
    quantiles = np.arange(44.0).reshape(2, 2, 11)
    rows = list(Forecasts(("a", "b"), stamps, quantiles, (95,)).wide())
    assert list(rows[0]) == ["ds", "a", "b", "a-lo-95", "a-hi-95", "b-lo-95", "b-hi-95"]
    assert [row["ds"] for row in rows] == ["2020-01-01", "2020-01-02", "2020-01-03"]
    assert [row["a"] for row in rows] == [5.0, 16.0, ""]
    assert [row["b"] for row in rows] == ["", 27.0, 38.0]
    low, high = interval(quantiles, 95)
    assert (rows[1]["a-lo-95"], rows[1]["b-hi-95"]) == (low[0, 1], high[1, 0])
