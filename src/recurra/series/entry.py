"""The task of series, as everything else finds it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recurra.learning.config import RunConfig
from recurra.learning.metric import Metric
from recurra.learning.options import TrainOptions
from recurra.learning.task import TaskEntry, presets_in
from recurra.series.options import ForecastOptions, SeriesOptions
from recurra.storage.format import Format

__all__ = ["FORMAT", "SERIES", "SeriesRun"]


class SeriesRun(RunConfig):
    """A recurrent network learns to forecast series."""

    sketch = "recurra.series.network.sketch:sketcher"

    task: Literal["series"] = Field("series", description="what is learned")
    data: SeriesOptions = SeriesOptions()
    network: ForecastOptions = ForecastOptions()
    train: TrainOptions = TrainOptions()


FORMAT = Format("recurra-forecaster")

SERIES = TaskEntry(
    config=SeriesRun,
    data="recurra.series.described:DATA",
    task="recurra.series.task:SeriesTask",
    model="recurra.series.use.forecaster:Forecaster",
    format=FORMAT,
    metrics=(
        Metric(name="mae", title="MAE", column=7, beside="mse"),
        Metric(name="mase", title="MASE", column=6),
        Metric(name="smape", title="sMAPE", column=7),
        Metric(name="rmse", title="RMSE", column=8),
        Metric(name="crps", title="CRPS", column=7),
        Metric(name="coverage_95", title="95% coverage", column=12, share=True),
        Metric(name="coverage_80", title="80% coverage", share=True),
        Metric(name="mse", title="MSE"),
        Metric(name="msis", title="MSIS"),
    ),
    presets=presets_in(
        "recurra.series.presets",
        "series sine sine-2017 sine-steps sine-free airline sunspots m4-hourly etth1",
    ),
    pictures=("forecast.png", "errors.png", "predicted.png"),
)
