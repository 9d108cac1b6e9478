"""What a baseline is: a rule fitted to one series, that forecasts from any window of it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recurra.errors import ConfigError, DataError, ShapeError

__all__ = ["Baseline", "Fitted", "Floats", "fill_forward", "normal_quantiles", "root_mean_square"]

Floats = NDArray[np.float64]

LARGEST = 1e150

# Shape legend: T points of training history, W windows, L points seen, H steps ahead, Q levels.


@dataclass(frozen=True)
class Fitted(ABC):
    """A baseline fitted to one series: point forecasts with normal intervals about them.

    Args:
        last: the last observation of the training history; a window of gaps is taken for it.

    Example:
        >>> @dataclass(frozen=True)
        ... class Flat(Fitted):
        ...     def point(self, history, horizon):
        ...         return np.zeros((len(history), horizon))
        ...
        ...     def spread(self, horizon):
        ...         return np.ones(horizon)
        >>> Flat(last=3.0).predict([[1.0, 2.0]], horizon=1, levels=[0.5, 0.975]).round(2)
        array([[[0.  , 1.96]]])
    """

    last: float

    @abstractmethod
    def point(self, history: Floats, horizon: int) -> Floats:
        """Return the point forecasts (W, H) after windows of history.

        Args:
            history: (W, L) without gaps, oldest first.
            horizon: H, steps ahead.
        """

    @abstractmethod
    def spread(self, horizon: int) -> Floats:
        """Return the standard deviation (H,) of the forecast's error, 1 to H steps ahead.

        Args:
            horizon: H, steps ahead.
        """

    @final
    def predict(self, history: ArrayLike, horizon: int, levels: Sequence[float] | Floats) -> Floats:
        """Return the quantiles (W, H, Q) of the steps that follow each window.

        Gaps in a window are filled by the observation before them.

        Args:
            history: windows (W, L), oldest observation first, NaN where there is a gap.
            horizon: H, steps ahead.
            levels: the quantiles' levels (Q,), each between 0 and 1.

        Raises:
            ShapeError: the windows are not (W, L) with L at least 1.
            ConfigError: the horizon or a level is out of range.
        """
        windows = np.asarray(history, dtype=np.float64)
        if windows.ndim != 2 or not windows.shape[1]:
            raise ShapeError(
                f"a baseline got history {windows.shape}; give windows (W, L) with L at least 1"
            )
        if horizon < 1:
            raise ConfigError(f"horizon is {horizon}; give the steps to forecast, at least 1")
        z = normal_quantiles(levels)
        point = self.point(fill_forward(windows, self.last), horizon)
        return point[:, :, None] + self.spread(horizon)[None, :, None] * z


class Baseline(ABC):
    """A rule that forecasts without a network. Your own is used by `module:Name`.

    A deviation that the training history is too short to tell is taken as 0.

    Example:
        >>> class Zero(Baseline):
        ...     def learn(self, values, season):
        ...         return FLAT  # a Fitted
        >>> FLAT = "the rule fitted to it"
        >>> Zero().fit([1.0, 2.0, 3.0], season=1)
        'the rule fitted to it'
    """

    @abstractmethod
    def learn(self, values: Floats, season: int) -> Fitted:
        """Return the rule fitted to a history.

        Args:
            values: (T,) without gaps, T at least 1.
            season: steps in a season, 1 where there is none.
        """

    @final
    def fit(self, values: ArrayLike, season: int) -> Fitted:
        """Return the rule fitted to the training history of one variable.

        Gaps are filled by the observation before them, those at the beginning by the first.

        Args:
            values: (T,), oldest first, NaN where there is a gap.
            season: steps in a season, 1 where there is none.

        Raises:
            ShapeError: the values are not one series.
            DataError: there is no observation in them, or one is too large to be squared.
            ConfigError: the season is not positive.
        """
        y = np.asarray(values, dtype=np.float64)
        if y.ndim != 1:
            raise ShapeError(f"a baseline got values {y.shape}; give one series (T,)")
        if season < 1:
            raise ConfigError(
                f"season is {season}; give the steps in a season, 1 where there is none"
            )
        gaps, large = int(np.isnan(y).sum()), int((np.abs(y) > LARGEST).sum())
        if gaps == len(y) or large:
            raise DataError(
                f"a baseline got {len(y)} values, {gaps} of them gaps and {large} infinite or "
                f"over {LARGEST:g}; give at least one observation, and none so large"
            )
        return self.learn(fill_forward(y[None], math.nan)[0], season)


def fill_forward(values: Floats, default: float) -> Floats:
    """Return windows with each gap filled by the observation before it.

    A gap at the beginning takes the first observation, a window of gaps alone the default.

    Args:
        values: (W, L), NaN where there is a gap.
        default: for windows that hold nothing else.

    Example:
        >>> gaps = np.array([[math.nan, 1.0, math.nan, 2.0], [math.nan] * 4])
        >>> fill_forward(gaps, default=5.0).tolist()
        [[1.0, 1.0, 1.0, 2.0], [5.0, 5.0, 5.0, 5.0]]
    """
    gap = np.isnan(values)
    if not gap.any():
        return values
    positions = np.arange(values.shape[1])
    before = np.maximum.accumulate(np.where(gap, -1, positions), axis=1)
    source = np.where(before < 0, np.argmin(gap, axis=1)[:, None], before)
    filled: Floats = np.take_along_axis(values, source, axis=1)
    return np.where(np.isnan(filled), default, filled)


def normal_quantiles(levels: Sequence[float] | Floats) -> Floats:
    """Return the standard normal distribution's quantiles (Q,).

    Args:
        levels: between 0 and 1, both excluded.

    Raises:
        ConfigError: one is out of range.

    Example:
        >>> normal_quantiles([0.5, 0.975]).round(4).tolist()
        [0.0, 1.96]
    """
    wrong = [float(level) for level in levels if not 0 < level < 1]
    if wrong:
        raise ConfigError(f"a quantile's level is {wrong[0]}; give levels between 0 and 1")
    return np.array([NormalDist().inv_cdf(float(level)) for level in levels])


def root_mean_square(residuals: Floats) -> float:
    """Return the deviation about zero; 0 where there is no residual.

    Args:
        residuals: one-step errors within the training history.

    Example:
        >>> root_mean_square(np.array([3.0, -3.0])), root_mean_square(np.array([]))
        (3.0, 0.0)
    """
    return math.sqrt(float(np.mean(residuals**2))) if residuals.size else 0.0
