"""The forecasting network of a config as shapes without memory, so that sizes are tried first."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from recurra.learning.weights import sketched
from recurra.series.data.dataset import Channel, Features, SeriesDataset
from recurra.series.entry import SeriesRun
from recurra.series.network.model import ForecastNetwork
from recurra.series.network.sizing import sized
from recurra.series.options import ForecastOptions

__all__ = ["sketcher"]


def sketcher(config: SeriesRun) -> Callable[[ForecastOptions], ForecastNetwork]:
    """Return what draws the networks of other options for the series of a config.

    Args:
        config: whose series are opened.

    Raises:
        DataError: the series cannot be used.

    Example:
        >>> import recurra as rc
        >>> sketch = sketcher(rc.preset("airline"))
        >>> sketch(ForecastOptions(hidden_size=8, members=2)).shape.horizon
        12
    """
    dataset = SeriesDataset.open(config.data)
    panel, ends = dataset.panel, dataset.end("train")

    @cache
    def channel(calendar: bool) -> Channel:
        return Features.fit(panel, ends, calendar).channels(panel)[0]

    def sketch(options: ForecastOptions) -> ForecastNetwork:
        sizes = sized(dataset, options, channel(options.calendar))
        return sketched(lambda: ForecastNetwork(options, *sizes, [None] * options.members))

    return sketch
