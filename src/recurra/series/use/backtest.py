"""Backtests: a forecaster judged at several origins of the past, as it would have stood then."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.errors import ConfigError, DataError
from recurra.series.baselines import BASELINES
from recurra.series.data.dataset import SeriesDataset
from recurra.series.judging.metrics import ForecastMetrics
from recurra.series.judging.rivals import require_finite, rivals
from recurra.series.judging.trial import Trial
from recurra.series.options import SeriesOptions
from recurra.series.panel import Panel
from recurra.series.use.forecaster import Forecaster
from recurra.table import named_by_file
from recurra.work import worked_on, working

__all__ = ["Backtest", "Fold", "backtest"]

Floats = NDArray[np.float64]

MOST_WINDOWS, MOST_STEP = 1000, 10_000_000

Refit = Callable[[Panel], Forecaster]
"""Trains a forecaster on a panel that ends where a fold begins."""


@dataclass(frozen=True, slots=True)
class Fold:
    """One origin, and how well what followed was forecast.

    Args:
        steps_before_end: how many steps of each series come after the origin.
        ours: the forecaster's metrics.
        baselines: name -> theirs.
    """

    steps_before_end: int
    ours: ForecastMetrics
    baselines: dict[str, ForecastMetrics]


@dataclass(frozen=True, slots=True)
class Backtest:
    """A forecaster at several origins.

    Args:
        folds: oldest first.
        ours: the metrics of all windows together.
        baselines: name -> the same.
        refit: whether the forecaster was trained anew for each fold, on what was before it.
        left_out: name -> why, of baselines that failed.
    """

    folds: tuple[Fold, ...]
    ours: ForecastMetrics
    baselines: dict[str, ForecastMetrics]
    refit: bool
    left_out: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "refit": self.refit,
            **_scores(self),
            **({"left_out": self.left_out} if self.left_out else {}),
            "folds": [
                {"steps_before_end": fold.steps_before_end, **_scores(fold)} for fold in self.folds
            ],
        }


def _scores(judged: Backtest | Fold) -> dict[str, Any]:
    baselines = {name: rival.as_dict() for name, rival in judged.baselines.items()}
    return {"ours": judged.ours.as_dict(), "baselines": baselines}


def backtest(
    forecaster: Forecaster,
    options: SeriesOptions,
    data: Any = None,
    *,
    windows: int = 3,
    step: int | None = None,
    refit: Refit | None = None,
    baselines: Sequence[str] = tuple(BASELINES),
    allow_import: Iterable[str] = (),
) -> Backtest:
    """Judge a forecaster at several origins, the last of them a horizon before the end.

    Without `refit` the network given does all: where it learned from what follows an origin, that
    fold flatters it. Baselines and the scale of MASE are of what is before each origin alone.

    Args:
        forecaster: whose forecasts.
        options: of the series.
        data: a frame or arrays, in place of what the options name.
        windows: origins.
        step: between them, in steps; the horizon by default.
        refit: trains anew for each fold.
        baselines: names in `BASELINES`, or `module:Name`.
        allow_import: series of someone's own that the forecaster itself may name.

    Raises:
        CheckpointError: the forecaster's options name what is not allowed.
        ConfigError: there are to be no windows, or no steps between them.
        DataError: no series is long enough for so many origins, or a forecast is not finite.
    """
    horizon = forecaster.horizon
    step = horizon if step is None else step
    if not (1 <= windows <= MOST_WINDOWS and 1 <= step <= MOST_STEP):
        raise ConfigError(
            f"got windows={windows} and step={step}; give 1 to {MOST_WINDOWS:,} windows, and 1 to "
            f"{MOST_STEP:,} steps between them"
        )
    dataset = _opened(forecaster, options, data, allow_import)
    ends = [horizon + step * back for back in reversed(range(windows))]
    trials = [_trial(dataset, end) for end in ends]
    out: dict[str, str] = {}
    by_end = {str(end): trial for end, trial in zip(ends, trials)}
    with working("fitting baselines"):
        told = rivals(by_end, baselines, out)
    beside = [{name: told[name][end] for name in told if end in told[name]} for end in by_end]
    if refit is None:
        ours = _at_once(forecaster, dataset, trials)
    else:
        origins = worked_on(trials, "training anew", "origins")
        ours = [_apart(refit(_until(dataset, end)), dataset, t) for end, t in zip(ends, origins)]
    folds = tuple(
        Fold(end, trial.score(own), {name: trial.score(rival) for name, rival in others.items()})
        for end, trial, own, others in zip(ends, trials, ours, beside)
    )
    whole = Trial.together(trials)
    together = {
        name: whole.score(np.concatenate(list(each.values()))) for name, each in told.items()
    }
    return Backtest(folds, whole.score(np.concatenate(ours)), together, refit is not None, out)


def _opened(
    forecaster: Forecaster, options: SeriesOptions, data: Any, allow_import: Iterable[str]
) -> SeriesDataset:
    """Return the series; what the forecaster itself names, a file may have said."""
    horizon = forecaster.horizon
    wanted = options.model_copy(update={"horizon": horizon, "test": horizon, "valid": horizon})
    theirs = options.dataset == forecaster.data.dataset
    with named_by_file("the forecaster", allow_import) if theirs else nullcontext():
        return SeriesDataset.open(wanted, data)


def _trial(dataset: SeriesDataset, end: int) -> Trial:
    """Return the trial of every series at so many steps before its end."""
    lengths = dataset.lengths - end
    rows = np.flatnonzero(lengths >= max(2, dataset.season + 1))
    if not len(rows):
        raise DataError(
            f"no series has an origin {end} steps before its end with a season before it; "
            "give fewer windows or a smaller step"
        )
    return Trial.at(dataset, rows, lengths[rows], lengths)


def _at_once(
    forecaster: Forecaster, dataset: SeriesDataset, trials: Sequence[Trial]
) -> list[Floats]:
    found = _apart(forecaster, dataset, Trial.together(trials))
    return np.split(found, np.cumsum([len(trial) for trial in trials])[:-1])


def _apart(forecaster: Forecaster, dataset: SeriesDataset, trial: Trial) -> Floats:
    windows = forecaster.windows(dataset.panel)
    told = forecaster.quantiles(windows, trial.channels, trial.origins)
    require_finite(trial, told)
    return told


def _until(dataset: SeriesDataset, end: int) -> Panel:
    """Return the panel without its last steps; what is known ahead stays known."""
    series = []
    for one in dataset.panel.series:
        length = len(one) - end
        if length < 1:
            continue
        stamps = None if one.stamps is None else one.stamps[:length]
        series.append(
            replace(one, values=one.values[:length], stamps=stamps, past=one.past[:length])
        )
    return replace(dataset.panel, series=tuple(series))
