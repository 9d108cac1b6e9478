from __future__ import annotations

import csv
import gzip
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.errors import ConfigError, ShapeError
from recurra.series.judging.metrics import LEVELS, level_index, mase_scale, score

KEYS = ["series", "horizon", "mase", "smape", "rmse", "mae", "mse", "crps"]
KEYS += ["coverage_80", "coverage_95", "msis"]


def transcribed(actual, quantiles, levels, scale):
    """The definitions again, a point at a time."""
    mase, smape, msis, errors, losses, weights = [], [], [], [], [], []
    inside = {0.1: [], 0.025: []}
    for y, rows, unit in zip(actual, quantiles, scale):
        points = [(a, dict(zip(levels, row))) for a, row in zip(y, rows) if not math.isnan(a)]
        if not points:
            continue
        apart = [abs(a - q[0.5]) for a, q in points]
        errors += apart
        both = [abs(a) + abs(q[0.5]) for a, q in points]
        smape.append(sum(200 * e / b if b else 0 for e, b in zip(apart, both)) / len(points))
        if unit > 0:
            mase.append(sum(apart) / len(points) / unit)
            missed = 0.0
            for a, q in points:
                missed += q[0.975] - q[0.025]
                if a < q[0.025]:
                    missed += 2 / 0.05 * (q[0.025] - a)
                if a > q[0.975]:
                    missed += 2 / 0.05 * (a - q[0.975])
            msis.append(missed / len(points) / unit)
        for a, q in points:
            weights.append(abs(a))
            for low, held in inside.items():
                held.append(q[low] <= a <= q[round(1 - low, 3)])
            for tenth in range(1, 10):
                level = tenth / 10
                short = a - q[level]
                losses.append(2 * (level * short if short >= 0 else (1 - level) * -short))

    def mean(values):
        return sum(values) / len(values) if values else None

    return {
        "mase": mean(mase),
        "smape": mean(smape),
        "rmse": math.sqrt(mean([e * e for e in errors])) if errors else None,
        "mae": mean(errors),
        "mse": mean([e * e for e in errors]),
        "crps": sum(losses) / 9 / sum(weights) if sum(weights) else None,
        "coverage_80": mean(inside[0.1]),
        "coverage_95": mean(inside[0.025]),
        "msis": mean(msis),
    }


@st.composite
def windows(draw, gaps=True):
    """Actual, quantiles, levels and scale of a few windows, some with gaps or without a scale."""
    count, horizon = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    actual = rng.normal(2, 3, (count, horizon)).round(draw(st.integers(0, 6)))
    if gaps:
        actual[rng.random(actual.shape) < draw(st.sampled_from([0, 0.3]))] = np.nan
    quantiles = np.sort(rng.normal(2, 3, (count, horizon, len(LEVELS))), axis=2)
    scale = np.where(
        rng.random(count) < 0.2, draw(st.sampled_from([0.0, np.nan])), rng.random(count)
    )
    return actual, quantiles, scale


def measured(actual, quantiles, scale):
    return score(actual, quantiles, LEVELS, scale, len(actual)).as_dict()


def test_numbers_by_hand():
    actual = np.array([[10.0, 20.0], [0.0, 30.0]])
    median = np.array([[12.0, 20.0], [0.0, 20.0]])
    # every quantile lies level - 1/2 off the median, times 20
    quantiles = median[:, :, None] + 20 * (np.array(LEVELS) - 0.5)
    metrics = score(actual, quantiles, LEVELS, np.array([2.0, 5.0]), series=2)
    assert (metrics.series, metrics.horizon) == (2, 2)
    # windows: errors 2 0 and 0 10
    assert metrics.mase == pytest.approx((1 / 2 + 5 / 5) / 2)
    assert metrics.smape == pytest.approx((200 * 2 / 22 / 2 + 200 * 10 / 50 / 2) / 2)
    assert metrics.mae == pytest.approx(3)
    assert metrics.mse == pytest.approx(104 / 4)
    assert metrics.rmse == pytest.approx(math.sqrt(26))
    # 80%: median -8 ... +8 misses the 30; 95%: -9.5 ... +9.5 misses it by .5
    assert metrics.intervals.coverage_80 == 0.75
    assert metrics.intervals.coverage_95 == 0.75
    assert metrics.intervals.msis == pytest.approx((19 / 2 + (19 + 40 * 0.5 / 2) / 5) / 2)
    # pinball of y - q = d - 20 (a - 1/2), d the signed errors -2 0 0 10, by deciles
    pinball = sum(
        2 * max(a * (d - 20 * (a - 0.5)), (a - 1) * (d - 20 * (a - 0.5)))
        for d in (-2, 0, 0, 10)
        for a in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    )
    assert metrics.crps == pytest.approx(pinball / 9 / 60)


def test_a_point_forecast_has_the_crps_of_its_absolute_error():
    actual = np.array([[1.0, -2.0, 4.0]])
    metrics = score(actual, np.full((1, 3, 11), 2.0), LEVELS, np.ones(1), 1)
    assert metrics.crps == pytest.approx((1 + 4 + 2) / (1 + 2 + 4))


@given(windows())
def test_the_same_as_a_point_at_a_time(given_windows):
    actual, quantiles, scale = given_windows
    found = measured(actual, quantiles, scale)
    assert list(found) == KEYS
    expected = transcribed(actual, quantiles, LEVELS, scale)
    for key, value in expected.items():
        assert found[key] == (None if value is None else pytest.approx(value)), key


@given(windows(), st.sampled_from([1e-6, 0.5, 3.0, 1e8]))
def test_a_change_of_unit_changes_only_the_errors(given_windows, factor):
    actual, quantiles, scale = given_windows
    before = measured(actual, quantiles, scale)
    after = measured(actual * factor, quantiles * factor, scale * factor)
    powers = {"mae": 1, "rmse": 1, "mse": 2}
    for key, value in before.items():
        expected = None if value is None else value * factor ** powers.get(key, 0)
        assert after[key] == (None if value is None else pytest.approx(expected)), key


@given(windows(), st.integers(0, 2**32 - 1))
def test_the_order_of_windows_steps_and_levels_is_nothing(given_windows, seed):
    actual, quantiles, scale = given_windows
    rng = np.random.default_rng(seed)
    w, h, q = (rng.permutation(size) for size in quantiles.shape)
    mixed = score(
        actual[w][:, h], quantiles[w][:, h][:, :, q], np.array(LEVELS)[q], scale[w], len(actual)
    )
    assert mixed.as_dict() == pytest.approx(measured(actual, quantiles, scale))


@given(windows(gaps=False))
def test_a_gap_is_as_if_the_step_were_not_there(given_windows):
    actual, quantiles, scale = given_windows
    more = np.concatenate([actual, np.full((len(actual), 1), np.nan)], axis=1)
    wider = np.concatenate([quantiles, np.full((len(actual), 1, 11), 7.0)], axis=1)
    found = measured(more, wider, scale)
    assert found.pop("horizon") == actual.shape[1] + 1
    expected = measured(actual, quantiles, scale)
    del expected["horizon"]
    assert found == pytest.approx(expected)


def test_more_levels_change_nothing():
    rng = np.random.default_rng(1)
    levels = (0.005, *LEVELS, 0.995)
    quantiles = np.sort(rng.normal(size=(3, 4, 13)), axis=2)
    actual, scale = rng.normal(size=(3, 4)), np.ones(3)
    wide = score(actual, quantiles, levels, scale, 3)
    assert wide == score(actual, quantiles[:, :, 1:-1], LEVELS, scale, 3)


def test_true_quantiles_cover_what_they_say():
    rng = np.random.default_rng(2)
    sample = np.quantile(rng.normal(size=200_000), LEVELS)
    metrics = score(
        rng.normal(size=(4_000, 5)), np.tile(sample, (4_000, 5, 1)), LEVELS, np.ones(4_000), 1
    )
    deviation = math.sqrt(0.8 * 0.2 / 20_000)
    assert metrics.intervals.coverage_80 == pytest.approx(0.8, abs=4 * deviation)
    assert metrics.intervals.coverage_95 == pytest.approx(0.95, abs=4 * deviation)


@pytest.mark.parametrize("scale", [0.0, math.nan, -1.0])
def test_without_a_scale_there_is_no_mase(scale):
    found = measured(np.ones((1, 2)), np.zeros((1, 2, 11)), np.array([scale]))
    assert found["mase"] is found["msis"] is None
    assert found["mae"] == 1


def test_a_window_without_a_scale_is_left_out():
    found = measured(np.ones((2, 2)), np.zeros((2, 2, 11)), np.array([0.0, 0.5]))
    assert found["mase"] == 2


def test_nothing_observed():
    found = measured(np.full((2, 3), np.nan), np.zeros((2, 3, 11)), np.ones(2))
    assert (found.pop("series"), found.pop("horizon")) == (2, 3)
    assert set(found.values()) == {None}


def test_no_windows():
    found = measured(np.empty((0, 3)), np.empty((0, 3, 11)), np.empty(0))
    assert found["mase"] is found["rmse"] is found["crps"] is None


def test_nothing_against_nothing_is_no_error():
    found = measured(np.zeros((1, 2)), np.zeros((1, 2, 11)), np.zeros(1))
    assert found["smape"] == found["mae"] == 0
    assert found["coverage_95"] == 1
    assert found["crps"] is None


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 1e300])
def test_a_forecast_that_is_not_finite_is_not_lost_in_a_mean(wrong):
    quantiles = np.zeros((3, 2, 11))
    quantiles[1, 1] = wrong
    found = measured(np.ones((3, 2)), quantiles, np.ones(3))
    assert found["mse"] is found["rmse"] is None
    assert found["coverage_95"] == 0
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 3), (2, 3, 10), (2,)), "quantiles (2, 3, 10), 11 levels"),
        (((2, 3), (2, 4, 11), (2,)), "give (N, H), (N, H, Q), (Q,) and (N,)"),
        (((2, 3), (2, 3, 11), (3,)), "scale (3,)"),
        (((6,), (6, 11), (6,)), "actual (6,)"),
    ],
)
def test_arrays_that_do_not_go_together(shapes, message):
    actual, quantiles, scale = (np.zeros(shape) for shape in shapes)
    with pytest.raises(ShapeError) as error:
        score(actual, quantiles, LEVELS, scale, 1)
    assert message in str(error.value)


def test_a_missing_level():
    with pytest.raises(ConfigError, match=r"lacks the quantile 0\.975; it has 0\.025, 0\.1"):
        score(np.zeros((1, 1)), np.zeros((1, 1, 10)), LEVELS[:-1], np.ones(1), 1)


def test_levels_are_found_as_they_are_computed():
    assert level_index(np.linspace(0, 1, 11), 0.3) == 3  # np.linspace gives 0.30000000000000004
    assert [level_index(LEVELS, level) for level in LEVELS] == list(range(11))


@pytest.mark.parametrize(
    ("values", "season", "scale"),
    [
        ([1, 2, 4, 8], 1, 7 / 3),
        ([1, 2, 4, 8], 2, 4.5),
        ([1, 2, 4, 8], 3, 7),
        ([1, 2, 4, 8], 4, 7 / 3),  # too short for the season
        ([1, math.nan, 4, 8, 7], 2, 3),  # |4 - 1| and |7 - 4|
        ([1, math.nan, math.nan, 8, 9], 4, 8),
        ([1, math.nan, math.nan, 8, 9, 9.5], 2, 1.5),
        ([1, 5, math.nan, math.nan], 2, 4),  # none a season apart
        ([5, 5, 5], 1, 0),
    ],
)
def test_scale(values, season, scale):
    assert mase_scale(values, season) == pytest.approx(scale)


@pytest.mark.parametrize("values", [[], [3.0], [math.nan] * 4, [1.0, math.nan, 2.0]])
def test_no_scale(values):
    assert math.isnan(mase_scale(values, 2) if len(values) < 3 else mase_scale(values, 1))


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30), st.integers(1, 8))
def test_the_scale_goes_with_the_unit_and_not_with_the_level(values, season):
    y = np.array(values)
    assert mase_scale(3 * y, season) == pytest.approx(3 * mase_scale(y, season))
    assert mase_scale(y + 1000, season) == pytest.approx(mase_scale(y, season), abs=1e-6)
    assert mase_scale(y[::-1], season) == pytest.approx(mase_scale(y, season))


def test_scale_of_what_is_no_series():
    with pytest.raises(ShapeError, match=r"values \(2, 2\) was asked"):
        mase_scale(np.zeros((2, 2)), 1)
    with pytest.raises(ConfigError, match="season is 0"):
        mase_scale([1.0, 2.0], 0)


def m4_hourly(data_root, part):
    with gzip.open(data_root / "m4" / f"Hourly-{part}.csv.gz", "rt", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return [np.array([float(cell) for cell in row[1:] if cell]) for row in rows]


def test_seasonal_naive_on_m4_hourly_scores_what_the_competition_said(data_root):
    train, test = m4_hourly(data_root, "train"), np.array(m4_hourly(data_root, "test"))
    assert len(train) == 414 and test.shape == (414, 48)
    points = np.array([np.tile(series[-24:], 2) for series in train])
    scale = np.array([mase_scale(series, 24) for series in train])
    metrics = score(test, np.repeat(points[:, :, None], 11, axis=2), LEVELS, scale, 414)
    assert metrics.smape == pytest.approx(13.912, abs=5e-4)
    assert metrics.mase == pytest.approx(1.193, abs=5e-4)
    assert metrics.crps == pytest.approx(np.abs(test - points).sum() / np.abs(test).sum())
