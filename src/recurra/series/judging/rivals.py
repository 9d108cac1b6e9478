"""What baselines say of trials; one that fails, or is not finite, is named and left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError
from recurra.learning.plan import attempted, timed
from recurra.series.baselines import BASELINES
from recurra.series.judging.metrics import LEVELS
from recurra.series.judging.trial import Trial
from recurra.storage.finite import not_finite

__all__ = ["costs_of_rivals", "require_finite", "rivals"]

Floats = NDArray[np.float64]

SAMPLED = 3
"""Channels by which a baseline is timed."""

LONGEST = 2000
"""Observations of each of them."""


def rivals(
    trials: Mapping[str, Trial], names: Iterable[str], left_out: dict[str, str]
) -> dict[str, dict[str, Floats]]:
    """Return what baselines say: name -> name of a trial -> quantiles `(W, H, Q)`.

    Args:
        trials: the windows, by name.
        names: in `BASELINES`, or `module:Name`.
        left_out: name -> why; one that is there already is not asked, one that fails is added.
    """
    found = {}
    for name in names:

        def ask(name: str = name) -> dict[str, Floats]:
            return {key: _told(trial, name) for key, trial in trials.items() if len(trial)}

        if (told := attempted(name, ask, left_out)) is not None:
            found[name] = told
    return found


def _told(trial: Trial, name: str) -> Floats:
    with np.errstate(all="ignore"):  # what comes of it is looked at
        quantiles = trial.rival(name)
    require_finite(trial, quantiles)
    return quantiles


def require_finite(trial: Trial, quantiles: Floats) -> None:
    """Refuse forecasts of windows that are not finite.

    Args:
        trial: the windows.
        quantiles: what was said of them, `(W, H, Q)`.

    Raises:
        DataError: names the series and the step.
    """
    if (place := not_finite(quantiles)) is not None:
        number = int(trial.channels[place[0]]) // len(trial.dataset.panel.targets)
        raise DataError(
            f"the forecast of series {trial.dataset.panel.series[number].unique_id!r}, "
            f"{place[1] + 1} steps ahead, is {quantiles[place]:g}"
        )


def costs_of_rivals(trials: Iterable[Trial]) -> Iterator[tuple[str, Callable[[], float]]]:
    """Yield each baseline's name, and what measures its seconds by a few short series.

    Args:
        trials: the windows.
    """
    fitted, sample, season = 0, list[Any](), 1
    for trial in trials:
        columns = [column for one in trial.dataset.panel.series for column in one.values.T]
        season = trial.dataset.season
        order = np.lexsort((trial.origins, trial.channels))
        channels, first = np.unique(trial.channels[order], return_index=True)
        before = trial.origins[order][first]
        fitted += int(before.sum())
        for channel, end in zip(channels[: SAMPLED - len(sample)], before.tolist()):
            sample.append(columns[channel][max(0, end - LONGEST) : end])
    shown = sum(map(len, sample))
    for name in BASELINES if shown else ():

        def fit(name: str = name) -> None:
            for values in sample:
                BASELINES[name]().fit(values, season).predict(values[None], 1, LEVELS)

        yield name, partial(_scaled, partial(attempted, name, fit), fitted / shown)


def _scaled(work: Callable[[], object], share: float) -> float:
    return timed(work) * share
