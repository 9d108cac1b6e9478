"""A forecaster with scikit-learn's parameters. T observations, n series, H steps ahead."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from recurra.errors import ConfigError, DataError
from recurra.estimators.directory import ModelDirectory
from recurra.estimators.options import checked
from recurra.estimators.saved import form_of, opened, settings_kept, write
from recurra.estimators.settings import chosen, settings_of, take, with_settings
from recurra.estimators.training import going_on, seed_of
from recurra.learning.checkpoint import Checkpoints
from recurra.learning.config import GIVEN
from recurra.learning.event import Warned
from recurra.learning.loop import learn
from recurra.learning.options import Options, TrainOptions
from recurra.series.data.dataset import customary_horizon
from recurra.series.datasets import open_panel
from recurra.series.entry import FORMAT, SeriesRun
from recurra.series.judging.metrics import mase_scale
from recurra.series.options import ForecastOptions, SeriesOptions
from recurra.series.panel import Panel
from recurra.series.presets import BYTES_PER_POINT
from recurra.series.presets import series as preset
from recurra.series.task import SeriesTask
from recurra.series.use.forecaster import Forecaster
from recurra.series.use.forecasts import Forecasts
from recurra.series.use.history import extended, tail
from recurra.series.use.saved import Saved

__all__ = ["SeriesForecaster"]

MOST_EPOCHS = 10**9
"""Passes between two validations where there are to be none but the last."""

ELSEWHERE = {"dataset", "horizon", "season", "test", "valid", "stride", "judge"}
"""What of a series' options is no setting: it is a parameter, or of judging."""

READ = settings_of(SeriesOptions, ELSEWHERE)
BUILT = settings_of(ForecastOptions, follows=True)
LEARNED = settings_of(
    TrainOptions, TrainOptions.model_fields.keys() - {
        *("epochs", "batch_size", "optimizer", "learning_rate", "weight_decay", "schedule"),
        *("warmup_steps", "clip_norm", "keep", "patience"),
    }, follows=True)  # fmt: skip


class _Fitted(Options):
    """What a forecaster knows of its data, beside what it forecasts by."""

    season: int = Field(ge=1)
    scales: list[float]
    seed: int


@with_settings({**READ, **BUILT, **LEARNED})
class SeriesForecaster(BaseEstimator):  # type: ignore[misc]
    """One recurrent network for one series or many: `fit(series)`, then `predict(horizon)`.

    Everything is learned from but the last horizon of each series, on which intervals are
    calibrated. It has scikit-learn's parameters and clones; it learns from series in place of `X`
    and `y`, so that of `check_estimator` those checks alone concern it that ask for no table.
    `cross_val_score` and searches take it with one series and a `TimeSeriesSplit`: each part is
    scored as what follows the ones before.

    Args:
        horizon: steps that are learned to be forecast at once; None follows from the season.
        season: period of the season in steps, 1 for none; None infers it.
        steps: of training; None follows from the size of the data.
        random_state: of the initial weights, the order of windows and dropout; None takes a
            fresh one.
        model_dir: a directory that `fit` goes on from, and leaves its model in; None keeps nothing
            on disk.
        settings: the rest, each by its name.

    Where a setting is None it follows from the data, or from their size.

    Raises:
        ConfigError: at `fit`, for a parameter out of range.
        DataError: at `fit`, for series that are too short or cannot be used.

    Attributes:
        forecaster_: the fitted `recurra.series.use.forecaster.Forecaster`, with `step`.
        horizon_: H, as learned.
        season_: as given or inferred.
        names_: of the series, and of the variable where there are several.
        loss_curve_: each step's loss.

    Example:
        >>> wave = 10 + np.sin(2 * np.pi * np.arange(120) / 12)
        >>> model = SeriesForecaster(horizon=6, season=12, steps=20, random_state=0)
        >>> model.fit(wave).predict(6).shape
        (6,)
    """

    _form = form_of(FORMAT.name)

    def __init__(
        self,
        horizon: int | None = None,
        season: int | None = None,
        steps: int | None = None,
        random_state: Any = None,
        model_dir: str | Path | None = None,
        **settings: Any,
    ) -> None:
        self.horizon = horizon
        self.season = season
        self.steps = steps
        self.random_state = random_state
        self.model_dir = model_dir
        take(self, settings)

    def fit(self, series: Any, y: None = None) -> Self:
        """Learn from series, and return the estimator.

        Args:
            series: an array `(T,)`; a list of such, of any lengths; `(n, T)`; or a frame in long
                form, `unique_id, ds, y`. NaN is a gap.
            y: None, as a Pipeline hands it on.
        """
        if y is not None:
            raise ConfigError(
                "SeriesForecaster learns from series alone: call fit(series), without a y"
            )
        place = None if self.model_dir is None else ModelDirectory(self.model_dir)
        seed = 0 if place and self.random_state is None else seed_of(self.random_state)
        config, panel = self._config(series, seed)
        # Gaps in place of a test part: no observation is kept from the network for a verdict.
        gaps = np.full((len(panel.series) * len(panel.targets), config.data.horizon or 1), np.nan)
        task = SeriesTask(config, torch.device("cpu"), extended(panel, gaps))
        self._seed = seed
        if place is not None:
            place.keep_sources(self.get_params(deep=False).values())
        self._learn(task, None if place is None else place.checkpoints)
        if config.network.calibrate:
            task.learner.calibrate()
        self.forecaster_ = Forecaster(
            task.network, config.network, config.data, task.features, panel, task.deviations
        )
        channels = [values for one in panel.series for values in one.values.T]
        self._scales = [_scale(values, task.dataset.season) for values in channels]
        self._describe(task.dataset.season)
        if place is not None:
            self.save_pretrained(place.model)
        return self

    def _learn(self, task: SeriesTask, checkpoints: Checkpoints | None) -> None:
        settings = settings_kept(self, self._seed) if checkpoints else {}
        task.learner.fingerprint = {**task.learner.fingerprint, **settings}
        self.loss_curve_: list[float] = []
        with going_on(checkpoints, settings):
            for event in learn(task.learner, task.config.train, self._seed, checkpoints):
                if isinstance(event, Warned):
                    warnings.warn(event.message, stacklevel=4)
                elif hasattr(event, "loss"):
                    self.loss_curve_.append(event.loss)

    def _describe(self, season: int) -> None:
        self.horizon_, self.season_ = self.forecaster_.horizon, season
        self.names_ = self.forecast(1).names

    def forecast(self, horizon: int | None = None, levels: Sequence[float] = (80, 95)) -> Forecasts:
        """Return what follows the series as distributions: stamps, medians, intervals, rows.

        Args:
            horizon: steps ahead; as many as were learned. More are reached in several strides.
            levels: of the intervals in its rows, in percent.
        """
        check_is_fitted(self, "forecaster_")
        return self.forecaster_.predict(horizon, levels=levels)

    def predict(self, horizon: int | None = None) -> NDArray[np.float64]:
        """Return the medians of what follows, `(H,)` of one series, `(n, H)` of more.

        Args:
            horizon: steps ahead; as many as were learned. More are reached in several strides.
        """
        return self._of_one_or_many(self.forecast(horizon).median)

    def predict_interval(
        self, horizon: int | None = None, level: float = 95
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the bounds that hold a share of what may follow, each shaped as `predict`'s.

        Args:
            horizon: steps ahead; as many as were learned.
            level: the share, in percent.
        """
        low, high = self.forecast(horizon).interval(level)
        return self._of_one_or_many(low), self._of_one_or_many(high)

    def score(self, series: Any, y: None = None) -> float:
        """Return how well the observations that came after are forecast: the negative of MASE.

        Errors are told in those of the season before over what was learned from; where these are
        nothing in those of the step before, and of a constant series as they are.

        Args:
            series: what followed, in the form that `fit` had: as many series, in their order, or
                a frame of the same names.
            y: None, as scikit-learn hands it on.

        Raises:
            DataError: they are other series, or at other times.
        """
        check_is_fitted(self, "forecaster_")
        options = self.forecaster_.data.model_copy(update={"season": self.season_})
        panel, _ = open_panel(options, series)
        came = [
            (_name(one.unique_id, target, panel), one.stamps, one.values[:, place])
            for one in panel.series
            for place, target in enumerate(panel.targets)
        ]
        if sorted(name for name, *_ in came) != sorted(self.names_):
            raise DataError(
                f"what came is of {', '.join(name for name, *_ in came):.200}, the forecaster "
                f"learned from {', '.join(self.names_):.200}"
            )
        ahead = self.forecast(max(len(values) for *_, values in came))
        errors = []
        for name, stamps, values in came:
            row = self.names_.index(name)
            places = _places(name, stamps, ahead.stamps[row], len(values))
            error = np.abs(values - ahead.median[row][places])
            errors.append(np.nanmean(error) / self._scales[row])
        return -float(np.mean(errors))

    def save_pretrained(self, directory: Path | str) -> None:
        """Write the fitted forecaster as a directory, which commands and `Forecaster` read too.

        Its parameters go along, but for `model_dir`, and of a generator the seed drawn from it.

        Args:
            directory: its place: free, an empty folder, or a model, which is replaced.

        Raises:
            NotFittedError: it is not fitted.
            ConfigError: what is there is no model, or holds something else too.
        """
        check_is_fitted(self, "forecaster_")
        made = self.forecaster_
        history = tail(made.history, made.context + 1)
        parts = made.network, made.options, made.data, made.features, history, made.deviations
        facts, tensors = Saved(*parts).packed()
        fitted = _Fitted(season=self.season_, scales=self._scales, seed=self._seed)
        curve = {"loss_curve": torch.tensor(self.loss_curve_, dtype=torch.float64)}
        model = self._form, "forecaster", facts, tensors
        write(self, directory, model, self._seed, fitted, curve)

    @classmethod
    def from_pretrained(cls, directory: Path | str, *, allow_import: Iterable[str] = ()) -> Self:
        """Return a fitted forecaster that was saved; nothing is fitted anew.

        Args:
            directory: what `save_pretrained` wrote, or a `model_dir`.
            allow_import: cells of someone's own that it may name, as `["module:Name"]`.

        Raises:
            CheckpointError: there is none, it is damaged or another class's, or it names a cell
                that is not allowed.
        """
        with opened(cls, cls._form, _Fitted, directory, allow_import) as found:
            estimator: Self = found.estimator
            estimator.forecaster_ = Forecaster(*Saved.restored(found.model))
            estimator._seed = found.fitted.seed
            estimator._scales = found.fitted.scales
            estimator.loss_curve_ = found.state["loss_curve"].tolist()
            estimator._describe(found.fitted.season)
        return estimator

    def _of_one_or_many(self, ahead: NDArray[np.float64]) -> NDArray[np.float64]:
        return ahead[0] if len(ahead) == 1 else ahead

    def _config(self, series: Any, seed: int) -> tuple[SeriesRun, Panel]:
        """Return what is run, with a horizon, and the series."""
        asked = {"horizon": self.horizon, "season": self.season}
        options = checked(SeriesOptions, **asked, **chosen(self, READ))
        panel, _ = open_panel(options, series)
        horizon = options.horizon or customary_horizon(panel, panel.frequency.season)
        season = panel.frequency.season
        seen = max(2, min(season, chosen(self, BUILT)["context"] or season))
        longest, least = max(map(len, panel.series)), 2 * horizon + seen
        if longest < least:
            told = f"{horizon} and a season of {season}" if season > 1 else f"{horizon}"
            raise DataError(
                f"the longest series has {longest} observations, but a horizon of {told} needs "
                f"{least}, to learn from and to calibrate on: give more, or smaller ones"
            )
        usual = preset(size=sum(one.values.size for one in panel.series) * BYTES_PER_POINT)
        learned = {"steps": self.steps, **chosen(self, LEARNED)}
        train = _instead(usual.train, learned)
        if self.steps is None and learned["epochs"] is not None:
            train = train.model_copy(update={"steps": None})
        if train.keep == "last" and train.patience is None:  # nobody asks how it does on the way
            train = train.model_copy(update={"validate_epochs": float(MOST_EPOCHS)})
        kept = {"dataset": GIVEN, "horizon": horizon}
        parts = {
            "seed": seed,
            "data": options.model_copy(update=kept),
            "network": _instead(usual.network, chosen(self, BUILT)),
            "train": train,
        }
        return usual.model_copy(update=parts), panel


def _scale(values: NDArray[np.float64], season: int) -> float:
    """Return what errors of a series are told in: above 0, for rounding is no error."""
    least = 1e-9 * float(np.nanstd(values))
    scales = (mase_scale(values, lag) for lag in (season, 1))
    return next((scale for scale in scales if scale > least), 1.0)


def _instead(usual: Any, chosen: dict[str, Any]) -> Any:
    """Return options with what was chosen, where that is not None."""
    told = {name: value for name, value in chosen.items() if value is not None}
    return checked(type(usual), **{**dict(usual), **told})


def _name(unique_id: str, target: str, panel: Panel) -> str:
    """Return the name of one variable of a series, as forecasts have it."""
    return unique_id if len(panel.targets) == 1 else f"{unique_id}/{target}"


def _places(
    name: str, stamps: NDArray[Any] | None, ahead: NDArray[Any], count: int
) -> NDArray[np.int64]:
    """Return which steps ahead the observations of a series are; without stamps the first ones."""
    if stamps is None:
        return np.arange(count)
    places = {stamp: place for place, stamp in enumerate(ahead.tolist())}
    told = stamps.tolist()
    if missed := [stamp for stamp in told if stamp not in places]:
        raise DataError(
            f"{name!r:.80}: {missed[0]} is none of the {len(ahead)} steps that follow, "
            f"{ahead[0]} to {ahead[-1]}"
        )
    return np.array([places[stamp] for stamp in told])
