"""Exponential smoothing, and the Theta method, which smooths about half of a trend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from recurra.series.baselines.base import Baseline, Fitted, Floats, root_mean_square

__all__ = [
    "ExponentialSmoothing",
    "FittedSmoothing",
    "FittedTheta",
    "Theta",
    "best_alpha",
    "is_seasonal",
    "last_level",
    "seasonal_indices",
    "smooth",
]

BLOCK = 32  # steps of the recurrence that one matrix product takes
FEWEST, MOST = 1e-4, 1 - 1e-4  # of alpha

Kind = Literal["none", "additive", "multiplicative"]


@dataclass(frozen=True)
class FittedSmoothing(Fitted):
    """A flat line at the smoothed level: `l_t = l_(t-1) + alpha (y_t - l_(t-1))`, `l_1 = y_1`.

    Args:
        last: the last observation of the training history.
        alpha: how much of an error the level takes up, 0 to 1.
        deviation: of the one-step errors within the training history.

    Differs:
        The level begins at the first observation; R's `ses` fits it too.

    Source:
        Hyndman and Athanasopoulos, Forecasting: principles and practice, 3rd edition (2021),
        sections 8.1 and 8.7: the deviation is `sigma sqrt(1 + (h - 1) alpha^2)`.

    Example:
        >>> FittedSmoothing(last=3.0, alpha=0.5, deviation=0.0).point(np.array([[1.0, 3.0]]), 2)
        array([[2., 2.]])
    """

    alpha: float
    deviation: float

    def point(self, history: Floats, horizon: int) -> Floats:
        """Return the point forecasts (W, H)."""
        return np.repeat(last_level(history, self.alpha)[:, None], horizon, axis=1)

    def spread(self, horizon: int) -> Floats:
        """Return the deviation (H,) of the errors."""
        return _smoothing_spread(self.deviation, self.alpha, horizon)


class ExponentialSmoothing(Baseline):
    """Simple exponential smoothing; alpha has the least squares of one-step errors.

    Example:
        >>> fitted = ExponentialSmoothing().fit([1.0, 1.0, 5.0, 5.0, 5.0, 9.0, 9.0], season=1)
        >>> fitted.predict([[5.0, 9.0]], horizon=1, levels=[0.5]).round(1).item()
        9.0
    """

    def learn(self, values: Floats, season: int) -> Fitted:
        """Return the rule fitted to a history."""
        alpha = best_alpha(values)
        errors = values[1:] - smooth(values, np.array([alpha]))[0, :-1]
        return FittedSmoothing(
            last=float(values[-1]), alpha=alpha, deviation=root_mean_square(errors)
        )


@dataclass(frozen=True)
class FittedTheta(Fitted):
    """The mean of two Theta lines of each window, times (or plus) its seasonal indices.

    The line of theta 0 is the least squares trend of the deseasonalised window, carried on; that
    of theta 2, `2 y - trend`, is smoothed exponentially and carried on flat.

    Args:
        last: the last observation of the training history.
        season: m, steps in a season.
        kind: how the season is taken out. A window with a value that is not positive is adjusted
            additively where `kind` is multiplicative.
        alpha: of the smoothing.
        deviation: of the one-step errors within the training history.

    Source:
        Assimakopoulos and Nikolopoulos, The theta model (2000); the deviation as Hyndman and
        Billah, Unmasking the Theta method (2003): smoothing with a drift.

    Example:
        >>> theta = FittedTheta(4.0, season=1, kind="none", alpha=1.0, deviation=0.0)
        >>> theta.point(np.array([[1.0, 2.0, 3.0, 4.0]]), 2).round(9)
        array([[4.5, 5. ]])
    """

    season: int
    kind: Kind
    alpha: float
    deviation: float

    def point(self, history: Floats, horizon: int) -> Floats:
        """Return the point forecasts (W, H)."""
        if self.kind != "multiplicative":
            return self._point(history, horizon, self.kind)
        positive = (history > 0).all(axis=1)
        point = np.empty((len(history), horizon))
        point[positive] = self._point(history[positive], horizon, "multiplicative")
        point[~positive] = self._point(history[~positive], horizon, "additive")
        return point

    def _point(self, history: Floats, horizon: int, kind: Kind) -> Floats:
        length = history.shape[1]
        indices = seasonal_indices(history, self.season, kind)
        y = _without(history, _repeated(indices, -length, 0), kind)
        line = _trend(y, horizon)
        smoothed = last_level(2 * y - line[:, :length], self.alpha)
        point = (smoothed[:, None] + line[:, length:]) / 2
        return _with(point, _repeated(indices, 0, horizon), kind)

    def spread(self, horizon: int) -> Floats:
        """Return the deviation (H,) of the errors."""
        return _smoothing_spread(self.deviation, self.alpha, horizon)


class Theta(Baseline):
    """The Theta method as the M4 competition's benchmark: season out, lines 0 and 2, their mean.

    A season is taken out where it is significant and two of it are there: by ratios where all
    values are positive, else by differences.

    Differs:
        The benchmark's smoothing fits its first level too.

    Source:
        Assimakopoulos and Nikolopoulos, The theta model (2000).

    Example:
        >>> fitted = Theta().fit([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], season=1)
        >>> fitted.predict([[4.0, 5.0, 6.0]], horizon=2, levels=[0.5])[0, :, 0].round(2)
        array([6.5, 7. ])
    """

    def learn(self, values: Floats, season: int) -> Fitted:
        """Return the rule fitted to a history."""
        kind: Kind = "none"
        if is_seasonal(values, season):
            kind = "multiplicative" if (values > 0).all() else "additive"
        indices = _repeated(seasonal_indices(values[None], season, kind), -len(values), 0)
        y = _without(values[None], indices, kind)
        line = _trend(y, 0)
        second = (2 * y - line)[0]
        alpha = best_alpha(second)
        fit = (smooth(second, np.array([alpha]))[:, :-1] + line[:, 1:]) / 2
        fit = _with(fit, indices[:, 1:], kind)[0]
        return FittedTheta(
            last=float(values[-1]),
            season=season,
            kind=kind,
            alpha=alpha,
            deviation=root_mean_square(values[1:] - fit),
        )


def smooth(values: Floats, alphas: Floats) -> Floats:
    """Return the smoothed levels (A, T) of a series for several alphas.

    The recurrence is taken a block of steps at a time: within a block it is a matrix.

    Args:
        values: (T,) without gaps.
        alphas: (A,), each from 0 to 1.

    Example:
        >>> smooth(np.array([0.0, 8.0, 8.0]), np.array([0.5, 1.0])).tolist()
        [[0.0, 4.0, 6.0], [0.0, 8.0, 8.0]]
    """
    keep = (1 - alphas)[:, None] ** np.arange(BLOCK + 1)  # (A, B + 1)
    ago = np.arange(BLOCK)[:, None] - np.arange(BLOCK)
    kernel = np.where(ago >= 0, alphas[:, None, None] * keep[:, np.maximum(ago, 0)], 0.0)
    blocks = -(-len(values) // BLOCK)
    padded = np.zeros(blocks * BLOCK)
    padded[: len(values)] = values
    levels = kernel @ padded.reshape(blocks, BLOCK).T  # (A, B, blocks)
    before = np.full(len(alphas), values[0])
    for block in range(blocks):
        levels[:, :, block] += keep[:, 1:] * before[:, None]
        before = levels[:, -1, block]
    return levels.transpose(0, 2, 1).reshape(len(alphas), -1)[:, : len(values)]


def last_level(history: Floats, alpha: float) -> Floats:
    """Return the smoothed level (W,) at the end of each window.

    Args:
        history: (W, L) without gaps.
        alpha: of the smoothing.

    Example:
        >>> last_level(np.array([[0.0, 8.0, 8.0]]), 0.5).tolist()
        [6.0]
    """
    weights = alpha * (1 - alpha) ** np.arange(history.shape[1])[::-1]
    weights[0] = (1 - alpha) ** (history.shape[1] - 1)
    return history @ weights


def best_alpha(values: Floats) -> float:
    """Return the alpha of least squared one-step errors, to about 0.001, from 0.0001 to 0.9999.

    Args:
        values: (T,) without gaps.

    Example:
        >>> best_alpha(np.array([1.0, 2.0, 3.0, 4.0]))
        0.9999
    """
    low, high = FEWEST, MOST
    best = MOST
    for _ in range(2):
        alphas = np.linspace(low, high, 33)
        errors = values[1:] - smooth(values, alphas)[:, :-1]
        at = int(np.argmin((errors**2).sum(axis=1)))
        best, low, high = float(alphas[at]), alphas[max(at - 1, 0)], alphas[min(at + 1, 32)]
    return best


def is_seasonal(values: Floats, season: int) -> bool:
    """Tell whether the autocorrelation a season apart is significant at 90%, three seasons seen.

    Args:
        values: (T,) without gaps.
        season: m, steps in a season.

    Source:
        The M4 competition's benchmarks: `|r_m| > 1.645 sqrt((1 + 2 sum_(i<m) r_i^2) / T)`.

    Example:
        >>> is_seasonal(np.tile([1.0, 2.0, 3.0, 9.0], 5), 4)
        True
    """
    centred = values - values.mean()
    power = float(centred @ centred)
    if season < 2 or len(values) < 3 * season or power <= 0:
        return False
    r = np.array([centred[lag:] @ centred[:-lag] for lag in range(1, season + 1)]) / power
    limit = 1.645 * np.sqrt((1 + 2 * (r[:-1] ** 2).sum()) / len(values))
    return bool(abs(r[-1]) > limit)


def seasonal_indices(history: Floats, season: int, kind: Kind) -> Floats:
    """Return the indices (W, m) of the season that follows each window, by classical decomposition.

    The window over (or less) its centred moving average of a season, averaged over the seasons;
    their mean is 1 (or 0). A window shorter than two seasons is compared with the mean of its
    last one; shorter than one, it has no season.

    Args:
        history: (W, L) without gaps; all positive where `kind` is multiplicative.
        season: m, steps in a season.
        kind: `"multiplicative"`, `"additive"`, or `"none"` for indices of 0.

    Example:
        >>> seasonal_indices(np.tile([1.0, 3.0], 4)[None], 2, "multiplicative").tolist()
        [[0.5, 1.5]]
    """
    length = history.shape[1]
    if kind == "none" or length < season:
        return np.full((len(history), season), 1.0 if kind == "multiplicative" else 0.0)
    if length < 2 * season:
        first, last = length - season, length
        trend = history[:, first:].mean(axis=1, keepdims=True)
    else:
        first, last = season // 2, length - season // 2
        trend = sliding_window_view(history, season, axis=1).mean(axis=2)
        trend = trend if season % 2 else (trend[:, 1:] + trend[:, :-1]) / 2
    y = history[:, first:last]
    around = y / trend if kind == "multiplicative" else y - trend
    phase = (np.arange(first, last) - length) % season  # 0 is the first step after the window
    member = (phase[:, None] == np.arange(season)).astype(np.float64)
    indices: Floats = around @ (member / member.sum(axis=0))
    mean: Floats = indices.mean(axis=1, keepdims=True)
    return indices / mean if kind == "multiplicative" else indices - mean


def _repeated(indices: Floats, start: int, stop: int) -> Floats:
    """The indices of the steps from `start` to `stop`, counted from the window's end."""
    return indices[:, np.arange(start, stop) % indices.shape[1]]


def _without(y: Floats, season: Floats, kind: Kind) -> Floats:
    return y / season if kind == "multiplicative" else y - season


def _with(y: Floats, season: Floats, kind: Kind) -> Floats:
    return y * season if kind == "multiplicative" else y + season


def _trend(y: Floats, horizon: int) -> Floats:
    """The least squares line (W, L + H) of each window, carried on."""
    length = y.shape[1]
    t = np.arange(length + horizon) - (length - 1) / 2
    seen = t[:length]
    slope = y @ seen / max(float(seen @ seen), 1.0)
    line: Floats = y.mean(axis=1)[:, None] + slope[:, None] * t
    return line


def _smoothing_spread(deviation: float, alpha: float, horizon: int) -> Floats:
    steps = np.arange(horizon, dtype=np.float64)
    return deviation * np.sqrt(1 + alpha**2 * steps)
