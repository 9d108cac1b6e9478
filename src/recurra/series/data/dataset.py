"""Series made ready to learn from: one channel a variable, features, and what is kept for judging.

T observations of a channel, E features seen with each, F of them known ahead, S static, W windows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.errors import ConfigError, DataError
from recurra.series.datasets import open_panel
from recurra.series.datasets.base import Split
from recurra.series.options import SeriesOptions
from recurra.series.panel import Panel, Series, least_length

__all__ = ["Channel", "Features", "SeriesDataset", "customary_horizon"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Channel:
    """One variable of one series, with everything that is known beside it.

    Args:
        series: its series' place in the panel.
        variable: which of the targets it is.
        values: `(T,)`, NaN where there is a gap.
        seen: features of each observation, `(T, E)`.
        known: those that are known ahead as well, `(>=T, F)`.
        static: numbers of the series, `(S,)`.
    """

    series: int
    variable: int
    values: Floats
    seen: Floats
    known: Floats
    static: Floats


@dataclass(frozen=True, slots=True)
class Features:
    """What a network sees beside the values; covariates are scaled as the training part says.

    Args:
        calendar: whether stamps' places in day, week, month and year are seen.
        delta: whether the time since the observation before is.
        means: of the covariates, past, future and static.
        deviations: of the same.
    """

    calendar: bool
    delta: bool
    means: tuple[float, ...]
    deviations: tuple[float, ...]

    @classmethod
    def fit(cls, panel: Panel, ends: Iterable[int], calendar: bool) -> Features:
        """Return what suits a panel.

        Args:
            panel: the series.
            ends: of each series, where its training part ends.
            calendar: whether the calendar is wanted; without dates there is none.
        """
        dated = all(_is_dated(one) for one in panel.series)
        moving = [
            np.hstack([one.past[: max(0, end)], one.future[: max(0, end)]])
            for one, end in zip(panel.series, ends)
        ]
        static = np.stack([one.static for one in panel.series])
        parts = [_mean_and_deviation(part) for part in (np.vstack(moving), static)]
        means, deviations = (np.concatenate(each) for each in zip(*parts))
        irregular = not panel.frequency.regular
        return cls(calendar and dated, irregular, tuple(means.tolist()), tuple(deviations.tolist()))

    def channels(self, panel: Panel, ahead: int = 0) -> list[Channel]:
        """Return every variable of every series.

        Args:
            panel: the series.
            ahead: steps past the last observation for which known features are given.

        Raises:
            DataError: a series has no stamps where features are made of them.
        """
        return [
            Channel(number, variable, one.values[:, variable], *features)
            for number, one in enumerate(panel.series)
            for features in [self._of(panel, one, ahead)]
            for variable in range(one.values.shape[1])
        ]

    def _of(self, panel: Panel, one: Series, ahead: int) -> tuple[Floats, Floats, Floats]:
        """Return `(T, E)`, `(T + ahead, F)` and `(S,)` of one series."""
        if self.calendar and not _is_dated(one):
            raise DataError(f"series {one.unique_id!r} has no dates, but the calendar is seen")
        if self.delta and one.stamps is None:
            raise DataError(f"series {one.unique_id!r} has no stamps, but the time between is seen")
        length, past = len(one), one.past.shape[1]
        future = _reaching(one.future, length + ahead)
        moving = past + future.shape[1]
        mean, deviation = np.array(self.means), np.array(self.deviations)
        future = np.nan_to_num((future - mean[past:moving]) / deviation[past:moving])
        seen = [np.nan_to_num((one.past - mean[:past]) / deviation[:past])]
        known = [future]
        if self.calendar:
            stamps = np.concatenate([np.asarray(one.stamps), panel.stamps_after(one, ahead)])
            known.append(panel.frequency.calendar(stamps))
        if self.delta and one.stamps is not None:
            seen.append(np.log1p(panel.frequency.delta(one.stamps))[:, None])
        ahead_known = np.hstack(known)
        seen.append(ahead_known[:length])
        static = np.nan_to_num((one.static - mean[moving:]) / deviation[moving:])
        return np.hstack(seen), ahead_known, static


def _is_dated(series: Series) -> bool:
    return series.stamps is not None and np.issubdtype(series.stamps.dtype, np.datetime64)


def _mean_and_deviation(columns: Floats) -> tuple[Floats, Floats]:
    """Return those of each column; 0 and 1 where a column holds nothing, or one number only."""
    known = [column[np.isfinite(column)] for column in columns.T]
    deviations = np.array([column.std() if len(column) else 0.0 for column in known])
    means = np.array([column.mean() if len(column) else 0.0 for column in known])
    return means, np.where(deviations > 0, deviations, 1.0)


def _reaching(future: Floats, length: int) -> Floats:
    """Return covariates of `length` steps, the last repeated where they end before."""
    if not future.shape[1]:
        return np.empty((length, 0))
    missing = max(0, length - len(future))
    return np.concatenate([future, np.repeat(future[-1:], missing, axis=0)])[:length]


class SeriesDataset:
    """A panel, its horizon and season, and which observations are kept for judging.

    Of every series the last `test` steps are the test, the `valid` steps before them the
    validation; what is before those is learned from. A window to be scored lies in its part
    wholly, and sees everything before it.

    Args:
        panel: the series.
        options: what was asked for.
        published: the split that the panel came with, if any.

    Raises:
        ConfigError: a part is asked for that is shorter than the horizon.
        DataError: no series is long enough.
    """

    def __init__(self, panel: Panel, options: SeriesOptions, published: Split | None) -> None:
        self.panel, self.options = panel, options
        self.season = options.season or panel.frequency.season
        given = options.horizon or (published.horizon if published else None)
        self.horizon = given or customary_horizon(panel, self.season)
        split = published or Split(self.horizon, self.horizon, self.horizon)
        for name in ("test", "valid"):
            asked = getattr(options, name)
            if asked is not None and asked < self.horizon:
                raise ConfigError(
                    f"data.{name} is {asked}, less than the horizon of {self.horizon} steps: give "
                    f"at least as many, or a smaller data.horizon"
                )
        self.test = options.test or max(split.test, self.horizon)
        self.valid = options.valid or max(split.valid, self.horizon)
        self.stride = options.stride or split.stride or self.horizon
        self.standardize = split.standardize
        self.lengths = np.array([len(one) for one in panel.series])
        self._require_length()

    @classmethod
    def open(cls, options: SeriesOptions, data: Any = None) -> SeriesDataset:
        """Return the dataset that the options name.

        Args:
            options: which, and how it is cut.
            data: a frame or arrays, in place of what the options name.

        Raises:
            DataError: it cannot be used.
        """
        panel, split = open_panel(options, data)
        return cls(panel, options, split)

    def end(self, split: str) -> NDArray[np.int64]:
        """Return where a part of each series ends, `(series,)`.

        Args:
            split: `"train"`, `"valid"` or `"test"`.
        """
        kept = {"train": self.test + self.valid, "valid": self.test, "test": 0}
        return self.lengths - kept[split]

    def origins(self, split: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the windows that are scored: series, and where their horizon begins; `(W,)` each.

        Args:
            split: `"valid"` or `"test"`.
        """
        span = self.test if split == "test" else self.valid
        steps = np.arange(0, span - self.horizon + 1, self.stride)
        steps += (span - self.horizon) % self.stride  # the last window ends with the part
        rows = np.flatnonzero(self.end(split) - span >= 1)
        ends = (self.end(split)[rows] - span)[:, None] + steps
        return np.repeat(rows, len(steps)), ends.flatten()

    @cached_property
    def nonnegative(self) -> tuple[int, ...]:
        """The variables that are never below 0, as the training part says where no one has."""
        count = len(self.panel.targets)
        if self.options.nonnegative is not None:
            return tuple(range(count)) if self.options.nonnegative else ()
        ends = np.maximum(self.end("train"), 1)
        parts = [one.values[:end] for one, end in zip(self.panel.series, ends)]
        below = np.any([(part < 0).any(0) for part in parts], axis=0)
        return tuple(np.flatnonzero(~below).tolist())

    def scaling(self) -> tuple[Floats, Floats]:
        """Return the mean and deviation, `(V,)`, that errors are told in: 0 and 1 unless published

        They are of the training part alone.
        """
        count = len(self.panel.targets)
        if not self.standardize:
            return np.zeros(count), np.ones(count)
        ends = np.maximum(self.end("train"), 0)
        parts = [one.values[:end] for one, end in zip(self.panel.series, ends)]
        return _mean_and_deviation(np.vstack(parts))

    def facts(self) -> dict[str, str]:
        """Return in words what is forecast."""
        panel, count = self.panel, len(self.panel)
        observed = f"{int(self.lengths.sum()):,} observations"
        variables = f" of {len(panel.targets)} variables" if len(panel.targets) > 1 else ""
        kept = f"{self.test} for the test, {self.valid} for validation"
        facts = {
            "series": f"{count:,}{variables}, {observed}; the last steps kept: {kept}",
            "forecast": f"{self.horizon} steps ahead, {panel.frequency.name}, {self._season()}",
        }
        if panel.notes:
            facts["notes"] = "; ".join(panel.notes)
        return facts

    def _season(self) -> str:
        return "no season" if self.season == 1 else f"season of {self.season}"

    def _require_length(self) -> None:
        longest = int(self.lengths.max())
        least = self.test + self.valid + self.horizon + 2
        if longest < least:
            raise DataError(
                f"the longest series has {longest} observations, but a horizon of {self.horizon} "
                f"with {self.test} for the test and {self.valid} for validation needs {least}; "
                "give a smaller data.horizon, data.test or data.valid"
            )


def customary_horizon(panel: Panel, season: int) -> int:
    """Return a season, or an eighth of the shortest series; never over a fifth of that.

    Args:
        panel: the series.
        season: steps in one; 1 where there is none.
    """
    shortest = least_length(len(one) for one in panel.series)
    wanted = season if season > 1 else min(12, shortest // 8)
    return max(1, min(wanted, shortest // 5))
