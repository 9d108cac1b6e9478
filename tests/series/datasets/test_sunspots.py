from __future__ import annotations

import pytest

from recurra.errors import DataError
from recurra.series.calendar.seasons import infer_season
from recurra.series.datasets.sunspots import SunspotsSource
from recurra.series.options import SeriesOptions


def test_figures(data_root):
    panel = SunspotsSource(SeriesOptions()).open()
    one = panel.series[0]
    assert one.values.shape == (309, 1)
    assert one.values[[0, 1, -1], 0].tolist() == [5, 11, 2.9]
    assert one.values.max() == 190.2 and str(one.stamps[one.values.argmax()])[:4] == "1957"
    assert str(one.stamps[0])[:10] == "1700-01-01" and str(one.stamps[-1])[:4] == "2008"
    assert (panel.frequency.name, panel.frequency.season) == ("yearly", 11)
    assert str(panel.stamps_after(one, 1)[0])[:4] == "2009"


def test_the_cycle_shows(data_root):
    values = SunspotsSource(SeriesOptions()).open().series[0].values[:, 0]
    assert infer_season([values]) == 11
    assert infer_season([values[: -SunspotsSource.split.test]]) == 11


def test_a_figure_that_was_changed(tmp_path, monkeypatch):
    monkeypatch.setenv("RECURRA_DATA", str(tmp_path))
    (tmp_path / "sunspots.csv").write_text('"YEAR","SUNACTIVITY"\n1700,6\n')
    with pytest.raises(DataError, match=r"sunspots.csv is not the published file"):
        SunspotsSource(SeriesOptions()).open()
