"""The straight line from the first observation to the last, carried on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recurra.series.baselines.base import Baseline, Fitted, Floats, root_mean_square

__all__ = ["Drift", "FittedDrift"]


@dataclass(frozen=True)
class FittedDrift(Fitted):
    """The last observation and a slope: `f_h = y_T + h b`, `b = (y_T - y_1) / (T - 1)`.

    The slope is the training history's, so that a short window does not make it steep.

    Args:
        last: the last observation of the training history.
        slope: b, a step.
        deviation: of the one-step errors within the training history.
        steps: T - 1, of the training history.

    Source:
        Hyndman and Athanasopoulos, Forecasting: principles and practice, 3rd edition (2021),
        sections 5.2 and 5.5: the deviation is `sigma sqrt(h (1 + h / (T - 1)))`.

    Example:
        >>> line = FittedDrift(last=3.0, slope=2.0, deviation=0.0, steps=1)
        >>> line.point(np.array([[1.0, 3.0]]), 2)
        array([[5., 7.]])
    """

    slope: float
    deviation: float
    steps: int

    def point(self, history: Floats, horizon: int) -> Floats:
        """Return the point forecasts (W, H)."""
        return history[:, -1:] + self.slope * np.arange(1.0, horizon + 1)

    def spread(self, horizon: int) -> Floats:
        """Return the deviation (H,) of the errors."""
        ahead: Floats = np.arange(1.0, horizon + 1)
        return self.deviation * np.sqrt(ahead * (1 + ahead / max(self.steps, 1)))


class Drift(Baseline):
    """Carries on the line from the first observation to the last.

    Example:
        >>> fitted = Drift().fit([1.0, 2.0, 3.0], season=1)
        >>> fitted.predict([[2.0, 3.0]], horizon=2, levels=[0.5])[0, :, 0]
        array([4., 5.])
    """

    def learn(self, values: Floats, season: int) -> Fitted:
        """Return the rule fitted to a history."""
        changes = np.diff(values)
        slope = float(changes.mean()) if changes.size else 0.0
        return FittedDrift(
            last=float(values[-1]),
            slope=slope,
            deviation=root_mean_square(changes - slope),
            steps=changes.size,
        )
