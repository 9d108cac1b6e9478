"""Panels of a few numbers, and forecasters of a few units, that the tests of series share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from recurra.randomness import generator
from recurra.series.calendar.found import infer
from recurra.series.calendar.frequency import Frequency
from recurra.series.data.dataset import Features, SeriesDataset
from recurra.series.datasets.base import Split
from recurra.series.network.model import ForecastNetwork
from recurra.series.network.sizing import sized
from recurra.series.options import ForecastOptions, SeriesOptions
from recurra.series.panel import Panel, Series
from recurra.series.use.forecaster import Forecaster


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_panel(
    lengths: tuple[int, ...] = (60, 47),
    *,
    variables: int = 1,
    past: int = 0,
    future: int = 0,
    static: int = 0,
    stamps: str = "none",  # or hours, or irregular
    gaps: float = 0.0,
    ahead: int = 20,
    season: int = 4,
    seed: int = 0,
) -> Panel:
    """Seasonal series about levels of their own, positive, with covariates of any size."""
    draw = np.random.default_rng(seed)
    series = []
    for n, length in enumerate(lengths):
        wave = np.sin(np.arange(length) * 2 * np.pi / season)[:, None]
        values = 20.0 * (n + 1) + 3 * wave + draw.normal(size=(length, variables))
        values[draw.random(values.shape) < gaps] = np.nan
        steps = draw.choice([1.0, 2.0, 3.5], length).cumsum()
        moments = {
            "none": None,
            "irregular": steps,
            "hours": np.datetime64("2024-02-27", "ns") + np.arange(length) * np.timedelta64(1, "h"),
        }
        series.append(
            Series(
                f"s{n}",
                values,
                moments[stamps],
                draw.normal(5, 2, size=(length, past)),
                draw.normal(-3, 4, size=(length + ahead, future)),
                draw.normal(size=static),
            )
        )
    known = [one.stamps for one in series if one.stamps is not None]
    frequency = infer(*known) if known else Frequency("steps")
    return Panel(
        tuple(series),
        tuple(f"y{v}" for v in range(variables)),
        replace(frequency, season=season, seasons=(season,)),
        tuple(f"p{v}" for v in range(past)),
        tuple(f"f{v}" for v in range(future)),
        tuple(f"s{v}" for v in range(static)),
    )


@dataclass(frozen=True)
class Made:
    """A forecaster of random weights, and what it was made for."""

    forecaster: Forecaster
    dataset: SeriesDataset

    @property
    def panel(self) -> Panel:
        return self.dataset.panel


def make_forecaster(
    panel: Panel,
    horizon: int = 6,
    published: Split | None = None,
    data: dict[str, Any] | None = None,
    seed: int = 1,
    **network: Any,
) -> Made:
    """No weight is zero, so that everything seen has its effect."""
    settings = SeriesOptions(dataset="(given)", horizon=horizon, **(data or {}))
    dataset = SeriesDataset(panel, settings, published)
    options = ForecastOptions(**{"hidden_size": 5, "context": 12, "segment": 4, **network})
    ends = dataset.end("train")
    features = Features.fit(panel, ends, options.calendar)
    channels = features.channels(panel)
    shape, scaling = sized(dataset, options, channels[0])
    net = ForecastNetwork(options, shape, scaling, [None] * options.members)
    stream = generator(seed, "test")
    for parameter in net.parameters():
        torch.nn.init.uniform_(parameter, -0.5, 0.5, generator=stream)
    torch.nn.init.uniform_(net.correction, -0.2, 0.2, generator=stream)
    deviations = [np.nanstd(one.values[: max(2, ends[one.series])]) for one in channels]
    return Made(Forecaster(net, options, settings, features, panel, np.array(deviations)), dataset)


@pytest.fixture(scope="session")
def panel_of() -> Callable[..., Panel]:
    return make_panel


@pytest.fixture(scope="session")
def forecaster_of() -> Callable[..., Made]:
    return make_forecaster
