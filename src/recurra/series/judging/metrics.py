"""How well observations were forecast, in the words of the forecasting competitions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recurra.errors import ConfigError, ShapeError

__all__ = ["LEVELS", "ForecastMetrics", "IntervalMetrics", "level_index", "mase_scale", "score"]

Floats = NDArray[np.float64]

# Shape legend: N windows, H steps ahead, Q quantile levels, T observations.

LEVELS = (0.025, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.975)
"""The quantiles every forecast to be scored has: the nine deciles and the 95% interval."""

DECILES = LEVELS[1:-1]


@dataclass(frozen=True)
class IntervalMetrics:
    """How well the intervals of a forecast held.

    Args:
        coverage_80: fraction of the points from the 0.1 to the 0.9 quantile, both included.
        coverage_95: fraction of the points from the 0.025 to the 0.975 quantile.
        msis: mean scaled interval score of the 95% interval; NaN where no window has a scale.

    Source:
        MSIS: Gneiting and Raftery, Strictly proper scoring rules (2007), section 6.2, over the
        scale of MASE, as the M4 competition took it.

    Example:
        >>> IntervalMetrics(coverage_80=0.79, coverage_95=0.96, msis=8.2).coverage_95
        0.96
    """

    coverage_80: float
    coverage_95: float
    msis: float


@dataclass(frozen=True)
class ForecastMetrics:
    """How well series were forecast; NaN stands for what could not be measured.

    Args:
        series: how many series were scored.
        horizon: steps ahead of each window.
        mase: mean absolute error over the in-sample error of seasonal naive, the mean of windows.
        smape: symmetric absolute error in percent, from 0 to 200, the mean of windows.
        mae: mean absolute error of all points.
        mse: mean square error of all points.
        crps: weighted quantile loss of the nine deciles.
        intervals: coverage and score of the intervals.

    Example:
        >>> held = IntervalMetrics(coverage_80=0.8, coverage_95=0.95, msis=math.nan)
        >>> metrics = ForecastMetrics(1, 12, math.nan, 5.1, 3.0, 16.0, 0.04, held)
        >>> metrics.rmse, metrics.as_dict()["mase"], metrics.as_dict()["coverage_80"]
        (4.0, None, 0.8)
    """

    series: int
    horizon: int
    mase: float
    smape: float
    mae: float
    mse: float
    crps: float
    intervals: IntervalMetrics

    @property
    def rmse(self) -> float:
        """The root of `mse`."""
        return math.sqrt(self.mse)

    def as_dict(self) -> dict[str, float | int | None]:
        """Return the report's entry: what is not finite is None."""
        entry: dict[str, float | int | None] = {"series": self.series, "horizon": self.horizon}
        for name in ("mase", "smape", "rmse", "mae", "mse", "crps"):
            entry[name] = _finite(getattr(self, name))
        for name in ("coverage_80", "coverage_95", "msis"):
            entry[name] = _finite(getattr(self.intervals, name))
        return entry


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def mase_scale(values: ArrayLike, season: int) -> float:
    """Return a series' scale: the mean of `|y_t - y_(t-season)|` over its training part.

    Where no two observations stand a season apart, as in a short series, those one step apart are
    taken; where there are none of these either, the scale is NaN. A constant series has scale 0.

    Args:
        values: the training part (T,), NaN where there is a gap.
        season: steps in a season, 1 where there is none.

    Raises:
        ShapeError: the values are not one series.
        ConfigError: the season is not positive.

    Source:
        Hyndman and Koehler, Another look at measures of forecast accuracy (2006), section 3.

    Example:
        >>> mase_scale([1.0, 5.0, 2.0, 8.0], season=2)
        2.0
    """
    y = np.asarray(values, dtype=np.float64)
    if y.ndim != 1:
        raise ShapeError(f"the scale of values {y.shape} was asked; give one series (T,)")
    if season < 1:
        raise ConfigError(f"season is {season}; give the steps in a season, 1 where there is none")
    for lag in dict.fromkeys((season, 1)):
        change = np.abs(y[lag:] - y[:-lag])
        change = change[~np.isnan(change)]
        if change.size:
            return float(change.mean())
    return math.nan


def level_index(levels: Sequence[float] | Floats, level: float) -> int:
    """Return where a quantile level stands among levels.

    Args:
        levels: quantile levels (Q,), each between 0 and 1.
        level: the one sought.

    Raises:
        ConfigError: it is not there.

    Example:
        >>> level_index(LEVELS, 0.5)
        5
    """
    found = np.flatnonzero(np.isclose(np.asarray(levels, dtype=np.float64), level, atol=1e-9))
    if not found.size:
        there = ", ".join(f"{value:g}" for value in levels)
        raise ConfigError(f"the forecast lacks the quantile {level:g}; it has {there}; add it")
    return int(found[0])


def score(
    actual: Floats,
    quantiles: Floats,
    levels: Sequence[float] | Floats,
    scale: Floats,
    series: int,
) -> ForecastMetrics:
    """Score the quantiles forecast for windows against what came; the median is the forecast.

    MASE, sMAPE and MSIS are taken of each window, then averaged; the others are over all points.
    With `f` the median and `q_a` the quantile of level `a`::

        mase  = mean over windows of  mean |y - f| / scale
        smape = mean over windows of  mean 200 |y - f| / (|y| + |f|),  0/0 = 0
        crps  = mean over a = .1 ... .9 of  2 sum max(a (y - q_a), (a - 1) (y - q_a)) / sum |y|
        msis  = mean over windows of
                mean (u - l + 40 max(l - y, 0) + 40 max(y - u, 0)) / scale,  l, u = q_.025, q_.975

    A point that is a gap is left out everywhere, a window whose scale is 0 or NaN has no MASE and
    no MSIS. What is left without any point is NaN.

    Args:
        actual: what came, NaN where nothing was observed.
        quantiles: what was forecast.
        levels: the quantiles' levels; LEVELS must be among them.
        scale: of each window, the `mase_scale` of the training part of its series.
        series: how many series the windows are of.

    Raises:
        ShapeError: the arrays do not go together.
        ConfigError: one of LEVELS is missing.

    Shapes:
        actual (N, H), quantiles (N, H, Q), levels (Q,), scale (N,).

    Source:
        Makridakis, Spiliotis and Assimakopoulos, The M4 competition (2020), section 2; CRPS as the
        mean weighted quantile loss of Alexandrov et al., GluonTS (2020).

    Example:
        >>> forecast = np.full((1, 2, len(LEVELS)), 10.0)
        >>> metrics = score(np.array([[8.0, 12.0]]), forecast, LEVELS, np.array([4.0]), series=1)
        >>> metrics.mase, metrics.mse, metrics.crps
        (0.5, 4.0, 0.2)
    """
    y, q = np.asarray(actual, dtype=np.float64), np.asarray(quantiles, dtype=np.float64)
    unit = np.asarray(scale, dtype=np.float64)
    if y.ndim != 2 or q.shape != (*y.shape, len(levels)) or unit.shape != y.shape[:1]:
        raise ShapeError(
            f"actual {y.shape}, quantiles {q.shape}, {len(levels)} levels and scale {unit.shape} "
            "do not go together; give (N, H), (N, H, Q), (Q,) and (N,)"
        )
    at = {level: q[:, :, level_index(levels, level)] for level in LEVELS}
    with np.errstate(over="ignore", invalid="ignore"):  # of a forecast that went to infinity
        return _measured(y, at, unit, series)


def _measured(y: Floats, at: dict[float, Floats], unit: Floats, series: int) -> ForecastMetrics:
    error, here = np.abs(y - at[0.5]), ~np.isnan(y)
    total = np.abs(y) + np.abs(at[0.5])
    symmetric = np.where(total == 0, 0.0, 200 * error / np.where(total == 0, 1.0, total))
    return ForecastMetrics(
        series=series,
        horizon=y.shape[1],
        mase=_scaled(error, here, unit),
        smape=_scaled(symmetric, here, np.ones(len(y))),
        mae=_mean(error[here]),
        mse=_mean(error[here] ** 2),
        crps=_crps(y[here], [(level, at[level][here]) for level in DECILES]),
        intervals=_intervals(y, here, at, unit),
    )


def _intervals(
    y: Floats, here: NDArray[np.bool_], at: dict[float, Floats], unit: Floats
) -> IntervalMetrics:
    low, high = at[0.025], at[0.975]
    width = high - low + 40 * (np.maximum(low - y, 0) + np.maximum(y - high, 0))
    return IntervalMetrics(
        coverage_80=_mean(((at[0.1] <= y) & (y <= at[0.9]))[here]),
        coverage_95=_mean(((low <= y) & (y <= high))[here]),
        msis=_scaled(width, here, unit),
    )


def _scaled(values: Floats, here: NDArray[np.bool_], unit: Floats) -> float:
    """The mean over windows of their means, in their units; without a unit or a point, left out."""
    kept = here.any(axis=1) & (unit > 0)
    total = np.where(here, values, 0.0).sum(axis=1)
    return _mean(total[kept] / here.sum(axis=1)[kept] / unit[kept])


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if values.size else math.nan


def _crps(y: Floats, quantiles: list[tuple[float, Floats]]) -> float:
    total = float(np.abs(y).sum())
    if total == 0:
        return math.nan
    losses = [2 * np.maximum(a * (y - q), (a - 1) * (y - q)).sum() for a, q in quantiles]
    return float(np.mean(losses)) / total
