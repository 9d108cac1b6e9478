"""Baselines on real series against figures published by others."""

from __future__ import annotations

import csv
import gzip

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from recurra.series.baselines import BASELINES
from recurra.series.baselines.smoothing import (
    best_alpha,
    is_seasonal,
    last_level,
    seasonal_indices,
)
from recurra.series.judging.metrics import LEVELS, mase_scale, score

AIRLINE = np.array(
    [
        *(112, 118, 132, 129, 121, 135, 148, 148, 136, 119, 104, 118),
        *(115, 126, 141, 135, 125, 149, 170, 170, 158, 133, 114, 140),
        *(145, 150, 178, 163, 172, 178, 199, 199, 184, 162, 146, 166),
        *(171, 180, 193, 181, 183, 218, 230, 242, 209, 191, 172, 194),
        *(196, 196, 236, 235, 229, 243, 264, 272, 237, 211, 180, 201),
        *(204, 188, 235, 227, 234, 264, 302, 293, 259, 229, 203, 229),
        *(242, 233, 267, 269, 270, 315, 364, 347, 312, 274, 237, 278),
        *(284, 277, 317, 313, 318, 374, 413, 405, 355, 306, 271, 306),
        *(315, 301, 356, 348, 355, 422, 465, 467, 404, 347, 305, 336),
        *(340, 318, 362, 348, 363, 435, 491, 505, 404, 359, 310, 337),
        *(360, 342, 406, 396, 420, 472, 548, 559, 463, 407, 362, 405),
        *(417, 391, 419, 461, 472, 535, 622, 606, 508, 461, 390, 432),
    ],
    dtype=np.float64,
)


def rows(path):
    with gzip.open(path, "rt", newline="") as file:
        return list(csv.reader(file))[1:]


@pytest.fixture(scope="session")
def m4_hourly(data_root):
    """The 414 training series, their 48 test points, and their scales."""
    train, test = (
        [
            np.array([float(cell) for cell in row[1:] if cell])
            for row in rows(data_root / "m4" / f"Hourly-{part}.csv.gz")
        ]
        for part in ("train", "test")
    )
    return train, np.array(test), np.array([mase_scale(series, 24) for series in train])


@pytest.fixture(scope="session")
def etth1(data_root):
    """The 14,400 hours of the protocol, 7 variables, scaled by the first 8,640."""
    values = np.array(
        [[float(cell) for cell in row[1:]] for row in rows(data_root / "ett" / "ETTh1.csv.gz")]
    )[:14_400]
    train = values[:8_640]
    return (values - train.mean(axis=0)) / train.std(axis=0)


# sMAPE and MASE of naive, seasonal naive and Theta are the M4 competition's; .0376 is the
# published weighted quantile loss of seasonal naive with normal intervals. The rest is ours.
HOURLY = {
    "naive": (43.003, 11.608, 0.1365, 0.939),
    "seasonal_naive": (13.912, 1.193, 0.0376, 0.960),
    "drift": (43.465, 11.455, 0.1374, 0.941),
    "growth": (17.212, 1.193, 0.0408, 0.902),
    "ar": (15.184, 0.908, 0.0249, 0.938),
    "ar2": (32.077, 10.427, 0.1158, 0.900),
    "theta": (18.138, 2.455, 0.0426, 0.915),
    "ses": (42.955, 11.607, 0.1364, 0.938),
}


@pytest.mark.parametrize("name", list(BASELINES))
def test_m4_hourly(m4_hourly, name):
    train, test, scale = m4_hourly
    baseline = BASELINES[name]()
    quantiles = [baseline.fit(y, 24).predict(y[None], 48, LEVELS)[0] for y in train]
    metrics = score(test, np.array(quantiles), LEVELS, scale, len(train))
    smape, mase, crps, coverage = HOURLY[name]
    smoothed = name in ("theta", "ses")
    assert metrics.smape == pytest.approx(smape, abs=5e-3 if smoothed else 5e-4)
    assert metrics.mase == pytest.approx(mase, abs=1.5e-3 if smoothed else 5e-4)
    assert metrics.crps == pytest.approx(crps, abs=1e-4)
    assert metrics.intervals.coverage_95 == pytest.approx(coverage, abs=1e-3)


def test_seasonal_naive_without_intervals_has_another_crps(m4_hourly):
    """What is published as .0376 counts the normal intervals; the points alone have .0483."""
    train, test, scale = m4_hourly
    points = np.array([np.tile(y[-24:], 2) for y in train])
    metrics = score(test, np.repeat(points[:, :, None], 11, axis=2), LEVELS, scale, 414)
    assert metrics.crps == pytest.approx(0.0483, abs=5e-5)


@pytest.mark.parametrize(("smoothed", "smape", "mase"), [(0, 18.383, 2.395), (1, 18.094, 2.385)])
def test_the_season_is_taken_out_as_by_the_competition(m4_hourly, smoothed, smape, mase):
    """Its Naive2 and SES: the deseasonalised series' last value or level, and the season again."""
    train, test, scale = m4_hourly
    points = []
    for y in train:
        season = np.ones(24)
        if is_seasonal(y, 24):
            season = seasonal_indices(y[None], 24, "multiplicative")[0]
        plain = y / season[np.arange(-len(y), 0) % 24]
        level = last_level(plain[None], best_alpha(plain))[0] if smoothed else plain[-1]
        points.append(level * np.tile(season, 2))
    quantiles = np.repeat(np.array(points)[:, :, None], 11, axis=2)
    metrics = score(test, quantiles, LEVELS, scale, 414)
    assert metrics.smape == pytest.approx(smape, abs=2e-3 if smoothed else 5e-4)
    assert metrics.mase == pytest.approx(mase, abs=1e-3 if smoothed else 5e-4)


# Square and absolute errors; those of naive are the published ones of repeating the last value.
ETTH1 = {
    "naive": (1.294, 0.713),
    "seasonal_naive": (0.512, 0.433),
    "ar": (0.477, 0.460),
    "theta": (0.616, 0.525),
}


@pytest.mark.parametrize("name", list(ETTH1))
def test_etth1_96_hours_ahead(etth1, name):
    windows = sliding_window_view(etth1[11_520 - 720 :], 720 + 96, axis=0)
    assert windows.shape == (2_785, 7, 816)
    square, absolute = [], []
    for variable in range(7):
        fitted = BASELINES[name]().fit(etth1[:8_640, variable], 24)
        point = fitted.predict(windows[:, variable, :720], 96, [0.5])[:, :, 0]
        error = windows[:, variable, 720:] - point
        square.append((error**2).mean())
        absolute.append(np.abs(error).mean())
    assert np.mean(square) == pytest.approx(ETTH1[name][0], abs=5e-4)
    assert np.mean(absolute) == pytest.approx(ETTH1[name][1], abs=5e-4)


def airline_error(name, months):
    fitted = BASELINES[name]().fit(AIRLINE[:-months], 12)
    point = fitted.predict(AIRLINE[None, :-months], months, [0.5])[0, :, 0]
    return 100 * np.abs(point / AIRLINE[-months:] - 1).mean()


def test_airline():
    assert AIRLINE.sum() == 40_363
    assert airline_error("growth", 12) == pytest.approx(2.95, abs=5e-3)
    assert airline_error("theta", 36) == pytest.approx(8.15, abs=0.06)  # smoothers differ a little
    errors = {name: round(float(airline_error(name, 12)), 2) for name in BASELINES}
    assert errors == {
        "naive": 14.25,
        "seasonal_naive": 9.99,
        "drift": 12.42,
        "growth": 2.95,
        "ar": 2.83,
        "ar2": 20.36,
        "theta": 5.32,
        "ses": 14.25,
    }
