"""The hourly series of the M4 competition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError
from recurra.series.calendar.frequency import STEPS
from recurra.series.datasets.base import SeriesSource, Split
from recurra.series.panel import Panel, Series
from recurra.storage.remote.published import PublishedFile

__all__ = ["M4HourlySource"]

URL = "https://raw.githubusercontent.com/Mcompetitions/M4-methods/master/Dataset"
TRAIN = PublishedFile(
    "m4/Hourly-train.csv",
    2_347_115,
    "ea59b7783573c49077a835ab6465c7d66f1474783360f310988a9a737fbca62f",
    f"{URL}/Train/Hourly-train.csv",
)
TEST = PublishedFile(
    "m4/Hourly-test.csv",
    132_820,
    "71a57fccb15e534d973626ada4fb87febf789e9317715b7cc6dd3b5f90db6f42",
    f"{URL}/Test/Hourly-test.csv",
)
SERIES, HORIZON, DAY, WEEK = 414, 48, 24, 168


class M4HourlySource(SeriesSource):
    """The 414 hourly series of the M4 competition: 700 or 960 hours each, then 48 to forecast.

    They have no stamps. The published test is the test; the 48 hours before are for validation.

    Args:
        options: nothing in them changes the values.

    Source: Makridakis, Spiliotis & Assimakopoulos 2020, "The M4 competition: 100,000 time series
        and 61 forecasting methods".
    """

    split = Split(horizon=HORIZON, valid=HORIZON, test=HORIZON)

    def open(self) -> Panel:
        """Return the series, training and test part joined."""
        seen, ahead = _rows(TRAIN.read()), _rows(TEST.read())
        if list(seen) != list(ahead) or len(seen) != SERIES:
            raise DataError(f"M4's two files do not hold the same {SERIES} series")
        series = tuple(Series(name, np.concatenate([seen[name], ahead[name]])) for name in seen)
        frequency = replace(STEPS, name="hourly", season=DAY, seasons=(DAY, WEEK))
        return Panel(series, ("y",), frequency)

    def found(self) -> str | None:
        """Return the folder of the two files; None where one of them is not there."""
        path = TRAIN.found()
        return str(path.parent) if path and TEST.found() else None


def _rows(content: bytes) -> dict[str, NDArray[np.float64]]:
    """The series by name: one a line, padded with empty cells to the longest."""
    lines = content.decode().replace('"', "").splitlines()[1:]
    split = [line.rstrip(",").split(",") for line in lines]
    return {name: np.array(cells, np.float64) for name, *cells in split}
