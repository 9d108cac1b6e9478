"""The series task: a recurrent network learns to forecast, beside baselines that it must beat."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recurra.errors import ConfigError, DataError, RunError
from recurra.learning.checkpoint import Checkpoints
from recurra.learning.event import Event, Finished, Warned
from recurra.learning.loop import learn
from recurra.learning.metric import Metrics
from recurra.learning.plan import seconds_each, with_steps, with_threads
from recurra.learning.task import Task
from recurra.learning.weights import load_weights, require_memory, sketched
from recurra.nn.make import start_in_words
from recurra.nn.proven import prove_within
from recurra.randomness import generator
from recurra.series.baselines import BASELINES
from recurra.series.data.dataset import Channel, Features, SeriesDataset
from recurra.series.data.windows import Scaling, Windows
from recurra.series.entry import SeriesRun
from recurra.series.judging.metrics import LEVELS
from recurra.series.judging.rivals import costs_of_rivals, require_finite, rivals
from recurra.series.judging.trial import Trial
from recurra.series.network.learner import CALIBRATED, SeriesLearner
from recurra.series.network.model import MIDDLE, ForecastNetwork, Shape
from recurra.series.network.sizing import sized
from recurra.series.options import ForecastOptions
from recurra.series.pictures import pictures
from recurra.series.use.evidence import (
    MOST_RESIDUALS,
    ForecastEvidence,
    ShownPoints,
    in_blocks,
    mean_error,
    running_freely,
    shown,
)
from recurra.series.use.forecaster import Forecaster
from recurra.storage.finite import not_finite
from recurra.storage.picture import Picture

__all__ = ["SeriesTask"]

Floats = NDArray[np.float64]

SAME_WINDOWS = (
    "The validation's coverage is of the windows that the intervals were calibrated on, so it is "
    "no promise; the test's is measured"
)


class SeriesTask(Task):
    """A recurrent network learns to forecast series.

    Args:
        config: the run's; where it gives `train.minutes`, `self.config` has the steps that a
            short measurement found to fit.
        device: where tensors live.
        data: a frame or arrays, in place of what the config names.

    Raises:
        ConfigError: the network does not fit into memory, or `start_from` does not fit the data.
        DataError: the series cannot be used.
    """

    unit = "windows"

    def __init__(self, config: SeriesRun, device: torch.device, data: Any = None) -> None:
        self.metric: str = config.data.judge
        self.dataset = SeriesDataset.open(config.data, data)
        panel, ends = self.dataset.panel, self.dataset.end("train")
        start = None if config.start_from is None else Forecaster.from_pretrained(config.start_from)
        if start:
            start.read(panel)  # refuses other columns, and another step
        features = Features.fit(panel, ends, config.network.calendar)
        self.features = start.features if start else features
        channels = self.features.channels(panel)
        shape, scaling = sized(self.dataset, config.network, channels[0])
        if start:
            shape, scaling = _sizes_of(start, self.dataset, config.start_from)
        if config.network.logarithm:
            _require_positive(channels)
        _require_memory(config.network, shape, scaling)
        seeds = [generator(config.seed, "init", n) for n in range(config.network.members)]
        self.network = ForecastNetwork(config.network, shape, scaling, [*seeds])
        if start:
            load_weights(self.network, start.network.state_dict())
            self.network.correction.zero_()
        prove_within(self.network.to(device))
        parts = [one.values[: max(0, ends[one.series])] for one in channels]
        if scaling.logarithm:
            parts = [np.log(part) for part in parts]
        self.deviations = np.array([_deviation(part) for part in parts])
        windows = Windows(channels, shape.context, shape.horizon, self.deviations)
        self.learner = SeriesLearner(
            self.network, self.dataset, windows, config.train.batch_size, config.seed, device
        )
        self._forecasts: dict[str, Floats] = {}
        portions = -(-shape.context // shape.segment)
        config = with_threads(config, self.network, config.train.batch_size * portions)
        self.config = config
        train = with_steps(config.train, self.learner, lambda: self._costs(config.network))
        self._out = dict(train.left_out or {})
        self.config = config.model_copy(update={"train": train})

    def facts(self) -> dict[str, str]:
        """Return in words what is learned."""
        options, shape = self.config.network, self.network.shape
        one = f"{options.num_layers} x {options.hidden_size} {options.cell}"
        several = f"{options.members} of " if options.members > 1 else ""
        portions = f"{shape.context // shape.segment} segments of {shape.segment}"
        base = {"season": "the last season", "last": "the last value", "none": "nothing"}
        corrected = base[self.network.scaling.residual]
        return {
            **self.dataset.facts(),
            "network": f"{several}{one}, sees {shape.context} steps ({portions}), "
            f"corrects {corrected}, {options.decoder} decoding, {options.head.replace('_', ' ')}",
            "start": start_in_words(options.cell),
        }

    def fit(self, checkpoints: Path, should_stop: Callable[[], bool]) -> Iterator[Event]:
        """Train, yielding events; at the end the quantiles are calibrated."""
        train, seed = self.config.train, self.config.seed
        self.network.train()
        for event in learn(self.learner, train, seed, Checkpoints(checkpoints), should_stop):
            if isinstance(event, Finished) and self._calibrates:
                yield from _too_few(self.learner.calibrate())
            self._forecasts.clear()  # the network is another now
            yield event

    @cached_property
    def model(self) -> Forecaster:
        """The forecaster, which shares the network that learns."""
        return Forecaster(
            self.network,
            self.config.network,
            self.config.data,
            self.features,
            self.dataset.panel,
            self.deviations,
        )

    def measure(self, split: str) -> Metrics | None:
        """Return the forecaster's metrics on a part of the data; None where it has no window."""
        trial = self._test if split == "test" else Trial.of(self.dataset, split)
        if not len(trial) or split in self._out:
            return None
        scored = trial.score(self._forecast(split, trial)).as_dict()
        return scored | {"calibrated": 1} if split == "valid" and self._calibrates else scored

    def baselines(self) -> dict[str, dict[str, Metrics]]:
        """Return what the result is printed beside: name -> split -> metrics."""
        return {
            name: {split: self._judged[split].score(told[split]).as_dict() for split in told}
            for name, told in self._rivals.items()
        }

    def left_out(self) -> dict[str, str]:
        """Return what could not be made, or not in time: name -> why."""
        return self._out

    def extras(self) -> dict[str, Any]:
        """Return the error of running freely, where one series is forecast step by step; notes."""
        notes = [SAME_WINDOWS] if self._calibrates and "valid" not in self._out else []
        points = self._points
        if points is None or points.free is None or not np.isfinite(points.actual).any():
            return {"notes": notes} if notes else {}
        rmse = float(np.sqrt(np.nanmean((points.free - points.actual) ** 2)))
        steps = len(points.actual)
        said = f"Running freely on its own predictions over {steps:,} steps: RMSE {rmse:.4g}."
        return {"free_running": {"steps": steps, "rmse": rmse}, "notes": [said, *notes]}

    def pictures(self) -> Iterator[Picture]:
        """Yield what there is to see of the test, if it was told."""
        if "test" not in self._out:
            yield from pictures(self.evidence())

    def evidence(self) -> ForecastEvidence:
        """Return what the pictures are drawn from; errors of several series are scaled as MASE."""
        trial = self._test
        quantiles = self._forecast("test", trial)
        together = len(np.unique(trial.channels)) > 1
        scales = np.where(trial.scales > 0, trial.scales, np.nan)[:, None] if together else 1.0

        def missed(told: Floats) -> Floats:
            return np.asarray((trial.actual - told[..., MIDDLE]) / scales)

        residuals = missed(quantiles)
        best = self._best_rival()
        names = dict.fromkeys([*([best] if best else []), "seasonal_naive", "ar", "theta"])
        beside = {n: missed(self._rivals[n]["test"]) for n in names if n in self._rivals}
        points = self._points
        if points is not None and best is not None:
            told = in_blocks(trial, self._rivals[best]["test"][..., MIDDLE])
            points = replace(points, rival=(best, told))
        known = residuals[np.isfinite(residuals)]
        return ForecastEvidence(
            shown(trial, quantiles, self.network.shape.context),
            mean_error(residuals),
            {name: mean_error(errors) for name, errors in beside.items()},
            known[:: max(1, len(known) // MOST_RESIDUALS)],
            points,
            scaled=together,
        )

    def _best_rival(self) -> str | None:
        """Return the baseline that the verdict is about: the best on the test."""
        known = [
            (value, name)
            for name, told in self.baselines().items()
            if (value := told.get("test", {}).get(self.metric)) is not None
        ]
        return min(known)[1] if known else None

    @classmethod
    def evaluate(
        cls, run: Path, config: SeriesRun | None, data: Any, split: str, context: str
    ) -> Metrics:
        """Return a forecaster's metrics on `"valid"` or `"test"`; context says nothing to it."""
        model = Forecaster.from_pretrained(run)
        options = config.data if config else model.data
        options = options.model_copy(update={"horizon": model.horizon})
        if data is not None and isinstance(data, str):
            options, data = options.model_copy(update={"dataset": data}), None
        if split == "train":
            raise DataError("a forecaster is measured on --split valid or test")
        trial = Trial.of(SeriesDataset.open(options, data), split)
        if not len(trial):
            raise DataError(f"no series is long enough for a {split} window")
        windows = model.windows(trial.dataset.panel)
        told = model.quantiles(windows, trial.channels, trial.origins)
        require_finite(trial, told)
        same = data is None and split == "valid" and model.options.calibrate
        return trial.score(told).as_dict() | ({"calibrated": 1} if same else {})

    @cached_property
    def _test(self) -> Trial:
        return Trial.of(self.dataset, "test")

    @cached_property
    def _judged(self) -> dict[str, Trial]:
        """The windows that baselines are judged by."""
        trials = {"valid": self.learner.trial, "test": self._test}
        return {split: trial for split, trial in trials.items() if split not in self._out}

    @cached_property
    def _rivals(self) -> dict[str, dict[str, Floats]]:
        """Each baseline's forecasts of each part, for its figures and for the pictures."""
        return rivals(self._judged, BASELINES, self._out)

    @property
    def _calibrates(self) -> bool:
        return self.config.network.calibrate and "calibration" not in self._out

    def _costs(self, options: ForecastOptions) -> Iterator[tuple[str, Callable[[], float]]]:
        """Yield what comes after the training, and what measures its seconds by a part of it."""
        trials = {"test": self._test, "valid": Trial.of(self.dataset, "valid")}
        windows = {split: len(trial) for split, trial in trials.items()}
        channels, origins = trials["test"].channels, trials["test"].origins

        def forecast(count: int) -> None:
            self.model.quantiles(self.learner.windows, channels[:count], origins[:count])

        @cache
        def each() -> float:
            self.network.eval()
            seconds = seconds_each(forecast, windows["test"])
            self.network.train()
            return seconds

        yield "test", lambda: windows["test"] * each()
        if options.calibrate:
            yield "calibration", lambda: min(CALIBRATED, windows["valid"]) * each()
        yield "valid", lambda: windows["valid"] * each()
        yield from costs_of_rivals([self._test, self.learner.trial])

    @cached_property
    def _points(self) -> ShownPoints | None:
        """The test step by step, told once the network has learned; None where it runs away."""
        if "test" in self._out:
            return None
        points = running_freely(self.model, self._test)
        if points is None or points.free is None or (place := not_finite(points.free)) is None:
            return points
        self._out["free_running"] = f"runs away: step {place[0] + 1} is not finite"
        return replace(points, free=None)

    def _forecast(self, split: str, trial: Trial) -> Floats:
        """Return the forecasts of a part, told once for its figures and for the pictures."""
        if split not in self._forecasts:
            windows = self.learner.windows
            told = self.model.quantiles(windows, trial.channels, trial.origins)
            try:
                require_finite(trial, told)
            except DataError as error:
                raise RunError(f"the network has blown up: {error}") from error
            self._forecasts[split] = told
        return self._forecasts[split]


def _too_few(points: int) -> Iterator[Warned]:
    """Say which intervals points are too few for: n of them hold no more than n / (n + 1)."""
    held, widest = points / (points + 1), LEVELS[-1] - LEVELS[0]
    if held < widest:
        yield Warned(
            f"{points} validation points can promise intervals of {held:.1%} at most: wider ones, "
            f"as of {widest:.0%}, are as the network spreads them; a larger data.valid helps"
        )


def _deviation(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.std()) if len(known) > 1 else np.nan


def _sizes_of(start: Forecaster, dataset: SeriesDataset, run: str | None) -> tuple[Shape, Scaling]:
    """Return the sizes of the network whose weights are taken; the data must suit them."""
    shape, scaling = start.network.shape, start.network.scaling
    asked = (dataset.horizon, dataset.season, len(dataset.panel.targets))
    there = (shape.horizon, scaling.season, shape.variables)
    if asked != there:
        raise ConfigError(
            "--from {}: that network forecasts {} steps, by seasons of {}, of {} variables; the "
            "data are {}, {} and {}".format(run, *there, *asked)
        )
    return shape, scaling


def _require_positive(channels: Sequence[Channel]) -> None:
    """Refuse values that have no logarithm."""
    for one in channels:
        wrong = np.flatnonzero(one.values <= 0)
        if len(wrong):
            raise DataError(
                f"network.logarithm is set, but series {one.series + 1} has "
                f"{one.values[wrong[0]]:g} at observation {wrong[0] + 1}: it takes values above 0"
            )


def _require_memory(options: ForecastOptions, shape: Shape, scaling: Scaling) -> None:
    """Refuse networks whose weights and gradients the machine cannot hold."""
    network = sketched(lambda: ForecastNetwork(options, shape, scaling, [None]))
    parameters = options.members * sum(parameter.numel() for parameter in network.parameters())
    sizes = (
        f"network.hidden_size={options.hidden_size}, network.num_layers={options.num_layers} "
        f"and network.members={options.members}"
    )
    require_memory(parameters, sizes)
