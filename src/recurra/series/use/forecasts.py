"""What is said of the steps ahead: quantiles, and any interval or level between them.

B streams, N channels, H steps ahead, Q quantile levels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurra.errors import ConfigError
from recurra.series.baselines.base import normal_quantiles
from recurra.series.calendar.frequency import Points
from recurra.series.calendar.written import AS_THEY_COME, written
from recurra.series.judging.metrics import LEVELS
from recurra.series.network.model import MIDDLE

__all__ = ["Distribution", "Forecasts", "at_levels", "interval", "require_asked", "require_level"]

LONGEST, MOST_LEVELS = 100_000, 99
"""Steps ahead, and intervals, that may be asked for."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Distribution:
    """What may follow, as quantiles.

    Args:
        quantiles: at `LEVELS`, `(H, Q)`, or `(B, H, Q)` for streams side by side.
    """

    quantiles: Tensor

    @property
    def median(self) -> Tensor:
        """The middle, `(H,)` or `(B, H)`."""
        return self.quantiles[..., MIDDLE]

    def interval(self, percent: float) -> tuple[Tensor, Tensor]:
        """Return the bounds that hold a share of what may follow, `(H,)` or `(B, H)` each.

        Args:
            percent: the share, as 95.
        """
        low, high = interval(self.quantiles.double().cpu().numpy(), percent)
        return torch.from_numpy(low), torch.from_numpy(high)


@dataclass(frozen=True, slots=True, eq=False)
class Forecasts:
    """Forecasts of several series.

    Args:
        names: of each series and variable, N.
        stamps: of the steps ahead, `(N, H)`: dates, or numbers.
        quantiles: at `LEVELS`, `(N, H, Q)`.
        percents: of the intervals that are told.
        points: by whose clock dates are told, which are in UTC then, and in which code.
    """

    names: tuple[str, ...]
    stamps: NDArray[Any]
    quantiles: Floats
    percents: tuple[float, ...] = (80, 95)
    points: Points = AS_THEY_COME

    def __len__(self) -> int:
        return len(self.names)

    @property
    def median(self) -> Floats:
        """The middle, `(N, H)`."""
        return np.asarray(self.quantiles[..., MIDDLE])

    def interval(self, percent: float) -> tuple[Floats, Floats]:
        """Return the bounds `(N, H)` that hold a share of what may follow.

        Args:
            percent: the share, as 95.
        """
        return interval(self.quantiles, percent)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield one step after another: `unique_id, ds, yhat, lo-80, hi-80, ...`."""
        median = self.median
        bounds = {f"{percent:g}": self.interval(percent) for percent in self.percents}
        told = iter(written(self.stamps.reshape(-1), self.points))
        for n, name in enumerate(self.names):
            for h in range(self.stamps.shape[1]):
                row = {"unique_id": name, "ds": next(told), "yhat": float(median[n, h])}
                for level, (low, high) in bounds.items():
                    row[f"lo-{level}"], row[f"hi-{level}"] = float(low[n, h]), float(high[n, h])
                yield row

    def wide(self) -> Iterator[dict[str, Any]]:
        """Yield one stamp after another: `ds`, each series' median, and its bounds.

        Series that have no forecast of a stamp are left empty there.
        """
        bounds = {f"{percent:g}": self.interval(percent) for percent in self.percents}
        sides = tuple(enumerate(("lo", "hi")))
        columns = [*self.names]
        columns += [
            f"{n}-{side}-{level}" for n in self.names for level in bounds for _, side in sides
        ]
        known: dict[Any, dict[str, float]] = {}
        for n, name in enumerate(self.names):
            for h, stamp in enumerate(self.stamps[n].tolist()):
                row = known.setdefault(stamp, {})
                row[name] = float(self.median[n, h])
                for level, both in bounds.items():
                    row |= {f"{name}-{side}-{level}": float(both[k][n, h]) for k, side in sides}
        for stamp, told in zip(sorted(known), written(np.unique(self.stamps), self.points)):
            yield {"ds": told} | {column: known[stamp].get(column, "") for column in columns}


def interval(quantiles: Floats, percent: float) -> tuple[Floats, Floats]:
    """Return the bounds `(..., H)` of the interval that holds a share of what may follow.

    Args:
        quantiles: `(..., H, Q)` at `LEVELS`.
        percent: the share, as 95.

    Raises:
        ConfigError: for a share outside [1, 100).

    Example:
        >>> low, high = interval(np.array([[-2, -1.3, -1, -0.5, -0.2, 0, 0.2, 0.5, 1, 1.3, 2]]), 80)
        >>> low, high
        (array([-1.3]), array([1.3]))
    """
    require_level(percent)
    outside = (1 - percent / 100) / 2
    both = at_levels(quantiles, (outside, 1 - outside))
    return both[..., 0], both[..., 1]


def require_level(percent: float) -> None:
    """Refuse what is no level of an interval, in percent.

    Args:
        percent: the share that an interval holds, as 95.

    Raises:
        ConfigError: for a share outside [1, 100); of one below it says what was meant.

    Example:
        >>> require_level(0.8)
        Traceback (most recent call last):
        ...
        recurra.errors.ConfigError: a level of 0.8 is in percent: did you mean 80?
    """
    if 0 < percent < 1:
        raise ConfigError(f"a level of {percent:g} is in percent: did you mean {100 * percent:g}?")
    if not 1 <= percent < 100:
        raise ConfigError(f"an interval holds {percent:g}%: give a level between 0 and 100")


def require_asked(horizon: object, levels: Sequence[float]) -> None:
    """Refuse a horizon or levels that cannot be forecast, before any work.

    Args:
        horizon: steps ahead.
        levels: of the intervals, in percent.

    Raises:
        ConfigError: one is out of range, or of another kind.

    Example:
        >>> require_asked([1.0, 2.0], [80])
        Traceback (most recent call last):
        ...
        recurra.errors.ConfigError: horizon is a list: give steps, and what they follow as history=
    """
    if not isinstance(horizon, int | float | np.number):
        kind = type(horizon).__name__
        raise ConfigError(f"horizon is a {kind}: give steps, and what they follow as history=")
    if not isinstance(horizon, int | np.integer) or not 1 <= horizon <= LONGEST:
        raise ConfigError(f"horizon is {horizon}; give the steps to forecast, 1 to {LONGEST:,}")
    if len(levels) > MOST_LEVELS:
        raise ConfigError(f"{len(levels)} levels are asked; at most {MOST_LEVELS} are told")
    for percent in levels:
        require_level(percent)


def at_levels(quantiles: Floats, levels: Sequence[float]) -> Floats:
    """Return quantiles `(..., K)` at other levels: between two known ones as a normal's would be.

    Args:
        quantiles: `(..., Q)` at `LEVELS`.
        levels: K, between 0 and 1.

    Raises:
        ConfigError: for a level outside (0, 1).

    Example:
        >>> at_levels(np.linspace(0, 10, 11), [0.5, 0.1]).tolist()
        [5.0, 1.0]
    """
    known, found = normal_quantiles(LEVELS), []
    for z in normal_quantiles(levels):
        right = int(np.clip(np.searchsorted(known, z - 1e-12), 1, len(known) - 1))
        share = (z - known[right - 1]) / (known[right] - known[right - 1])
        left = quantiles[..., right - 1]
        found.append(left + share * (quantiles[..., right] - left))
    return np.stack(found, axis=-1)
