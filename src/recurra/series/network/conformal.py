"""Split-conformal calibration: quantiles moved until they hold on windows kept out of training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recurra.errors import ConfigError, ShapeError

__all__ = ["Conformal"]

Floats = NDArray[np.float64]

# Shape legend: N windows kept out, W windows to correct, H steps ahead, Q quantile levels.

ENOUGH = 200  # points of a step ahead: with fewer, those of the steps beside it count too


@dataclass(frozen=True, eq=False)
class Conformal:
    """How far each quantile of each step ahead is moved out or in, in units of a scale.

    Two quantiles `l` and `u` as far from the median make an interval that says it holds with a
    probability `p`. By how much it misses a point kept out, `max(l - y, y - u) / scale`, negative
    inside, has n values; the `ceil((n + 1) p)`-th smallest of them is how far both are moved out.
    Then it holds a new exchangeable point with a probability of at least `p`, whatever the model
    was. Where n is too small for that rank, as for any `p` above `n / (n + 1)`, nothing is
    promised: it is moved out by the largest, and no less than the interval within it, so that it
    stays wider than that. The median stays, and no quantile is left on its wrong side, or crosses
    one nearer to it.

    Args:
        levels: the quantiles' levels (Q,), increasing, each with its opposite, 1/2 among them.
        corrections: (H, Q), in units of scale.

    Raises:
        ConfigError: the levels are not such.
        ShapeError: the corrections are not (H, Q).

    Source:
        Romano, Patterson and Candes, Conformalized quantile regression (2019), theorem 1; with
        widths as scale the CQR-r of Sesia and Candes, A comparison of some conformal quantile
        regression methods (2020). Moving each side by itself would hold each side, but take the
        bias of the few windows kept out for the model's.

    Example:
        >>> levels, too_narrow = (0.1, 0.5, 0.9), np.array([[[-0.1, 0.0, 0.1]]])
        >>> actual = np.linspace(-1, 1, 199)[:, None]
        >>> held = Conformal.fit(actual, np.repeat(too_narrow, 199, axis=0), levels, np.ones(199))
        >>> held.apply(too_narrow, np.ones(1)).round(2).tolist()
        [[[-0.81, 0.0, 0.81]]]
    """

    levels: tuple[float, ...]
    corrections: Floats

    def __post_init__(self) -> None:
        pairs = zip(self.levels, reversed(self.levels))
        opposite = all(math.isclose(a + b, 1, abs_tol=1e-9) for a, b in pairs)
        increasing = all(a < b for a, b in zip(self.levels, self.levels[1:]))
        if not (opposite and increasing and len(self.levels) % 2):
            raise ConfigError(
                f"quantile levels are {self.levels}; give them increasing, 0.5 among them, each "
                "with its opposite, as 0.1 with 0.9"
            )
        if self.corrections.ndim != 2 or self.corrections.shape[1] != len(self.levels):
            raise ShapeError(
                f"corrections are {self.corrections.shape} for {len(self.levels)} levels; "
                "give (horizon, levels)"
            )

    @classmethod
    def fit(
        cls,
        actual: Floats,
        quantiles: Floats,
        levels: Sequence[float] | Floats,
        scale: Floats,
    ) -> Conformal:
        """Return the corrections that make intervals hold on windows kept out of training.

        A step ahead with fewer than 200 points takes those of its nearest steps too. Gaps, and
        what has a scale that is not positive, are left out; a step without any point stays.

        Args:
            actual: what came, NaN where nothing was observed.
            quantiles: what was forecast.
            levels: the quantiles' levels, as the class takes them.
            scale: of each window, or of each of its steps: the unit in which corrections are
                shared. The width of the widest interval keeps what the model knows of its doubt.

        Raises:
            ShapeError: the arrays do not go together.
            ConfigError: the levels are not as the class takes them.

        Shapes:
            actual (N, H), quantiles (N, H, Q), levels (Q,), scale (N,) or (N, H).
        """
        names = tuple(float(level) for level in levels)
        if actual.ndim != 2 or quantiles.shape != (*actual.shape, len(names)):
            raise ShapeError(
                f"actual {actual.shape}, quantiles {quantiles.shape} and {len(names)} levels do "
                "not go together; give (N, H), (N, H, Q) and (Q,)"
            )
        unit = _by_step(scale, actual.shape)
        held = cls(names, np.zeros((actual.shape[1], len(names))))
        there = ~np.isnan(actual) & (unit > 0)
        counts = there.sum(axis=0)
        for step in range(actual.shape[1]):
            at = np.nonzero(there & _near(counts, step))
            y, q, one = actual[at], quantiles[at], unit[at]
            within = -math.inf
            for low in reversed(range(len(names) // 2 if len(y) else 0)):
                high = len(names) - 1 - low
                missed = np.maximum(q[:, low] - y, y - q[:, high]) / one
                rank = _rank(len(y), names[high] - names[low])
                if rank <= len(y):
                    out = np.partition(missed, rank - 1)[rank - 1]
                else:
                    out = max(missed.max(), within)
                within = out
                held.corrections[step, [low, high]] = -out, out
        return held

    def apply(self, quantiles: Floats, scale: Floats) -> Floats:
        """Return the quantiles (W, H, Q) corrected; steps past the last fitted are as that.

        Args:
            quantiles: (W, H, Q) as forecast, of the levels fitted.
            scale: (W,) or (W, H), as in `fit`; what has none that is positive is left as it is.

        Raises:
            ShapeError: the arrays do not go together.
        """
        if quantiles.ndim != 3 or quantiles.shape[2] != len(self.levels):
            raise ShapeError(
                f"quantiles {quantiles.shape} came for {len(self.levels)} levels; give (W, H, Q)"
            )
        unit = _by_step(scale, quantiles.shape[:2])
        steps = np.minimum(np.arange(quantiles.shape[1]), len(self.corrections) - 1)
        unit = np.where(unit > 0, unit, 0.0)
        moved = quantiles + unit[:, :, None] * self.corrections[steps]
        middle = len(self.levels) // 2
        above = np.maximum.accumulate(moved[:, :, middle:], axis=2)
        below = np.minimum.accumulate(moved[:, :, middle::-1], axis=2)[:, :, ::-1]
        return np.concatenate([below, above[:, :, 1:]], axis=2)


def _near(counts: NDArray[np.int64], step: int) -> NDArray[np.bool_]:
    """Which steps (H,) count for one: itself, and those beside it until there are ENOUGH."""
    distance = np.abs(np.arange(len(counts)) - step)
    reach = 0
    while counts[distance <= reach].sum() < ENOUGH and reach < len(counts):
        reach += 1
    near: NDArray[np.bool_] = distance <= reach
    return near


def _rank(n: int, share: float) -> int:
    exact = round((n + 1) * share, 9)  # (n + 1) * 0.8 must not be 80.00000000000001
    return max(math.ceil(exact), 1)


def _by_step(scale: Floats, shape: tuple[int, ...]) -> Floats:
    """The scale (N, H), from one of windows or of their steps."""
    if scale.shape not in (shape, shape[:1]):
        raise ShapeError(
            f"scale {scale.shape} came for windows {shape}; give (N,) or (N, H) of them"
        )
    return np.broadcast_to(scale if scale.ndim == 2 else scale[:, None], shape)
