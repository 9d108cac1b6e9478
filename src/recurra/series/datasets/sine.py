"""A sine, sampled as the tutorial samples it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from recurra.series.calendar.frequency import STEPS
from recurra.series.datasets.base import SeriesSource, Split
from recurra.series.panel import Panel, Series

__all__ = ["SineSource"]

PERIOD = 628  # steps; 2 pi are 628.3 of them


class SineSource(SeriesSource):
    """A sine: 10,000 points for training, and 999 that follow for the test.

    The abscissae are 0 ... 100 and 100 ... 110, both ends of both stretches included, so that the
    points of the first are 0.010001 apart, those of the second 0.010010; 100, which ends the one
    and begins the other, is kept once. Abscissae and sines are rounded to float32. The last 1,000
    of the 10,000 are for validation.

    Args:
        options: nothing in them changes the values.

    Source: Zheng Zeyu & Liang Bowen, "TensorFlow: a practical Google deep learning framework", 2nd
        edition, 2018, section 8.4.

    Example:
        >>> from recurra.series.options import SeriesOptions
        >>> SineSource(SeriesOptions()).open().series[0].values.shape
        (10999, 1)
    """

    split = Split(horizon=1, valid=1_000, test=999, stride=1)

    def open(self) -> Panel:
        """Return the one series; it has no stamps."""
        stretches = [
            np.sin(np.linspace(start, stop, size, dtype=np.float32))
            for start, stop, size in ((0, 100, 10_000), (100, 110, 1_000))
        ]
        values = np.concatenate([stretches[0], stretches[1][1:]]).astype(np.float64)
        frequency = replace(STEPS, season=PERIOD, seasons=(PERIOD,))
        return Panel((Series("sine", values),), ("y",), frequency)
