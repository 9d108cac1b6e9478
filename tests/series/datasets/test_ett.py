from __future__ import annotations

import gzip

import numpy as np
import pytest

from recurra.errors import DataError
from recurra.series.datasets.ett import TARGETS, Etth1Source
from recurra.series.options import SeriesOptions


@pytest.fixture
def panel(data_root):
    return Etth1Source(SeriesOptions()).open()


def test_figures(panel, data_root):
    one = panel.series[0]
    assert one.unique_id == "etth1" and one.values.shape == (14_400, 7)
    assert panel.targets == tuple(TARGETS.split(","))
    assert (
        str(one.stamps[0])[:13] == "2016-07-01T00" and str(one.stamps[-1])[:13] == "2018-02-20T23"
    )
    assert (panel.frequency.name, panel.frequency.season) == ("hourly", 24)
    with gzip.open(data_root / "ett" / "ETTh1.csv.gz") as file:
        expected = np.loadtxt(file, delimiter=",", skiprows=1, usecols=range(1, 8), max_rows=14_400)
    assert (one.values == expected).all()


def test_scaled_values_are_those_of_the_protocol(panel):
    """Mean and deviation of the oil temperature's first 8,640 hours, as papers' code has them."""
    train = panel.series[0].values[:8_640]
    assert train.mean(0)[-1] == pytest.approx(17.128, abs=1e-3)
    assert train.std(0)[-1] == pytest.approx(9.1765, abs=1e-3)


def test_split():
    split = Etth1Source.split
    assert (split.horizon, split.valid, split.test) == (96, 2_880, 2_880)
    assert split.stride == 1 and split.standardize


def test_one_target_and_the_others_as_covariates(data_root):
    options = SeriesOptions(target="OT", past_covariates="HUFL,HULL", future_covariates="LULL")
    panel = Etth1Source(options).open()
    one = panel.series[0]
    assert (one.values.shape, one.past.shape, one.future.shape) == (
        (14_400, 1),
        (14_400, 2),
        (14_400, 1),
    )
    with pytest.raises(DataError, match=r"no column is named 'HULF'. Did you mean 'HULL'"):
        Etth1Source(SeriesOptions(target="HULF")).open()


def test_where_it_is(data_root, monkeypatch, tmp_path):
    assert Etth1Source(SeriesOptions()).found() == str(data_root / "ett" / "ETTh1.csv.gz")
    monkeypatch.setenv("RECURRA_DATA", str(tmp_path))
    assert Etth1Source(SeriesOptions()).found() is None
    with pytest.raises(DataError, match=r"ETDataset.*ETTh1.csv could not be downloaded; or put"):
        Etth1Source(SeriesOptions()).open()
