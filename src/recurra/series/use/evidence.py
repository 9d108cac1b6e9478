"""What pictures of a forecaster are drawn from.

H steps ahead, L observations before, Q quantile levels, n points.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.series.judging.metrics import LEVELS
from recurra.series.judging.trial import Trial
from recurra.series.network.model import MIDDLE
from recurra.series.use.forecaster import Forecaster

__all__ = [
    "ForecastEvidence",
    "ShownPoints",
    "ShownSeries",
    "in_blocks",
    "mean_error",
    "running_freely",
    "shown",
]

Floats = NDArray[np.float64]

SHOWN_SERIES = 6
SHOWN_HORIZONS = 3
"""Horizons of history that are drawn before each forecast."""

MOST_RESIDUALS = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class ShownSeries:
    """One forecast, what was before it, and what came.

    Args:
        unique_id: whose.
        history: `(L,)`.
        actual: `(H,)`; NaN where it is not known.
        levels: of the quantiles, `(Q,)`.
        quantiles: `(H, Q)`.
        stamps: `(L + H,)`, dates or numbers; None where observations are counted.
    """

    unique_id: str
    history: Floats
    actual: Floats
    levels: tuple[float, ...]
    quantiles: Floats
    stamps: NDArray[Any] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ShownPoints:
    """A horizon ahead, again and again, and the same on its own predictions.

    Args:
        actual: `(n,)`.
        predicted: `(n,)`, told in blocks of a horizon, each from the observations before it.
        free: `(n,)`, each from the predictions before it; None where that was not tried.
        horizon: steps in a block.
        rival: a baseline's name and its predictions, `(n,)`, NaN where it told none.
    """

    actual: Floats
    predicted: Floats
    free: Floats | None = None
    horizon: int = 1
    rival: tuple[str, Floats] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ForecastEvidence:
    """What a forecaster did on its test.

    Args:
        series: some forecasts.
        errors_by_horizon: mean absolute error of each step ahead, `(H,)`.
        baseline_errors: name -> the same.
        residuals: what came less the median, `(n,)`.
        points: where one series was forecast one step at a time.
        scaled: whether errors are divided by the scale of MASE, as those of several series are.
    """

    series: tuple[ShownSeries, ...]
    errors_by_horizon: Floats
    baseline_errors: dict[str, Floats] = field(default_factory=dict)
    residuals: Floats = field(default_factory=lambda: np.empty(0))
    points: ShownPoints | None = None
    scaled: bool = False


def mean_error(errors: Floats) -> Floats:
    """Return the mean absolute error of each step ahead, `(H,)`; NaN where none is known.

    Args:
        errors: `(W, H)`, NaN where nothing was observed.
    """
    known = np.isfinite(errors)
    counts = known.sum(axis=0)
    total = np.abs(errors, where=known, out=np.zeros_like(errors)).sum(axis=0)
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)


def shown(trial: Trial, quantiles: Floats, context: int) -> tuple[ShownSeries, ...]:
    """Return some of a trial's forecasts, evenly spaced, each of another channel where possible.

    Args:
        trial: the windows.
        quantiles: `(W, H, Q)`, what was said of them.
        context: observations that the forecaster saw.
    """
    panel, horizon = trial.dataset.panel, trial.dataset.horizon
    firsts = np.unique(trial.channels, return_index=True)[1]
    places = firsts if len(firsts) > 1 else np.arange(len(trial))
    count = min(SHOWN_SERIES, len(places))
    chosen = np.linspace(0, len(places) - 1, count).astype(np.int64)
    found = []
    for w in places[chosen]:
        number, variable = divmod(int(trial.channels[w]), len(panel.targets))
        one, origin = panel.series[number], int(trial.origins[w])
        begin = max(0, origin - max(SHOWN_HORIZONS * horizon, min(context, 8 * horizon)))
        name = one.unique_id
        if len(panel.targets) > 1:
            name = f"{name}/{panel.targets[variable]}"
        stamps = None if one.stamps is None else one.stamps[begin : origin + horizon]
        history = one.values[begin:origin, variable]
        found.append(ShownSeries(name, history, trial.actual[w], LEVELS, quantiles[w], stamps))
    return tuple(found)


def running_freely(forecaster: Forecaster, trial: Trial) -> ShownPoints | None:
    """Return the one series of a trial, forecast step by step, and on its own predictions alone.

    None where there are several series, or windows that do not follow one another.

    Args:
        forecaster: whose predictions.
        trial: windows of one series, from the first step of its test to the last.
    """
    dataset, horizon = trial.dataset, trial.dataset.horizon
    span = dataset.test
    alone = len(dataset.panel) == len(dataset.panel.targets) == 1
    if not alone or span <= horizon or dataset.stride > horizon:
        return None
    one = dataset.panel.series[0]
    begin = len(one) - span
    windows = forecaster.windows(dataset.panel)
    origins = np.arange(begin, len(one), horizon)
    ahead = forecaster.quantiles(windows, np.zeros(len(origins), np.int64), origins)
    predicted = ahead[..., MIDDLE].flatten()[:span]
    free = forecaster.run_freely(dataset.panel, begin, span)
    return ShownPoints(one.values[begin:, 0], predicted, free, horizon)


def in_blocks(trial: Trial, told: Floats) -> Floats:
    """Return what was told of a test of one series, block after block, `(n,)`; NaN where nothing.

    Args:
        trial: the windows.
        told: the medians of them, `(W, H)`.
    """
    span, horizon = trial.dataset.test, trial.dataset.horizon
    begin = len(trial.dataset.panel.series[0]) - span
    found = np.full(span, np.nan)
    for origin, ahead in zip(trial.origins - begin, told):
        if (origin - trial.origins[0] + begin) % horizon == 0:
            found[origin : origin + horizon] = ahead
    return found
