"""A trial: windows that are judged, what came after them, and what rivals say of it.

W windows, H steps ahead, Q quantile levels, T observations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recurra.series.baselines import BASELINES
from recurra.series.data.dataset import SeriesDataset
from recurra.series.data.fills import FILLS, filled
from recurra.series.judging.metrics import LEVELS, ForecastMetrics, mase_scale, score
from recurra.work import worked_on

__all__ = ["Trial"]

Floats = NDArray[np.float64]

WINDOWED = ("channels", "origins", "actual", "scales")

MOST_HISTORY = 1024
"""Observations that a baseline sees before each of many windows; before a single one, all."""


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """The windows of one part of a dataset.

    Args:
        dataset: the series.
        channels: of each window, `(W,)`: series times variables plus variable.
        origins: where the steps ahead begin, `(W,)`.
        actual: what came, `(W, H)`; NaN where nothing was observed.
        scales: of MASE, `(W,)`.

    Example:
        >>> from recurra.series.options import SeriesOptions
        >>> dataset = SeriesDataset.open(SeriesOptions(dataset="airline"))
        >>> trial = Trial.of(dataset, "test")
        >>> trial.actual.shape, round(trial.score(trial.rival("seasonal_naive")).mae, 1)
        ((1, 12), 47.8)
    """

    dataset: SeriesDataset
    channels: NDArray[np.int64]
    origins: NDArray[np.int64]
    actual: Floats
    scales: Floats

    @classmethod
    def of(cls, dataset: SeriesDataset, split: str, most: int | None = None) -> Trial:
        """Return the windows of a part, or some of them, evenly spaced.

        Args:
            dataset: the series.
            split: `"valid"` or `"test"`.
            most: how many windows at most.
        """
        series, origins = dataset.origins(split)
        before = dataset.end("train" if split == "valid" else "valid")
        trial = cls.at(dataset, series, origins, before)
        if most is None or len(trial) <= most:
            return trial
        chosen = np.unique(np.linspace(0, len(trial) - 1, most).round().astype(np.int64))
        return trial.only(chosen)

    @classmethod
    def at(
        cls,
        dataset: SeriesDataset,
        series: NDArray[np.int64],
        origins: NDArray[np.int64],
        before: NDArray[np.int64],
    ) -> Trial:
        """Return every variable of some series at some origins, but where none was observed before.

        Args:
            dataset: the series.
            series: of each window, `(W,)`.
            origins: where its steps ahead begin, `(W,)`.
            before: of each series, where what scales are taken from ends.
        """
        count = len(dataset.panel.targets)
        channels = (series[:, None] * count + np.arange(count)).flatten()
        origins = np.repeat(origins, count)
        columns = [column for one in dataset.panel.series for column in one.values.T]
        begun = np.array([np.argmax(np.isfinite(column)) for column in columns])[channels] < origins
        channels, origins = channels[begun], origins[begun]
        H = dataset.horizon
        actual = [columns[c][start : start + H] for c, start in zip(channels, origins)]
        scales = _scales(dataset, before)[channels]
        return cls(dataset, channels, origins, np.array(actual).reshape(-1, H), scales)

    @staticmethod
    def together(trials: Sequence[Trial]) -> Trial:
        """Return the windows of several trials of one dataset as one.

        Args:
            trials: at least one.
        """
        parts: Any = {n: np.concatenate([getattr(trial, n) for trial in trials]) for n in WINDOWED}
        return replace(trials[0], **parts)

    def only(self, chosen: NDArray[np.int64]) -> Trial:
        """Return some of the windows.

        Args:
            chosen: their places.
        """
        parts: Any = {name: getattr(self, name)[chosen] for name in WINDOWED}
        return replace(self, **parts)

    def __len__(self) -> int:
        return len(self.channels)

    def score(self, quantiles: Floats) -> ForecastMetrics:
        """Return how well forecasts met what came, in the dataset's own scaling.

        Args:
            quantiles: `(W, H, Q)` at `LEVELS`.
        """
        variables = self.channels % len(self.dataset.panel.targets)
        mean, deviation = (part[variables] for part in self.dataset.scaling())
        actual = (self.actual - mean[:, None]) / deviation[:, None]
        told = (quantiles - mean[:, None, None]) / deviation[:, None, None]
        series = len(set((self.channels // len(self.dataset.panel.targets)).tolist()))
        return score(actual, told, LEVELS, self.scales / deviation, series)

    def rival(self, name: str) -> Floats:
        """Return a baseline's quantiles `(W, H, Q)`, fitted to what was before the trial.

        It sees gaps filled as the network does, and is held above 0 where that is.

        Args:
            name: in `BASELINES`, or `module:Name`.
        """
        baseline, dataset = BASELINES[name](), self.dataset
        columns = [column for one in dataset.panel.series for column in one.values.T]
        found = np.empty((len(self), dataset.horizon, len(LEVELS)))
        for channel in worked_on(np.unique(self.channels), f"fitting {name}", "series"):
            here = np.flatnonzero(self.channels == channel)
            origins, values = self.origins[here], columns[channel]
            fitted = baseline.fit(self._whole(values[None, : origins.min()])[0], dataset.season)
            length = origins.min() if len(here) == 1 else min(origins.min(), MOST_HISTORY)
            seen = values[origins[:, None] + np.arange(-length, 0)]
            told = fitted.predict(self._whole(seen), dataset.horizon, LEVELS)
            if int(channel) % len(dataset.panel.targets) in dataset.nonnegative:
                held = ~(seen < 0).any(1)
                told[held] = np.maximum(told[held], 0.0)
            found[here] = told
        return found

    def _whole(self, windows: Floats) -> Floats:
        """Windows `(W, L)` with their gaps filled, but for those that hold nothing else."""
        gaps = np.isnan(windows)
        if not gaps.any():
            return windows
        options, season = self.dataset.options, self.dataset.season
        values = torch.from_numpy(np.where(gaps, 0.0, windows))
        whole = filled(values, torch.from_numpy(~gaps), season, FILLS[options.fill]).numpy()
        return np.where(gaps.all(1, keepdims=True), np.nan, whole)


def _scales(dataset: SeriesDataset, before: NDArray[np.int64]) -> Floats:
    """Return MASE's scale of every channel, taken from what lies before an end of its series."""
    return np.array(
        [
            mase_scale(column[: max(1, end)], dataset.season)
            for one, end in zip(dataset.panel.series, before)
            for column in one.values.T
        ]
    )
