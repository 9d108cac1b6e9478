from __future__ import annotations

import gzip

import numpy as np
import pytest

from recurra.errors import DataError
from recurra.series.calendar.seasons import infer_season
from recurra.series.datasets import m4
from recurra.series.datasets.m4 import M4HourlySource
from recurra.series.options import SeriesOptions
from recurra.storage.remote.published import PublishedFile


def test_figures(data_root):
    panel = M4HourlySource(SeriesOptions()).open()
    lengths = [len(one) for one in panel.series]
    assert len(panel.series) == 414
    assert [one.unique_id for one in panel.series] == [f"H{n}" for n in range(1, 415)]
    assert set(lengths) == {748, 1008} and sum(lengths) == 373_372
    first = panel.series[0].values[:, 0]
    assert first[:3].tolist() == [605, 586, 586]
    assert first[-48:-45].tolist() == [619, 565, 532]
    assert panel.series[0].stamps is None
    assert (panel.frequency.season, panel.frequency.seasons) == (24, (24, 168))


def test_a_line_of_the_file_is_a_series(data_root):
    panel = M4HourlySource(SeriesOptions()).open()
    with gzip.open(data_root / "m4" / "Hourly-train.csv.gz", "rt") as file:
        line = file.readlines()[200].replace('"', "").rstrip("\n,").split(",")
    one = panel.series[199]
    assert one.unique_id == line[0]
    assert one.values[:-48, 0].tolist() == [float(cell) for cell in line[1:]]


def test_the_day_shows(data_root):
    panel = M4HourlySource(SeriesOptions()).open()
    assert infer_season([one.values[:-48, 0] for one in panel.series]) == 24


def test_errors_of_the_seasonal_naive_forecast(data_root):
    """The figures published for it: sMAPE 13.912, MASE 1.193."""
    smape, mase = [], []
    for one in M4HourlySource(SeriesOptions()).open().series:
        seen, ahead = one.values[:-48, 0], one.values[-48:, 0]
        forecast = np.tile(seen[-24:], 2)
        error = np.abs(ahead - forecast)
        smape.append(np.mean(200 * error / (np.abs(ahead) + np.abs(forecast))))
        mase.append(error.mean() / np.abs(seen[24:] - seen[:-24]).mean())
    assert np.mean(smape) == pytest.approx(13.912, abs=5e-4)
    assert np.mean(mase) == pytest.approx(1.193, abs=5e-4)


def test_one_file_of_two(tmp_path, monkeypatch, data_root):
    monkeypatch.setenv("RECURRA_DATA", str(tmp_path))
    (tmp_path / "m4").mkdir()
    content = (data_root / "m4" / "Hourly-train.csv.gz").read_bytes()
    (tmp_path / "m4" / "Hourly-train.csv.gz").write_bytes(content)
    source = M4HourlySource(SeriesOptions())
    assert source.found() is None
    with pytest.raises(DataError, match=r"Test/Hourly-test.csv could not be downloaded"):
        source.open()


def test_two_files_of_different_series(monkeypatch):
    contents = {m4.TRAIN.path: b'"V1","V2"\n"H1","3"\n', m4.TEST.path: b'"V1","V2"\n"H2","4"\n'}
    monkeypatch.setattr(PublishedFile, "read", lambda file: contents[file.path])
    with pytest.raises(DataError, match="do not hold the same 414 series"):
        M4HourlySource(SeriesOptions()).open()
