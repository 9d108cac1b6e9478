from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from recurra.errors import ConfigError, DataError
from recurra.series.datasets import DATASETS, open_panel, open_source
from recurra.series.datasets.base import SeriesSource, Split
from recurra.series.datasets.files import FileSource
from recurra.series.options import SeriesOptions
from recurra.series.panel import Panel


def open_(name, data=None, **options):
    return open_panel(SeriesOptions(dataset=str(name), **options), data)


def test_names():
    assert list(DATASETS) == ["airline", "etth1", "m4-hourly", "sine", "sunspots"]


@pytest.mark.parametrize("name", list(DATASETS))
def test_every_entry_is_a_source_that_opens_or_says_what_is_missing(name, monkeypatch, tmp_path):
    monkeypatch.setenv("RECURRA_DATA", str(tmp_path))
    source = open_source(SeriesOptions(dataset=name))
    assert isinstance(source, SeriesSource) and type(source).__doc__
    assert isinstance(source.split, Split)
    if source.found() is None:
        with pytest.raises(
            DataError, match=r"https://.* could not be downloaded; or put the file at"
        ):
            source.open()
    else:
        check(source.open(), source.split)


@pytest.mark.parametrize("name", list(DATASETS))
def test_every_entry_with_the_real_data(name, data_root):
    source = open_source(SeriesOptions(dataset=name))
    assert source.found()
    check(source.open(), source.split)


def check(panel: Panel, split: Split) -> None:
    """What has to be true of any published data."""
    assert panel.series and panel.targets
    shortest = min(map(len, panel.series))
    assert shortest > split.valid + split.test + split.horizon
    assert split.horizon <= split.test and split.horizon <= split.valid
    assert not any(np.isnan(one.values).any() for one in panel.series)


def test_a_file_and_a_name_that_is_also_a_file(tmp_path, monkeypatch):
    path = tmp_path / "data.csv"
    path.write_text("1\n2\n4\n")
    panel, split = open_(path)
    assert split is None and panel.series[0].values[:, 0].tolist() == [1, 2, 4]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert open_("data.csv")[0].fingerprint == open_("~/data.csv")[0].fingerprint
    (tmp_path / "airline").write_text("1\n2\n")
    assert len(open_("airline")[0].series[0]) == 144
    assert len(open_("./airline")[0].series[0]) == 2


def test_data_in_memory_goes_before_the_dataset(tmp_path):
    panel, split = open_("m4-hourly", data=[1.0, 2.0, 3.0])
    assert split is None and len(panel.series[0]) == 3
    (tmp_path / "data.csv").write_text("1\n2\n")
    assert len(open_("m4-hourly", data=tmp_path / "data.csv")[0].series[0]) == 2
    assert open_("m4-hourly", data="airline")[1].test == 12


def test_the_season_that_is_asked_for_is_taken():
    panel, _ = open_("airline", season=6)
    assert (panel.frequency.season, panel.frequency.seasons) == (6, (6,))
    panel, _ = open_("", data=np.arange(5), season=2)
    assert panel.notes == ("frequency steps, season 2 (as asked)",)


@pytest.mark.parametrize("name", ["nowhere.csv", "nowhere/data", "/nowhere"])
def test_a_path_that_is_not_there(name):
    with pytest.raises(DataError, match=r"nowhere.* cannot be read: No such file"):
        open_(name)


def test_things_that_are_no_file_of_series(tmp_path):
    with pytest.raises(DataError, match="is a directory; give a CSV or Parquet file"):
        open_(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="not a regular file"):
        open_(tmp_path / "pipe")


def test_an_unknown_name():
    with pytest.raises(
        ConfigError, match=r"no dataset of series is named 'airlin'. Did you mean 'a"
    ):
        open_("airlin")


def test_names_that_systems_refuse():
    with pytest.raises(DataError, match="cannot be a file"):
        open_("x" * 100_000)
    with pytest.raises((ConfigError, DataError)):
        open_("nul\x00/here")


def test_one_s_own_source(tmp_path, monkeypatch):
    (tmp_path / "own_series.py").write_text(
        "import numpy as np\n"
        "from recurra.series.datasets.base import SeriesSource, Split\n"
        "from recurra.series.panel import Panel, Series\n"
        "class Ramp(SeriesSource):\n"
        "    split = Split(horizon=2, valid=3, test=4)\n"
        "    def open(self):\n"
        "        return Panel((Series('ramp', np.arange(20.0)),))\n"
        "class Other:\n"
        "    def __init__(self, options): ...\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    panel, split = open_("own_series:Ramp", season=5)
    assert len(panel.series[0]) == 20 and split.test == 4 and panel.frequency.season == 5
    with pytest.raises(ConfigError, match="is not a dataset of series: derive it from"):
        open_("own_series:Other")


def test_found(tmp_path):
    assert open_source(SeriesOptions(dataset="airline")).found() == "part of the package"
    assert FileSource(SeriesOptions(dataset="data.csv")).found() == "data.csv"
