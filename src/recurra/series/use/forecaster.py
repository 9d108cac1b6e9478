"""The forecaster: a recurrence over observations that gives a distribution over the next ones.

B streams, N channels, L observations seen, H steps ahead, Q quantile levels.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurra.errors import DataError, ShapeError
from recurra.learning.written import placed
from recurra.series.data.dataset import Features
from recurra.series.data.windows import Observation, Window, Windows
from recurra.series.datasets import open_panel
from recurra.series.entry import FORMAT
from recurra.series.judging.metrics import LEVELS
from recurra.series.network.doubt import doubted, usual_deviations
from recurra.series.network.model import MIDDLE, ForecastNetwork
from recurra.series.options import ForecastOptions, SeriesOptions
from recurra.series.panel import Panel
from recurra.series.use.forecasts import Distribution, Forecasts, require_asked
from recurra.series.use.history import (
    above_zero,
    extended,
    not_known_ahead,
    require_alike,
    stamps_after,
    tail,
)
from recurra.series.use.saved import Saved
from recurra.storage.finite import MOST, not_finite, real_numbers
from recurra.storage.pretrained import open_pretrained, save_pretrained
from recurra.storage.sources import Unchanged
from recurra.table import named_by_file, nearest
from recurra.work import worked_on

__all__ = ["Forecaster"]

BATCH = 2048
"""Windows that are forecast at once."""

RUNS_AWAY = "the history is too far from what was learned, or runs away; look at its last values"

Floats = NDArray[np.float64]


class Forecaster:
    """A trained network, with what it needs to forecast: frequency, features, the last history.

    Its state is a ring of the last `context` observations, so memory and time per step are
    constant, and a stream, a whole history and a batch of windows give the same numbers.

    Args:
        network: put into evaluation mode.
        options: what it was built from.
        data: the columns that it reads.
        features: what it sees beside the values.
        history: the last observations of every series it learned from.
        deviations: of each channel's training part, `(N,)`.

    Example:
        >>> forecaster = Forecaster.from_pretrained("runs/airline")  # doctest: +SKIP
        >>> state = forecaster.initial_state()  # doctest: +SKIP
        >>> ahead, state = forecaster.step(112.0, state)  # doctest: +SKIP
        >>> ahead.median, ahead.interval(80)  # doctest: +SKIP
    """

    can: ClassVar[frozenset[str]] = frozenset(("forecast", "backtest", "step"))
    """What one may ask of it, by the names of the commands."""

    def __init__(
        self,
        network: ForecastNetwork,
        options: ForecastOptions,
        data: SeriesOptions,
        features: Features,
        history: Panel,
        deviations: Floats,
    ) -> None:
        self.network = network.eval()
        self.options, self.data, self.features = options, data, features
        self.history, self.deviations = history, deviations
        self._usual = usual_deviations(deviations, len(history.targets))

    @property
    def horizon(self) -> int:
        """Steps ahead that are forecast at once."""
        return self.network.shape.horizon

    @property
    def context(self) -> int:
        """Observations that are seen."""
        return self.network.shape.context

    @property
    def _device(self) -> torch.device:
        return self.network.correction.device

    def initial_state(self, batch_size: int = 1, *, variable: int = 0) -> Window:
        """Return the state before any observation.

        Args:
            batch_size: B, streams side by side.
            variable: which of the targets they are.
        """
        shape, B = self.network.shape, batch_size
        return Window(
            values=torch.zeros(B, self.context, dtype=torch.float64, device=self._device),
            observed=torch.zeros(B, self.context, dtype=torch.bool, device=self._device),
            seen=torch.zeros(B, self.context, shape.seen, device=self._device),
            known=torch.zeros(B, self.horizon, shape.known, device=self._device),
            static=torch.zeros(B, shape.static, device=self._device),
            deviation=torch.full((B,), np.nan, dtype=torch.float64, device=self._device),
            variable=torch.full((B,), variable, device=self._device),
        )

    def state_after(self, unique_id: str, *, variable: int = 0) -> Window:
        """Return the state after the last observation of a series that it learned from.

        Args:
            unique_id: which.
            variable: which of its targets.

        Raises:
            DataError: it learned from no such series.
        """
        names = [one.unique_id for one in self.history.series]
        if unique_id not in names:
            raise DataError(f"no series is named {unique_id!r}.{nearest(unique_id, names)}")
        row = names.index(unique_id) * len(self.history.targets) + variable
        return Window(*(tensor[row : row + 1].to(self._device) for tensor in self._end))

    @torch.inference_mode()
    def step(
        self, observation: float | Tensor | Observation, state: Window
    ) -> tuple[Distribution, Window]:
        """Take in one observation; return the distribution of the next ones, and the state.

        A stream tells its scale when a season and one more were seen. Until then bounds are as
        wide at least as what was learned from varies, or as the state's `deviation` says if set.

        Args:
            observation: a number, `(B,)` numbers, or with features; NaN is a gap.
            state: as `initial_state` or the step before returned it.

        Raises:
            ShapeError: there are not as many numbers as streams.
            DataError: one is infinite or too large, or the forecast is not finite.

        Returns quantiles `(H, Q)` for a number, `(B, H, Q)` for several.
        """
        if not isinstance(observation, Observation):
            observation = Observation(observation)
        value = _observed(observation.value).to(self._device)
        new = value.reshape(-1, 1)
        if len(new) != len(state.values):
            raise ShapeError(
                f"got {len(new)} observations for {len(state.values)} streams; "
                "give initial_state as many streams as there are"
            )
        known = ~new.isnan()
        new = new.nan_to_num(0.0, math.inf, -math.inf)
        if (place := not_finite(new, MOST)) is not None:
            raise DataError(
                f"stream {place[0] + 1} got {float(new[place]):g}: give finite numbers of at most "
                f"{MOST:g}, NaN for a gap"
            )
        state = state._replace(
            values=torch.cat([state.values[:, 1:], new], 1),
            observed=torch.cat([state.observed[:, 1:], known], 1),
        )
        if self.network.shape.seen:
            seen = observation.seen
            last = torch.zeros_like(state.seen[:, :1]) if seen is None else seen.unsqueeze(1)
            state = state._replace(seen=torch.cat([state.seen[:, 1:], last], 1))
        if self.network.shape.known:
            ahead = observation.known
            state = state._replace(known=torch.zeros_like(state.known) if ahead is None else ahead)
        quantiles = self._told(state)
        if (place := not_finite(quantiles)) is not None:
            raise DataError(f"the forecast of stream {place[0] + 1} is not finite: {RUNS_AWAY}")
        return Distribution(quantiles if value.ndim else quantiles[0]), state

    @torch.inference_mode()
    def quantiles(self, windows: Windows, rows: NDArray[Any], origins: NDArray[Any]) -> Floats:
        """Return the quantiles `(W, H, Q)` after the origins of many windows.

        Args:
            windows: the channels.
            rows: `(W,)`, which of them.
            origins: `(W,)`, the first step that is not seen.
        """
        found = [np.empty((0, self.horizon, len(LEVELS)))]
        for start in worked_on(range(0, len(rows), BATCH), "forecasting", "batches"):
            part = slice(start, start + BATCH)
            window = windows.before(torch.from_numpy(rows[part]), torch.from_numpy(origins[part]))
            found.append(self._told(window).double().cpu().numpy())
        return np.concatenate(found)

    def _told(self, window: Window) -> Tensor:
        window = Window(*(tensor.to(self._device) for tensor in window))
        told = self.network.quantiles(window)
        told = doubted(told, window, self.network.least, self._usual, self.network.scaling)
        return self.network.scaling.bounded(told, window)

    def windows(self, panel: Panel, ahead: int = 0) -> Windows:
        """Return the channels of a panel, as the network sees them.

        Args:
            panel: with the columns that it learned from.
            ahead: steps past the last observation whose known features are wanted.

        Raises:
            DataError: it lacks a column, or has another step.
        """
        require_alike(panel, self.history)
        if self.features.delta:  # told in the steps that it learned
            panel = replace(panel, frequency=self.history.frequency)
        channels = self.features.channels(panel, ahead)
        return Windows(channels, self.context, self.horizon, self._deviations(panel))

    def predict(
        self,
        horizon: int | None = None,
        history: Any = None,
        levels: Sequence[float] = (80, 95),
    ) -> Forecasts:
        """Return forecasts of what follows a history.

        A horizon longer than was learned is reached in several strides, each taking the medians
        of the one before for observations; the intervals then grow as if errors were independent.

        Args:
            horizon: steps ahead; those that were learned by default.
            history: a `Panel`, a file, a frame, or arrays; by default what it learned from,
                to its end.
            levels: of the intervals that are told, in percent.

        Raises:
            ConfigError: the horizon or a level is out of range.
            DataError: the history lacks a column, or cannot be used; or a forecast is not finite.

        Warns where covariates that are known ahead end before the forecasts do.
        """
        wanted = self.horizon if horizon is None else horizon
        require_asked(wanted, levels)
        if history is None:
            panel, quantiles = self.history, self._after_history()
        else:
            panel = tail(self.read(history), self.context + 1)
            quantiles = self._after(panel)
        names = tuple(
            one.unique_id if len(panel.targets) == 1 else f"{one.unique_id}/{target}"
            for one in panel.series
            for target in panel.targets
        )
        stamps, notes = stamps_after(panel, wanted), not_known_ahead(panel, wanted)
        while quantiles.shape[1] < wanted:
            ahead = quantiles[:, -self.horizon :, MIDDLE]
            if not_finite(ahead, MOST) is not None:
                raise DataError(f"the forecast is not finite {quantiles.shape[1]} steps ahead: "
                                f"{RUNS_AWAY}")  # fmt: skip
            panel = extended(panel, ahead)
            part = self._after(panel)
            spread = quantiles[:, -1:] - quantiles[:, -1:, MIDDLE, None]
            middle = part[..., MIDDLE, None]
            part = middle + np.sign(np.subtract(LEVELS, 0.5)) * np.hypot(part - middle, spread)
            held = above_zero(panel, self.network.scaling.nonnegative)
            part[held] = np.maximum(part[held], 0.0)
            quantiles = np.concatenate([quantiles, part], axis=1)
        quantiles = quantiles[:, :wanted]
        if (place := not_finite(quantiles)) is not None:
            raise DataError(
                f"the forecast of {names[place[0]]!r}, {place[1] + 1} steps ahead, is not finite: "
                f"{RUNS_AWAY}"
            )
        for note in notes:
            warnings.warn(note, stacklevel=2)
        return Forecasts(names, stamps, quantiles, tuple(levels), panel.frequency.points)

    @cached_property
    def _end(self) -> Window:
        """The end of what it learned from, ready to be seen."""
        windows = self.windows(tail(self.history, self.context + 1), self.horizon)
        return windows.before(torch.arange(len(windows)), windows.lengths)

    @torch.inference_mode()
    def _after_history(self) -> Floats:
        """Return the quantiles `(N, H, Q)` after the end of what it learned from."""
        parts = zip(*(torch.split(tensor, BATCH) for tensor in self._end))
        return torch.cat([self._told(Window(*part)) for part in parts]).double().cpu().numpy()

    def _after(self, panel: Panel) -> Floats:
        """Return the quantiles `(N, H, Q)` after the end of every channel of a panel."""
        windows = self.windows(panel, self.horizon)
        return self.quantiles(windows, np.arange(len(windows)), windows.lengths.numpy())

    def run_freely(self, panel: Panel, begin: int, steps: int) -> Floats:
        """Return `(steps,)`: the first variable of the first series, on predictions alone.

        Args:
            panel: the series.
            begin: where observations end and predictions begin.
            steps: how many to predict; the network is asked once for every horizon of them.
        """
        windows, stretch = self.windows(panel), slice(begin, begin + steps)
        windows.observed[stretch] = True
        windows.seen[stretch, : len(panel.past)] = 0.0  # what is known up to now only
        first = torch.zeros(1, dtype=torch.int64).numpy()
        for start in range(begin, begin + steps, self.horizon):
            ahead = self.quantiles(windows, first, first + start)[0, :, MIDDLE]
            stop = min(start + self.horizon, begin + steps)
            windows.values[start:stop] = torch.from_numpy(ahead[: stop - start])
        return windows.values[stretch].numpy()

    def read(self, history: Any) -> Panel:
        """Return a history as a panel with the columns that the network learned from.

        Args:
            history: a `Panel`, a file, a frame, or arrays.

        Raises:
            DataError: it lacks a column, or has another step.
        """
        season = self.network.scaling.season  # learned: it need not be looked for
        data = self.data.model_copy(update={"season": season})
        if isinstance(history, np.ndarray | list | tuple):  # these have no names of columns
            data = SeriesOptions(season=season, fill=data.fill)
        there = self.history.frequency
        calendar = there if there.regular else None
        panel, _ = open_panel(data, history, calendar)
        require_alike(panel, self.history)
        return panel

    def _deviations(self, panel: Panel) -> Floats:
        """Return what each channel is divided by where the series' own scale is asked for.

        That of a series it did not learn from is not known: the window's own is taken.
        """
        rows = self.deviations.reshape(-1, len(panel.targets))
        known = dict(zip((one.unique_id for one in self.history.series), rows))
        unknown = np.full(len(panel.targets), np.nan)
        return np.concatenate([known.get(one.unique_id, unknown) for one in panel.series])

    def save_pretrained(self, directory: Path | str) -> None:
        """Write the forecaster as a directory that is loadable alone.

        Args:
            directory: its place: free, an empty folder, or a model, which is replaced.

        Raises:
            ConfigError: what is there is no model, or holds something else too.
        """
        history = tail(self.history, self.context + 1)
        saved = Saved(
            self.network, self.options, self.data, self.features, history, self.deviations
        )
        save_pretrained(directory, FORMAT, "forecaster", *saved.packed())

    @staticmethod
    def from_pretrained(run: Path | str, *, allow_import: Iterable[str] = ()) -> Forecaster:
        """Return the forecaster of a finished run.

        Args:
            run: a run directory, or the `model` directory in one.
            allow_import: cells of someone's own that it may name, as `["module:Name"]`.

        Raises:
            CheckpointError: there is none, or it is damaged, or names a cell that is not allowed.
        """
        with named_by_file(run, allow_import, Unchanged(run)), placed(run):
            return Forecaster(*Saved.restored(open_pretrained(run, FORMAT)))


def _observed(value: Any) -> Tensor:
    """Return numbers of a stream in double precision; raise where they are none."""
    if isinstance(value, Tensor):
        return value.double()
    try:
        return torch.from_numpy(real_numbers(value))
    except ValueError as error:
        raise DataError(f"a stream got what is no number: {error}; give NaN for a gap") from error
