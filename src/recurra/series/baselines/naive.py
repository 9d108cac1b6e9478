"""The forecasts that repeat what was: the last observation, or the last season and its growth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recurra.series.baselines.base import Baseline, Fitted, Floats, root_mean_square

__all__ = ["FittedSeasonal", "Growth", "Naive", "SeasonalNaive"]

MOST = 2.0  # a season is at most doubled or halved: beyond that the one before is near zero


@dataclass(frozen=True)
class FittedSeasonal(Fitted):
    """The last season, repeated, times its growth: `f_h = g y_(T - m + 1 + (h - 1) mod m)`.

    A window shorter than a season repeats its last observation. `g` is 1, or where the season
    grows the sum of the last season over the sum of the one before, kept between 1/2 and 2. Where
    the window is shorter than two seasons, one of these has a value that is not positive, or there
    is no season, it is 1. It does not compound over the seasons ahead: of a short season, as a
    day's hours, that is wilder than it is right.

    Args:
        last: the last observation of the training history.
        season: m, steps in a season.
        deviation: of the errors a season ahead, within the training history.
        grows: whether the season does.

    Source:
        Hyndman and Athanasopoulos, Forecasting: principles and practice, 3rd edition (2021),
        sections 5.2 and 5.5: the deviation grows as the root of the seasons ahead.

    Example:
        >>> FittedSeasonal(last=2.0, season=2, deviation=1.0).point(np.array([[1.0, 2.0]]), 3)
        array([[1., 2., 1.]])
        >>> grown = FittedSeasonal(last=4.0, season=2, deviation=0.0, grows=True)
        >>> grown.point(np.array([[2.0, 3.0, 4.0, 6.0]]), 2)
        array([[ 8., 12.]])
    """

    season: int
    deviation: float
    grows: bool = False

    def point(self, history: Floats, horizon: int) -> Floats:
        """Return the point forecasts (W, H)."""
        season = self.season if history.shape[1] >= self.season else 1
        repeated = history[:, -season:][:, np.arange(horizon) % season]
        if not self.grows or season == 1 or history.shape[1] < 2 * season:
            return repeated
        last, before = history[:, -season:], history[:, -2 * season : -season]
        positive = history[:, -2 * season :].min(axis=1) > 0
        growth = _growth(last.sum(axis=1), before.sum(axis=1), positive)
        return repeated * growth[:, None]

    def spread(self, horizon: int) -> Floats:
        """Return the deviation (H,) of the errors."""
        seasons = 1 + np.arange(horizon) // self.season
        return self.deviation * np.sqrt(seasons.astype(np.float64))


class SeasonalNaive(Baseline):
    """Repeats the last season.

    A history of no more than a season is fitted as if there were none.

    Example:
        >>> fitted = SeasonalNaive().fit([1.0, 5.0, 2.0, 6.0], season=2)
        >>> fitted.predict([[2.0, 6.0]], horizon=3, levels=[0.5])[0, :, 0]
        array([2., 6., 2.])
    """

    def learn(self, values: Floats, season: int) -> Fitted:
        """Return the rule fitted to a history."""
        lag = season if len(values) > season else 1
        deviation = root_mean_square(values[lag:] - values[:-lag])
        return FittedSeasonal(last=float(values[-1]), season=lag, deviation=deviation)


class Naive(Baseline):
    """Repeats the last observation.

    Example:
        >>> Naive().fit([1.0, 5.0], season=2).predict([[1.0, 5.0]], 2, levels=[0.5])[0, :, 0]
        array([5., 5.])
    """

    def learn(self, values: Floats, season: int) -> Fitted:
        """Return the rule fitted to a history."""
        return SeasonalNaive().learn(values, 1)


class Growth(Baseline):
    """Repeats the last season, times its growth over the season before.

    Example:
        >>> fitted = Growth().fit([2.0, 3.0, 4.0, 6.0], season=2)
        >>> fitted.predict([[2.0, 3.0, 4.0, 6.0]], horizon=3, levels=[0.5])[0, :, 0]
        array([ 8., 12.,  8.])
    """

    def learn(self, values: Floats, season: int) -> Fitted:
        """Return the rule fitted to a history."""
        lag = season if len(values) > season else 1
        repeated = values[:-lag]
        if lag > 1 and len(values) > 2 * lag:
            sums = np.convolve(values[:-1], np.ones(lag), mode="valid")
            lows = np.lib.stride_tricks.sliding_window_view(values[:-1], 2 * lag).min(axis=1)
            growth = _growth(sums[lag:], sums[:-lag], lows > 0)
            repeated = values[lag:-lag] * growth
        errors = values[len(values) - len(repeated) :] - repeated
        return FittedSeasonal(float(values[-1]), lag, root_mean_square(errors), grows=True)


def _growth(last: Floats, before: Floats, positive: NDArray[np.bool_]) -> Floats:
    ratio = np.where(positive, last, 1.0) / np.where(positive, before, 1.0)
    return np.clip(ratio, 1 / MOST, MOST)
