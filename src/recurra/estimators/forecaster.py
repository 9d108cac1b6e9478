"""A forecaster with scikit-learn's parameters. T observations, n series, H steps ahead."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from recurra.errors import ConfigError
from recurra.estimators.options import checked
from recurra.estimators.training import seed_of
from recurra.learning.config import GIVEN
from recurra.learning.event import Warned
from recurra.learning.loop import learn
from recurra.learning.options import TrainOptions
from recurra.series.data.dataset import SeriesDataset
from recurra.series.datasets import open_panel
from recurra.series.entry import SeriesRun
from recurra.series.options import ForecastOptions, SeriesOptions
from recurra.series.panel import Panel
from recurra.series.presets import BYTES_PER_POINT
from recurra.series.presets import series as preset
from recurra.series.task import SeriesTask
from recurra.series.use.forecaster import Forecaster
from recurra.series.use.forecasts import Forecasts
from recurra.series.use.history import extended

__all__ = ["SeriesForecaster"]

MOST_EPOCHS = 10**9
"""Passes between two validations where there are to be none but the last."""


class SeriesForecaster(BaseEstimator):  # type: ignore[misc]
    """One recurrent network for one series or many: `fit(series)`, then `predict(horizon)`.

    Everything is learned from but the last horizon of each series, on which intervals are
    calibrated. It has scikit-learn's parameters, clones and pickles; with no `X` and `y` it is
    not for a Pipeline.

    Args:
        horizon: steps that are learned to be forecast at once; None follows from the season.
        season: period of the season in steps, 1 for none; None infers it.
        steps: of training; None follows from the size of the data.
        random_state: of the initial weights, the order of windows and dropout; None takes a
            fresh one.
        data: columns of a frame and what a gap becomes; its horizon and season give way to those
            above.
        network: the network's options; None follows from the size of the data.
        train: how it learns, for all but `steps`; None follows from the size of the data.

    Raises:
        ConfigError: at `fit`, for a parameter out of range.
        DataError: at `fit`, for series that are too short or cannot be used.

    Attributes:
        forecaster_: the fitted `recurra.series.use.forecaster.Forecaster`, with `step` and
            `save_pretrained`.
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

    def __init__(
        self,
        horizon: int | None = None,
        season: int | None = None,
        steps: int | None = None,
        random_state: Any = None,
        data: SeriesOptions | None = None,
        network: ForecastOptions | None = None,
        train: TrainOptions | None = None,
    ) -> None:
        self.horizon = horizon
        self.season = season
        self.steps = steps
        self.random_state = random_state
        self.data = data
        self.network = network
        self.train = train

    def fit(self, series: Any) -> SeriesForecaster:
        """Learn from series, and return the estimator.

        Args:
            series: an array `(T,)`; a list of such, of any lengths; `(n, T)`; or a frame in long
                form, `unique_id, ds, y`. NaN is a gap.
        """
        config, panel = self._config(series)
        # Gaps in place of a test part: no observation is kept from the network for a verdict.
        gaps = np.full((len(panel.series) * len(panel.targets), config.data.horizon or 1), np.nan)
        task = SeriesTask(config, torch.device("cpu"), extended(panel, gaps))
        self.loss_curve_ = []
        for event in learn(task.learner, task.config.train, config.seed, checkpoints=None):
            if isinstance(event, Warned):
                warnings.warn(event.message, stacklevel=2)
            elif hasattr(event, "loss"):
                self.loss_curve_.append(event.loss)
        if config.network.calibrate:
            task.learner.calibrate()
        self.forecaster_ = Forecaster(
            task.network, config.network, config.data, task.features, panel, task.deviations
        )
        self.horizon_, self.season_ = task.dataset.horizon, task.dataset.season
        self.names_ = self.forecast(1).names
        return self

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

    def _of_one_or_many(self, ahead: NDArray[np.float64]) -> NDArray[np.float64]:
        return ahead[0] if len(ahead) == 1 else ahead

    def _config(self, series: Any) -> tuple[SeriesRun, Panel]:
        """Return what is run, with a horizon, and the series."""
        given = self.data if self.data is not None else SeriesOptions()
        for name, value, kind in (
            ("data", given, SeriesOptions),
            ("network", self.network, ForecastOptions | None),
            ("train", self.train, TrainOptions | None),
        ):
            if not isinstance(value, kind):
                raise ConfigError(f"{name}: expected its options or None, got {value!r:.80}")
        asked = {"horizon": self.horizon, "season": self.season}
        told = {name: value for name, value in asked.items() if value is not None}
        options = checked(SeriesOptions, **{**dict(given), **told})
        panel, _ = open_panel(options, series)
        if options.horizon is None:
            horizon = SeriesDataset(panel, options, None).horizon
            options = options.model_copy(update={"horizon": horizon})
        points = sum(one.values.size for one in panel.series)
        usual = preset(size=points * BYTES_PER_POINT)
        train = self.train or usual.train
        if self.steps is not None:
            train = checked(TrainOptions, **{**dict(train), "steps": self.steps})
        if train.keep == "last" and train.patience is None:  # nobody asks how it does on the way
            train = train.model_copy(update={"validate_epochs": float(MOST_EPOCHS)})
        parts = {
            "seed": seed_of(self.random_state),
            "data": options.model_copy(update={"dataset": GIVEN, "test": None, "valid": None}),
            "network": self.network or usual.network,
            "train": train,
        }
        return usual.model_copy(update=parts), panel
