"""The yearly numbers of sunspots."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from recurra.series.calendar.found import infer
from recurra.series.datasets.base import SeriesSource, Split
from recurra.series.panel import Panel, Series
from recurra.storage.remote.published import PublishedFile

__all__ = ["SunspotsSource"]

FILE = PublishedFile(
    "sunspots.csv",
    2_944,
    "f67889b1d9002cd5227f0e0ef54e35b419cdd85a31279adef6f73fb41e5c0a9b",
    "https://raw.githubusercontent.com/statsmodels/statsmodels/main/statsmodels/datasets/"
    "sunspots/sunspots.csv",
)
CYCLE = 11  # years, as astronomers say; the periodogram's highest point is at 11.0


class SunspotsSource(SeriesSource):
    """The mean number of sunspots of each year from 1700 to 2008: 309 figures.

    The sun's cycle is about eleven years, and that is the horizon. The last two cycles are for the
    test, the two before for validation: one cycle alone, high or low, says little.

    Args:
        options: nothing in them changes the values.

    Source: National Geophysical Data Center, as published with statsmodels.
    """

    file = FILE
    split = Split(horizon=CYCLE, valid=2 * CYCLE, test=2 * CYCLE)

    def open(self) -> Panel:
        """Return the one series, by years."""
        rows = [line.split(",") for line in FILE.read().decode().split()[1:]]
        years = np.array([row[0] for row in rows], "datetime64[Y]").astype("datetime64[ns]")
        values = np.array([row[1] for row in rows], np.float64)
        frequency = replace(infer(years), season=CYCLE, seasons=(CYCLE,))
        return Panel((Series("sunspots", values, years),), ("y",), frequency)
