"""A linear function of the observations before, fitted by least squares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from recurra.series.baselines.base import Baseline, Fitted, Floats, root_mean_square

__all__ = ["Autoregression", "FittedAutoregression", "SecondOrder"]

MOST_LAGS = 200  # keeps the fit of a long season to a second
FARTHEST = 1e6  # deviations from the mean: where an explosive recurrence is stopped
ROUNDING = 1e-24  # of the sum of squares: a residual below it is rounding, not noise


@dataclass(frozen=True, eq=False)
class FittedAutoregression(Fitted):
    """A linear recurrence: `z_t = c + a_1 z_(t-1) + ... + a_p z_(t-p)`, on `z = (y - mean) / unit`.

    A window shorter than `p` is continued backwards with its first observation.

    Args:
        last: the last observation of the training history.
        mean: of the training history.
        unit: the training history's deviation; 1 where it is constant.
        intercept: c.
        coefficients: a (p,), that of the step before first.
        deviation: of the one-step errors within the training history, in units.

    Example:
        >>> fitted = FittedAutoregression(2.0, 0.0, 1.0, 1.0, np.array([0.5]), 1.0)
        >>> fitted.point(np.array([[2.0], [4.0]]), 2).tolist(), fitted.spread(2).round(3).tolist()
        ([[2.0, 2.0], [3.0, 2.5]], [1.0, 1.118])
    """

    mean: float
    unit: float
    intercept: float
    coefficients: Floats
    deviation: float

    def point(self, history: Floats, horizon: int) -> Floats:
        """Return the point forecasts (W, H)."""
        order = len(self.coefficients)
        lacking = max(order - history.shape[1], 0)
        seen = np.concatenate([np.repeat(history[:, :1], lacking, axis=1), history], axis=1)
        z = np.empty((len(history), order + horizon))
        z[:, :order] = (seen[:, seen.shape[1] - order :] - self.mean) / self.unit
        oldest_first = self.coefficients[::-1]
        for step in range(horizon):
            ahead = self.intercept + z[:, step : step + order] @ oldest_first
            z[:, order + step] = np.clip(ahead, -FARTHEST, FARTHEST)
        point: Floats = self.mean + self.unit * z[:, order:]
        return point

    def spread(self, horizon: int) -> Floats:
        """Return the deviation (H,) of the errors."""
        order = len(self.coefficients)
        shock = np.zeros(order + horizon)
        shock[order] = 1.0
        for step in range(1, horizon):
            passed = shock[step : step + order] @ self.coefficients[::-1]
            shock[order + step] = np.clip(passed, -FARTHEST, FARTHEST)
        total: Floats = np.cumsum(shock[order:] ** 2)
        return self.unit * self.deviation * np.sqrt(total)


class Autoregression(Baseline):
    """AR(p) with an intercept by least squares, p by Akaike's criterion.

    p goes up to two more than the season, but not over a quarter of the history or 200.

    Source:
        Akaike, A new look at the statistical model identification (1974).

    Example:
        >>> wave = np.sin(0.1 * np.arange(200))
        >>> fitted = Autoregression().fit(wave, season=1)
        >>> ahead = fitted.predict(wave[None], horizon=1, levels=[0.5])
        >>> len(fitted.coefficients), bool(abs(ahead.item() - np.sin(20.0)) < 1e-12)
        (2, True)
    """

    def learn(self, values: Floats, season: int) -> Fitted:
        """Return the rule fitted to a history."""
        most = min(len(values) // 4, max(3, season) + 2, MOST_LAGS)
        mean, unit = _sizes(values)
        return _fitted(values, _best_order((values - mean) / unit, most))


class SecondOrder(Baseline):
    """AR(2) with an intercept by least squares: what a single oscillation obeys exactly.

    Source:
        Yule, On a method of investigating periodicities in disturbed series (1927).

    Example:
        >>> fitted = SecondOrder().fit(np.sin(0.1 * np.arange(200)), season=1)
        >>> fitted.coefficients.round(6), 2 * np.cos(0.1).round(6)
        (array([ 1.990008, -1.      ]), np.float64(1.990008))
    """

    def learn(self, values: Floats, season: int) -> Fitted:
        """Return the rule fitted to a history."""
        return _fitted(values, min(2, len(values) // 4))


def _sizes(values: Floats) -> tuple[float, float]:
    """The mean, and the deviation; 1 in place of one that is none."""
    mean, unit = float(values.mean()), float(values.std())
    return mean, unit if unit > 1e-12 * float(np.abs(values).max()) else 1.0


def _fitted(values: Floats, order: int) -> Fitted:
    mean, unit = _sizes(values)
    x, y = _lagged((values - mean) / unit, order)
    weights = np.asarray(np.linalg.lstsq(x, y, rcond=None)[0], dtype=np.float64)
    return FittedAutoregression(
        last=float(values[-1]),
        mean=mean,
        unit=unit,
        intercept=float(weights[0]),
        coefficients=weights[1:],
        deviation=root_mean_square(y - x @ weights),
    )


def _lagged(z: Floats, order: int) -> tuple[Floats, Floats]:
    """A row for each step that has `order` before it: 1 and these, the nearest first; the step."""
    windows = sliding_window_view(z, order + 1)[:, ::-1]
    x: Floats = np.concatenate([np.ones((len(windows), 1)), windows[:, 1:]], axis=1)
    return x, windows[:, 0]


def _best_order(z: Floats, most: int) -> int:
    """The order of least criterion, all of them fitted to the same steps by one QR."""
    x, y = _lagged(z, most)
    Q = np.linalg.qr(x)[0]
    along = Q.T @ y
    beyond = y - Q @ along
    # summed from the end: what is left of a noiseless series would drown in a difference
    left = np.cumsum(np.append(beyond @ beyond, along[:0:-1] ** 2))[::-1]
    left = np.maximum(left, max(float(y @ y) * ROUNDING, 1e-300))
    criterion = len(y) * np.log(left / len(y)) + 2 * np.arange(len(left))
    return int(np.argmin(criterion))
