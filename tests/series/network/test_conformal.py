from __future__ import annotations

import csv
import gzip
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recurra.errors import ConfigError, ShapeError
from recurra.series.baselines import BASELINES
from recurra.series.baselines.base import normal_quantiles
from recurra.series.judging.metrics import LEVELS, mase_scale, score
from recurra.series.network.conformal import corrected, fitted_corrections

MIDDLE = LEVELS.index(0.5)


def normal(width, windows, horizon):
    """Quantiles of a normal distribution, too narrow or too wide."""
    return np.tile(width * normal_quantiles(LEVELS), (windows, horizon, 1))


def apply(corrections, quantiles, scale):
    """What a network does with corrections in units of a scale."""
    by_step = scale if scale.ndim == 2 else scale[:, None]
    moves = torch.from_numpy(by_step[:, :, None] * corrections)
    return corrected(torch.from_numpy(quantiles), moves).numpy()


def inside(actual, quantiles):
    """For each step, the share of windows inside each pair of quantiles, the widest first."""
    low, high = quantiles[:, :, :MIDDLE], quantiles[:, :, :MIDDLE:-1]
    return ((low <= actual[:, :, None]) & (actual[:, :, None] <= high)).mean(axis=0)


SHARES = np.array([high - low for low, high in zip(LEVELS[:MIDDLE], LEVELS[::-1])])


def test_by_hand():
    # misses of (99, 101) by 19 points 100 + 2 (-9 ... 9), in units of 2: 8.5, 8.5, 7.5, 7.5 ...
    actual = 100 + 2.0 * np.arange(-9, 10)[:, None]
    levels = (0.1, 0.25, 0.5, 0.75, 0.9)
    flat = np.tile([98.0, 99.0, 100.0, 101.0, 102.0], (19, 1, 1))
    held = fitted_corrections(actual, flat, levels, np.full(19, 2.0))
    # of 20: the 16th smallest distance from 100 is 8 * 2, less 2; the 10th is 5 * 2, less 1
    assert held.tolist() == [[-7, -4.5, 0, 4.5, 7]]
    assert apply(held, flat[:1], np.array([10.0])).tolist() == [[[28, 54, 100, 146, 172]]]


def test_too_few_for_a_rank_take_the_outermost():
    actual = np.array([[1.0], [2.0], [-3.0]])
    held = fitted_corrections(actual, np.zeros((3, 1, 3)), (0.025, 0.5, 0.975), np.ones(3))
    assert held.tolist() == [[-3, 0, 3]]


def test_too_few_for_an_interval_keep_its_distance_from_the_one_within():
    """Seven points hold 7/8 at most; of 95% the network alone knows how much wider it is."""
    actual = np.array([[-4.0, -1.0, 0.0, 1.0, 2.0, 3.0, 3.0]]).T
    levels = (0.025, 0.1, 0.5, 0.9, 0.975)
    quantiles = np.tile([-6.0, -2.0, 0.0, 2.0, 6.0], (7, 1, 1))
    held = fitted_corrections(actual, quantiles, levels, np.ones(7))
    assert held.tolist() == [[-2, -2, 0, 2, 2]], "not inwards, as the largest miss is"
    after = apply(held, quantiles[:1], np.ones(1))[0, 0]
    assert after.tolist() == [-8, -4, 0, 4, 8]
    narrow = np.tile([-1.0, -0.9, 0.0, 0.9, 1.0], (9, 1, 1))
    nine = fitted_corrections(np.arange(9.0)[:, None], narrow, levels, np.ones(9))
    assert nine[0, 3:].tolist() == pytest.approx([6.1, 7.0]), "the largest at least"


@pytest.mark.parametrize("share", [0.4, 0.6, 0.8, 0.95])
@pytest.mark.parametrize("n", [9, 39, 199])
def test_a_new_point_is_inside_as_often_as_promised(share, n):
    """Over draws of both, the chance is the rank over n + 1, at least the share, for any model."""
    rng = np.random.default_rng(n)
    trials, hits = 4_000, 0
    levels = ((1 - share) / 2, 0.5, (1 + share) / 2)
    wrong = np.tile([1.0, 1.5, 1.7], (n + 1, 1, 1))
    for _ in range(trials):
        sample = rng.gamma(2.0, size=(n + 1, 1))
        held = fitted_corrections(sample[:n], wrong[:n], levels, np.ones(n))
        low, _, high = wrong[0, 0] + held[0]
        hits += low <= sample[n, 0] <= high
    rank = min(math.ceil(round((n + 1) * share, 6)), n)
    promised = rank / (n + 1)
    assert promised >= share or rank == n
    deviation = math.sqrt(promised * (1 - promised) / trials)
    assert hits / trials == pytest.approx(promised, abs=4 * deviation)


@pytest.mark.parametrize("width", [0.2, 1.0, 4.0])
@pytest.mark.parametrize("by_width", [False, True])
def test_intervals_hold_whatever_they_were(width, by_width):
    rng = np.random.default_rng(5)
    scale = rng.uniform(0.5, 20, size=6_000)
    growing = np.sqrt(np.arange(1.0, 5))
    actual = scale[:, None] * growing * rng.standard_t(5, size=(6_000, 4))
    quantiles = scale[:, None, None] * normal(width, 6_000, 4)
    unit = quantiles[:, :, -1] - quantiles[:, :, 0] if by_width else scale
    held = fitted_corrections(actual[:3_000], quantiles[:3_000], LEVELS, unit[:3_000])
    found = inside(actual[3_000:], apply(held, quantiles[3_000:], unit[3_000:]))
    # the error of the new sample and, about as large, that of the fitted quantile
    bound = 4 * np.sqrt(2 * SHARES * (1 - SHARES) / 3_000)
    assert (np.abs(found - SHARES) < bound).all()


def test_a_wrong_median_is_left_but_intervals_hold():
    rng = np.random.default_rng(6)
    actual = 1 + rng.normal(size=(4_000, 1))
    quantiles = normal(0.5, 4_000, 1)
    held = fitted_corrections(actual[:2_000], quantiles[:2_000], LEVELS, np.ones(2_000))
    after = apply(held, quantiles[2_000:], np.ones(2_000))
    assert (after[:, :, MIDDLE] == 0).all()
    assert inside(actual[2_000:], after)[0] == pytest.approx(SHARES, abs=0.03)


def test_widths_keep_what_the_model_knows_of_its_doubt():
    rng = np.random.default_rng(8)
    doubt = rng.choice([1.0, 10.0], size=(2_000, 1))
    actual = doubt * rng.normal(size=(2_000, 1))
    quantiles = doubt[:, :, None] * normal(0.5, 2_000, 1)
    width = quantiles[:, :, -1] - quantiles[:, :, 0]
    for unit, expected in [(width, [0.95, 0.95]), (np.ones(2_000), [1.0, 0.9])]:
        after = apply(fitted_corrections(actual, quantiles, LEVELS, unit), quantiles, unit)
        sure = doubt[:, 0] == 1
        found = [inside(actual[rows], after[rows])[0, 0] for rows in (sure, ~sure)]
        assert found == pytest.approx(expected, abs=0.02)


@st.composite
def samples(draw):
    windows, horizon = draw(st.integers(1, 30)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    actual = rng.normal(size=(windows, horizon))
    actual[rng.random(actual.shape) < 0.1] = np.nan
    quantiles = rng.normal(size=(windows, horizon, len(LEVELS)))
    if draw(st.booleans()):
        quantiles.sort(axis=2)
    return actual, quantiles, rng.uniform(0, 3, size=windows)


@given(samples(), samples())
def test_quantiles_never_cross_and_the_median_stays(calibration, new):
    held = fitted_corrections(calibration[0], calibration[1], LEVELS, calibration[2])
    steps = np.minimum(np.arange(new[1].shape[1]), len(held) - 1)
    after = apply(held[steps], new[1], new[2])
    assert after.shape == new[1].shape
    assert (np.diff(after, axis=2) >= 0).all()
    assert np.array_equal(after[:, :, MIDDLE], new[1][:, :, MIDDLE])


@given(samples(), st.integers(0, 99))
def test_the_order_of_windows_is_nothing(sample, seed):
    actual, quantiles, scale = sample
    order = np.random.default_rng(seed).permutation(len(actual))
    held = fitted_corrections(actual, quantiles, LEVELS, scale)
    mixed = fitted_corrections(actual[order], quantiles[order], LEVELS, scale[order])
    assert np.array_equal(held, mixed)


@given(samples(), st.floats(0.1, 10), st.floats(-50, 50))
def test_units_and_levels_of_windows_are_nothing(sample, factor, shift):
    actual, quantiles, scale = sample
    held = fitted_corrections(actual, quantiles, LEVELS, scale + 0.1)
    other = fitted_corrections(
        actual * factor + shift, quantiles * factor + shift, LEVELS, (scale + 0.1) * factor
    )
    assert np.allclose(held, other, atol=1e-9)


def test_what_holds_already_is_hardly_moved():
    rng = np.random.default_rng(7)
    actual = rng.normal(size=(20_000, 1))
    held = fitted_corrections(actual, normal(1, 20_000, 1), LEVELS, np.ones(20_000))
    assert np.abs(held).max() < 0.06


def test_too_wide_is_moved_in_but_not_past_the_median():
    rng = np.random.default_rng(9)
    actual = rng.normal(size=(500, 1))
    held = fitted_corrections(actual, normal(9, 500, 1), LEVELS, np.ones(500))
    assert (held[0, MIDDLE + 1 :] < 0).all()
    after = apply(held, normal(1, 1, 1), np.ones(1))
    assert after[0, 0].tolist() == [0] * 11


def test_windows_of_another_scale_are_moved_in_theirs():
    corrections = np.array([[-1.0, 0.0, 2.0]])
    after = apply(corrections, np.zeros((3, 1, 3)), np.array([1.0, 10.0, 0.0]))
    assert after[:, 0].tolist() == [[-1, 0, 2], [-10, 0, 20], [0, 0, 0]]
    by_step = apply(corrections, np.zeros((1, 2, 3)), np.array([[1.0, 10.0]]))
    assert by_step[0].tolist() == [[-1, 0, 2], [-10, 0, 20]]


def test_a_few_windows_share_the_points_of_steps_side_by_side():
    actual = np.zeros((50, 7))
    actual[:, 0] = 100.0
    levels = (0.05, 0.5, 0.95)
    held = fitted_corrections(actual, np.zeros((50, 7, 3)), levels, np.ones(50))
    # 200 take in two steps at each side, three at the ends: the first is seen from the first three
    assert held[:, 2].tolist() == [100, 100, 100, 0, 0, 0, 0]
    many = fitted_corrections(np.tile(actual, (4, 1)), np.zeros((200, 7, 3)), levels, np.ones(200))
    assert many[:, 2].tolist() == [100, 0, 0, 0, 0, 0, 0]


def test_gaps_and_what_has_no_scale_are_left_out():
    actual = np.array([[1.0, 1.0], [math.nan, 2.0], [500.0, 500.0], [3.0, 700.0]])
    scale = np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 0.0], [1.0, math.nan]])
    held = fitted_corrections(actual, np.zeros((4, 2, 3)), (0.25, 0.5, 0.75), scale)
    assert held.tolist() == [[-2, 0, 2]] * 2  # 3rd of 1, 1, 2, 3
    by_window = fitted_corrections(
        actual[:, :1], np.zeros((4, 1, 3)), (0.25, 0.5, 0.75), scale[:, 0]
    )
    assert by_window.tolist() == [[-3, 0, 3]]  # 2nd of 1, 3


@pytest.mark.parametrize("windows", [0, 3])
def test_nothing_observed_moves_nothing(windows):
    actual = np.full((windows, 2), np.nan)
    held = fitted_corrections(actual, np.zeros((windows, 2, 11)), LEVELS, np.ones(windows))
    assert held.tolist() == [[0] * 11] * 2


def test_arrays_that_do_not_go_together():
    with pytest.raises(ShapeError, match=r"give \(N, H\), \(N, H, Q\) and \(Q,\)"):
        fitted_corrections(np.zeros((2, 3)), np.zeros((2, 3, 4)), LEVELS, np.ones(2))
    with pytest.raises(ShapeError, match=r"scale \(3,\) came for windows \(2, 3\)"):
        fitted_corrections(np.zeros((2, 3)), np.zeros((2, 3, 11)), LEVELS, np.ones(3))


@pytest.mark.parametrize("levels", [(), (0.1, 0.9), (0.9, 0.5, 0.1), (0.1, 0.5, 0.8)])
def test_levels_that_cannot_be(levels):
    with pytest.raises(ConfigError, match=r"increasing, 0\.5 among them, each with its opposite"):
        fitted_corrections(np.zeros((2, 1)), np.zeros((2, 1, len(levels))), levels, np.ones(2))


def m4_hourly(data_root, part):
    with gzip.open(data_root / "m4" / f"Hourly-{part}.csv.gz", "rt", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return [np.array([float(cell) for cell in row[1:] if cell]) for row in rows]


def test_intervals_of_m4_hourly_calibrated_on_the_two_days_before(data_root):
    """Theta's intervals hold too rarely; no series is exchangeable with itself two days later."""
    train, test = m4_hourly(data_root, "train"), np.array(m4_hourly(data_root, "test"))
    rule = BASELINES["theta"]()

    def quantiles(history):
        found = np.array([rule.fit(y, 24).predict(y[None], 48, LEVELS)[0] for y in history])
        return found, found[:, :, -1] - found[:, :, 0]

    earlier, width = quantiles([y[:-48] for y in train])
    held = fitted_corrections(np.array([y[-48:] for y in train]), earlier, LEVELS, width)
    before, width = quantiles(train)
    scale = np.array([mase_scale(y, 24) for y in train])
    plain = score(test, before, LEVELS, scale, len(train))
    after = score(test, apply(held, before, width), LEVELS, scale, len(train))
    assert after.mase == plain.mase
    assert plain.intervals.coverage_95 == pytest.approx(0.915, abs=2e-3)
    assert after.intervals.coverage_95 == pytest.approx(0.95, abs=0.01)
    assert after.intervals.coverage_80 == pytest.approx(0.80, abs=0.01)
    assert after.intervals.msis < plain.intervals.msis


def test_residuals_that_are_not_numbers_calibrate_nothing():
    draws = np.random.default_rng(0)
    actual = draws.normal(size=(300, 2))
    quantiles = np.tile(np.array([-0.1, 0.0, 0.1]), (300, 2, 1))
    levels, scale = (0.1, 0.5, 0.9), np.ones(300)
    odd_actual, odd_quantiles = actual.copy(), quantiles.copy()
    odd_quantiles[:50] = np.nan
    odd_quantiles[50:60, 1, 2] = np.inf
    odd_actual[60:70, 0] = np.inf
    odd_actual[60:70, 1] = np.nan
    found = fitted_corrections(odd_actual, odd_quantiles, levels, scale)
    assert np.isfinite(found).all()
    kept = fitted_corrections(odd_actual[70:], odd_quantiles[70:], levels, scale[70:])
    np.testing.assert_allclose(found[1], kept[1])
    nothing = fitted_corrections(actual, np.full_like(quantiles, np.nan), levels, scale)
    assert not nothing.any()
