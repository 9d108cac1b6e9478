from __future__ import annotations

import numpy as np
import pytest

from recurra.series.calendar.seasons import infer_season
from recurra.series.datasets.airline import AirlineSource
from recurra.series.options import SeriesOptions


def test_figures():
    panel = AirlineSource(SeriesOptions()).open()
    one = panel.series[0]
    assert one.values.shape == (144, 1) and one.values.sum() == 40_363
    assert one.values[:3, 0].tolist() == [112, 118, 132]
    assert one.values[-12:, 0].tolist() == [
        417,
        391,
        419,
        461,
        472,
        535,
        622,
        606,
        508,
        461,
        390,
        432,
    ]
    by_year = one.values.reshape(12, 12).sum(1)
    assert (np.diff(by_year) > 0).all()
    # The totals of 1949 and 1960, as the source's table has them.
    assert by_year[[0, -1]].tolist() == [1520, 5714]


def test_months():
    panel = AirlineSource(SeriesOptions()).open()
    stamps = panel.series[0].stamps
    assert str(stamps[0])[:10] == "1949-01-01" and str(stamps[-1])[:10] == "1960-12-01"
    assert (panel.frequency.name, panel.frequency.season) == ("monthly", 12)
    after = panel.stamps_after(panel.series[0], 1)
    assert str(after[0])[:10] == "1961-01-01"


def test_split():
    split = AirlineSource.split
    assert (split.horizon, split.valid, split.test, split.standardize) == (12, 12, 12, False)


def test_the_season_shows_without_stamps():
    values = AirlineSource(SeriesOptions()).open().series[0].values[:, 0]
    assert infer_season([values]) == 12
    assert infer_season([values[:-12]]) == 12


def test_last_year_times_its_growth():
    values = AirlineSource(SeriesOptions()).open().series[0].values[:, 0]
    year, before, last = values[-24:-12], values[-36:-24], values[-12:]
    forecast = year * year.sum() / before.sum()
    assert np.mean(np.abs(forecast - last) / last) == pytest.approx(0.0295, abs=5e-5)
