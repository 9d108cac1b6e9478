from __future__ import annotations

import datetime
import sys

import pytest

from recurra.errors import ConfigError, DataError
from recurra.series.options import SeriesOptions
from recurra.series.reading import read_file
from recurra.series.reading.files.workbook import rows_of_workbook

openpyxl = pytest.importorskip("openpyxl")


def saved(path, rows):
    book = openpyxl.Workbook()
    book.create_sheet("data")
    for row in rows:
        book["data"].append(row)
    book.save(path)
    return path


def test_the_first_sheet_that_holds_anything(tmp_path):
    days = [datetime.datetime(2020, 1, day) for day in (1, 2, 4)]
    rows = [[None, None], ["Datum", "Umsatz"], *zip(days, [1001.75, 12, None]), [None, None]]
    path = saved(tmp_path / "sales.xlsx", rows)
    assert list(rows_of_workbook(path))[1:3] == [["2020-01-01", "1001.75"], ["2020-01-02", "12"]]
    panel = read_file(path, SeriesOptions())
    assert panel.series[0].values[:2, 0].tolist() == [1001.75, 12]
    assert len(panel.series[0]) == 4  # January 3 is a gap
    assert panel.frequency.name == "daily"


def test_times_and_words(tmp_path):
    hours = [datetime.datetime(2020, 1, 1, hour, 30) for hour in (1, 2, 3)]
    path = saved(tmp_path / "x.xlsx", [["unique_id", "ds", "y"], *(["a", h, 1.5] for h in hours)])
    assert list(rows_of_workbook(path))[1] == ["a", "2020-01-01 01:30:00", "1.5"]
    assert read_file(path, SeriesOptions()).frequency.name == "hourly"


def test_what_is_no_workbook(tmp_path):
    (tmp_path / "bad.xlsx").write_bytes(b"ds,y\n1,2\n")
    with pytest.raises(DataError, match=r"bad.xlsx cannot be read as a workbook: BadZipFile"):
        read_file(tmp_path / "bad.xlsx", SeriesOptions())
    with pytest.raises(DataError, match=r"none.xlsx cannot be read: No such file"):
        read_file(tmp_path / "none.xlsx", SeriesOptions())
    (tmp_path / "old.xls").write_bytes(b"\xd0\xcf\x11\xe0")
    with pytest.raises(DataError, match=r"old.xls is a .xls file, which is not read: save it as"):
        read_file(tmp_path / "old.xls", SeriesOptions())


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("recurra.series.reading.files.workbook.LEAST", 1000)
    monkeypatch.setattr("recurra.storage.reading.RATIO", 1)
    path = saved(tmp_path / "bomb.xlsx", [["y"], *([1.0] for _ in range(5000))])
    with pytest.raises(DataError, match=r"bomb.xlsx unpacks to .* MiB, more than"):
        read_file(path, SeriesOptions())


def test_without_the_library(tmp_path, monkeypatch):
    path = saved(tmp_path / "sales.xlsx", [["y"], [1.0], [2.0]])
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(ConfigError, match=r"openpyxl is needed: pip install openpyxl; or"):
        read_file(path, SeriesOptions())
