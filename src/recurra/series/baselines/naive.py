"""The forecasts that repeat what was: the last observation, or the last season."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recurra.series.baselines.base import Baseline, Fitted, Floats, root_mean_square

__all__ = ["FittedSeasonal", "Naive", "SeasonalNaive"]


@dataclass(frozen=True)
class FittedSeasonal(Fitted):
    """The last season, repeated: `f_h = y_(T - m + 1 + (h - 1) mod m)`.

    A window shorter than a season repeats its last observation.

    Args:
        last: the last observation of the training history.
        season: m, steps in a season.
        deviation: of `y_t - y_(t-m)` within the training history.

    Source:
        Hyndman and Athanasopoulos, Forecasting: principles and practice, 3rd edition (2021),
        sections 5.2 and 5.5: the deviation grows as the root of the seasons ahead.

    Example:
        >>> FittedSeasonal(last=2.0, season=2, deviation=1.0).point(np.array([[1.0, 2.0]]), 3)
        array([[1., 2., 1.]])
    """

    season: int
    deviation: float

    def point(self, history: Floats, horizon: int) -> Floats:
        """Return the point forecasts (W, H)."""
        season = self.season if history.shape[1] >= self.season else 1
        return history[:, -season:][:, np.arange(horizon) % season]

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
