"""The series that can be asked for by name, and the door to all others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from recurra.errors import DataError
from recurra.series.calendar.frequency import Frequency
from recurra.series.calendar.names import named
from recurra.series.datasets.base import SeriesSource, Split
from recurra.series.datasets.files import FileSource
from recurra.series.options import SeriesOptions
from recurra.series.panel import Panel
from recurra.series.reading import read_data
from recurra.table import Table, located

__all__ = ["DATASETS", "open_panel", "open_source"]

DATASETS = Table(
    "dataset of series",
    {
        "airline": "recurra.series.datasets.airline:AirlineSource",
        "etth1": "recurra.series.datasets.ett:Etth1Source",
        "m4-hourly": "recurra.series.datasets.m4:M4HourlySource",
        "sine": "recurra.series.datasets.sine:SineSource",
        "sunspots": "recurra.series.datasets.sunspots:SunspotsSource",
    },
    base="recurra.series.datasets.base:SeriesSource",
)


def open_source(options: SeriesOptions) -> SeriesSource:
    """Return the source that `options.dataset` names: a name, a file or module:Name.

    Args:
        options: handed on to the source.

    Raises:
        ConfigError: nothing is named so.

    Example:
        >>> open_source(SeriesOptions(dataset="airline")).split.test
        12
    """
    name = options.dataset
    if name not in DATASETS.places and (path := located(name)) is not None:
        return FileSource(options.model_copy(update={"dataset": str(path)}))
    source: SeriesSource = DATASETS[name](options)
    return source


def open_panel(options: SeriesOptions, data: Any = None) -> tuple[Panel, Split | None]:
    """Return the series, and how they were published to be divided, if they were.

    Args:
        options: the dataset, its columns, frequency and season where these are not inferred.
        data: something in memory, instead of the dataset that the options name: a frame, arrays
            (see `recurra.series.reading.read_data`), or the path of a file.

    Raises:
        ConfigError: nothing is named so, or an extra is not installed.
        DataError: the series are not here, or cannot be read; the message names the rows.

    Example:
        >>> panel, split = open_panel(SeriesOptions(dataset="airline"))
        >>> panel.frequency.name, panel.frequency.season, split.horizon
        ('monthly', 12, 12)
    """
    if isinstance(data, str | Path):
        options, data = options.model_copy(update={"dataset": str(data)}), None
    if data is None:
        source = open_source(options)
        panel, split = source.open(), source.split
    else:
        panel, split = read_data(data, options), None
    if options.season is None and options.frequency is None:
        return panel, split
    frequency = panel.frequency
    if options.frequency is not None:
        frequency = _asked(panel, options.frequency)
    if options.season is not None:
        frequency = replace(frequency, season=options.season, seasons=(options.season,))
    notes = tuple(note for note in panel.notes if not note.startswith("frequency "))
    told = f"frequency {frequency.name}, season {frequency.season} (as asked)"
    return replace(panel, frequency=frequency, notes=(*notes, told)), split


def _asked(panel: Panel, name: str) -> Frequency:
    """Return the frequency of a name, on the day of the month that the series' stamps have."""
    stamps = panel.series[0].stamps
    if stamps is None or not np.issubdtype(stamps.dtype, np.datetime64):
        raise DataError(f"data.frequency is {name!r}, but the series have no dates")
    day = stamps[-1].astype("datetime64[D]")
    of_month = int((day - day.astype("datetime64[M]")).astype(np.int64)) + 1
    last = (day + np.timedelta64(1, "D")).astype("datetime64[M]") != day.astype("datetime64[M]")
    return replace(named(name), day=31 if last else of_month)
