"""The series that can be asked for by name, and the door to all others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from recurra.errors import DataError
from recurra.series.calendar.frequency import Frequency
from recurra.series.calendar.names import asked
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


def open_panel(
    options: SeriesOptions, data: Any = None, calendar: Frequency | None = None
) -> tuple[Panel, Split | None]:
    """Return the series, and how they were published to be divided, if they were.

    Args:
        options: the dataset, its columns, frequency and season where these are not inferred.
        data: something in memory, instead of the dataset that the options name: a frame, arrays
            (see `recurra.series.reading.read_data`), or the path of a file.
        calendar: that the stamps of a file or frame are laid on; found from them by default.

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
        panel = source.open(calendar) if isinstance(source, FileSource) else source.open()
        split = source.split
    else:
        panel, split = read_data(data, options, calendar), None
    frequency = panel.frequency
    if options.frequency is not None and not frequency.is_called(options.frequency):
        frequency = _asked(panel, options.frequency)  # a panel, or a dataset that brings its own
    if options.season is not None:
        frequency = replace(frequency, season=options.season, seasons=(options.season,))
    if options.season is None and frequency is panel.frequency:
        return panel, split
    notes = tuple(note for note in panel.notes if not note.startswith("frequency "))
    told = f"frequency {frequency.name}, season {frequency.season} (as asked)"
    return replace(panel, frequency=frequency, notes=(*notes, told)), split


def _asked(panel: Panel, name: str) -> Frequency:
    """Return the frequency of a name, on the days of the month that the series' stamps have."""
    stamps = [one.stamps for one in panel.series if one.stamps is not None]
    if not stamps or not np.issubdtype(stamps[0].dtype, np.datetime64):
        raise DataError(f"data.frequency is {name!r}, but the series have no dates")
    return asked(name, stamps, panel.frequency.points.zone)
