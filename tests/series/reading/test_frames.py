from __future__ import annotations

import datetime
import decimal
import sys

import numpy as np
import pytest

from recurra.errors import ConfigError, DataError
from recurra.series.options import SeriesOptions
from recurra.series.reading import read_content, read_data, read_file

CSV = """unique_id,ds,y
a,2020-01-01 00:00:00,1.0
a,2020-01-01 01:00:00,
b,2020-01-01 00:00:00,3.0
b,2020-01-01 01:00:00,4.0
b,2020-01-01 03:00:00,5.0
"""
COLUMNS = {
    "unique_id": ["a", "a", "b", "b", "b"],
    "ds": [datetime.datetime(2020, 1, 1, hour) for hour in (0, 1, 0, 1, 3)],
    "y": [1.0, None, 3.0, 4.0, 5.0],
}


def read(data, **options):
    return read_data(data, SeriesOptions(**options))


@pytest.fixture
def pandas():
    pytest.importorskip("narwhals")
    return pytest.importorskip("pandas")


@pytest.fixture
def polars():
    pytest.importorskip("narwhals")
    return pytest.importorskip("polars")


@pytest.fixture
def expected():
    return read_content(CSV.encode(), "data.csv", SeriesOptions())


def test_pandas(pandas, expected):
    frame = pandas.DataFrame(COLUMNS)
    for given in (frame, frame.set_index("ds"), frame.set_index(["unique_id", "ds"])):
        panel = read(given)
        assert panel.fingerprint == expected.fingerprint
        assert panel.notes == expected.notes
    categories = frame.assign(unique_id=frame["unique_id"].astype("category"))
    texts = frame.assign(ds=frame["ds"].astype(str))
    nullable = frame.assign(y=frame["y"].astype("Float32"))
    for given in (categories, texts, nullable):
        assert read(given).fingerprint == expected.fingerprint


def test_polars(polars, expected):
    frame = polars.DataFrame(COLUMNS)
    categories = frame.with_columns(polars.col("unique_id").cast(polars.Categorical))
    for given in (frame, frame.lazy(), categories):
        panel = read(given)
        assert panel.fingerprint == expected.fingerprint
        assert panel.notes == expected.notes


def test_pyarrow_and_narwhals(expected):
    narwhals = pytest.importorskip("narwhals")
    table = pytest.importorskip("pyarrow").table(COLUMNS)
    assert read(table).fingerprint == expected.fingerprint
    assert read(narwhals.from_native(table)).fingerprint == expected.fingerprint


@pytest.mark.parametrize("suffix", [".parquet", ".pq"])
def test_parquet(tmp_path, expected, suffix):
    pytest.importorskip("narwhals")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / f"long{suffix}"
    parquet.write_table(pytest.importorskip("pyarrow").table(COLUMNS), path)
    panel = read_file(path, SeriesOptions())
    assert panel.fingerprint == expected.fingerprint
    with pytest.raises(DataError, match=rf"long{suffix}: no column is named 'z'"):
        read_file(path, SeriesOptions(target="z"))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=rf"long{suffix} cannot be read as Parquet: "):
        read_file(path, SeriesOptions())
    with pytest.raises(DataError, match=r"none.parquet cannot be read as Parquet: "):
        read_file(tmp_path / "none.parquet", SeriesOptions())


def test_one_column_of_pandas(pandas):
    hours = pandas.date_range("2020-01-01", periods=3, freq="h")
    panel = read(pandas.Series([1, 2, 3], index=hours))
    assert panel.targets == ("y",) and panel.frequency.name == "hourly"
    assert (panel.series[0].stamps == hours.to_numpy()).all()
    assert read(pandas.Series([1, 2, 3], name="load")).targets == ("load",)
    months = pandas.period_range("2020-01", periods=3, freq="M")
    assert read(pandas.Series([1, 2, 3], index=months)).frequency.name == "monthly"


def test_one_column_of_polars(polars):
    assert read(polars.Series("load", [1, None, 3])).notes[0] == (
        "1 gap, the first at data row 2: left as gaps"
    )


def test_other_kinds_of_cells(polars):
    frame = polars.DataFrame(
        {
            "unique_id": [7, 7, 8, 8],
            "ds": [datetime.date(2020, month, 1) for month in (1, 2, 1, 2)],
            "y": [decimal.Decimal("1.5"), decimal.Decimal("2.5"), decimal.Decimal("3"), None],
            "open": [True, False, True, True],
        }
    )
    panel = read(frame, past_covariates="open")
    assert [one.unique_id for one in panel.series] == ["7", "8"]
    assert panel.frequency.name == "monthly"
    assert panel.series[0].values[:, 0].tolist() == [1.5, 2.5]
    assert panel.series[0].past[:, 0].tolist() == [1, 0]


def test_zones_stay(pandas, polars):
    hours = pandas.date_range("2020-03-29", periods=5, freq="h", tz="Europe/Berlin")
    panel = read(pandas.DataFrame({"ds": hours, "y": range(5)}))  # the clocks go forward here
    assert panel.frequency.regular and len(panel.series[0]) == 5
    assert panel.frequency.points.zone == "Europe/Berlin"
    assert panel.series[0].stamps[0] == np.datetime64("2020-03-28T23:00")
    frame = polars.DataFrame({"ds": hours.tz_convert("Asia/Tokyo").to_list(), "y": range(5)})
    assert (read(frame).series[0].stamps == panel.series[0].stamps).all()


@pytest.mark.parametrize("step", ["D", "ME", "B", "W", "BME", "QS", "h", "3h"])
@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC"])
def test_a_calendar_of_a_zone_goes_on_as_pandas_does(pandas, step, zone):
    stamps = pandas.date_range("2021-01-01", periods=160, freq=step, tz=zone)
    panel = read(pandas.DataFrame({"ds": stamps[:120], "y": range(120)}))
    after = panel.stamps_after(panel.series[0], 40)
    assert panel.frequency.regular and len(panel.series[0]) == 120
    assert (after == stamps[120:].tz_convert("UTC").tz_localize(None).to_numpy()).all()


def test_zones_that_differ_in_a_frame_tell_instants(pandas):
    zones = ["UTC", "Asia/Tokyo"]
    stamps = [pandas.Timestamp("2020-01-01", tz=zone) for zone in zones]
    frame = pandas.DataFrame({"ds": pandas.Series(stamps[::-1], dtype=object), "y": [1, 2]})
    panel = read(frame)
    assert panel.series[0].stamps.astype("datetime64[h]").astype(str).tolist() == [
        "2019-12-31T15", "2020-01-01T00",
    ]  # fmt: skip


def test_empty_cells_where_they_must_not_be(pandas):
    frame = pandas.DataFrame(COLUMNS)
    with pytest.raises(DataError, match="data row 1: the stamp in column 'ds' is empty"):
        read(frame.assign(ds=frame["ds"].where(frame.index > 0)))
    with pytest.raises(DataError, match="data row 1: column 'unique_id' is empty"):
        read(frame.assign(unique_id=frame["unique_id"].where(frame.index > 0)))


def test_frames_without_rows(pandas):
    for frame in (pandas.DataFrame(), pandas.DataFrame({"ds": [], "y": []})):
        with pytest.raises(DataError, match="the frame is empty: there are no rows"):
            read(frame)


@pytest.mark.parametrize("missing", ["narwhals", "pyarrow"])
def test_without_the_extra(missing, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setitem(sys.modules, f"{missing}.parquet", None)

    class Frame:
        __module__ = "polars.dataframe"

    with pytest.raises(ConfigError, match=rf"{missing} is needed: pip install narwhals pyarrow"):
        if missing == "narwhals":
            read(Frame())
        else:
            read_file(tmp_path / "data.parquet", SeriesOptions())


def test_csv_needs_no_extra(monkeypatch, expected):
    for name in ("narwhals", "pyarrow", "pandas", "polars"):
        monkeypatch.setitem(sys.modules, name, None)
    panel = read_content(CSV.encode(), "data.csv", SeriesOptions())
    assert panel.fingerprint == expected.fingerprint


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_names_of_64_bits_stay_what_they_are(name):
    frames = pytest.importorskip(name)
    names = [9007199254740993, 9007199254740993, 1234567890123456789, 1234567890123456790]
    frame = frames.DataFrame({"unique_id": names, "ds": [1, 2, 1, 1], "y": [1, 2, 3, 4]})
    panel = read_data(frame, SeriesOptions())
    assert [one.unique_id for one in panel.series] == [str(each) for each in names[1:]]
    assert panel.series[0].values[:, 0].tolist() == [1, 2]


def test_a_wide_frame():
    pandas = pytest.importorskip("pandas")
    days = pandas.date_range("2020-01-01", periods=9)
    frame = pandas.DataFrame({"a": range(9), "b": [0.5] * 9}, index=days)
    panel = read_data(frame, SeriesOptions(layout="wide"))
    assert [one.unique_id for one in panel.series] == ["a", "b"]
    assert panel.frequency.name == "daily"


def test_an_index_that_says_something_is_a_column():
    pandas = pytest.importorskip("pandas")
    days = pandas.date_range("2020-01-01", periods=6)
    for index in (days.strftime("%Y-%m-%d"), [day.date() for day in days]):
        panel = read_data(pandas.DataFrame({"y": range(6)}, index=index), SeriesOptions())
        assert panel.series[0].stamps[0] == np.datetime64("2020-01-01")
    years = pandas.DataFrame({"y": range(9)}, index=range(2000, 2009))
    assert read_data(years, SeriesOptions()).frequency.name == "yearly"
    both = pandas.MultiIndex.from_product([["a", "b"], days])
    panel = read_data(pandas.DataFrame({"y": range(12)}, index=both), SeriesOptions())
    assert [one.unique_id for one in panel.series] == ["a", "b"]
    assert read_data(pandas.DataFrame({"y": range(9)}), SeriesOptions()).series[0].stamps is None


def test_columns_of_any_names():
    pandas = pytest.importorskip("pandas")
    days = pandas.date_range("2020-01-01", periods=6)
    numbers = np.arange(12.0).reshape(6, 2)
    panel = read_data(pandas.DataFrame(numbers, index=days), SeriesOptions(layout="wide"))
    assert [one.unique_id for one in panel.series] == ["0", "1"]
    levels = pandas.MultiIndex.from_tuples([("Close", "A"), ("Open", "A")])
    frame = pandas.DataFrame(numbers, index=days, columns=levels)
    assert read_data(frame, SeriesOptions(target="Open A")).targets == ("Open A",)
    with pytest.raises(DataError, match="two columns are named 'a'; give each its own name"):
        read_data(pandas.DataFrame(numbers, columns=["a", "a"]), SeriesOptions())
    frame = pandas.DataFrame({"ds": days, "y": range(6)}).set_index("ds", drop=False)
    assert len(read_data(frame, SeriesOptions()).series[0]) == 6


@pytest.mark.parametrize(
    ("hours", "zone"), [(1, "Etc/GMT-1"), (-5, "Etc/GMT+5"), (0, None), (5.5, None)]
)
def test_an_offset_that_is_fixed_is_a_zone(hours, zone):
    pandas = pytest.importorskip("pandas")
    fixed = datetime.timezone(datetime.timedelta(hours=hours))
    days = pandas.date_range("2020-01-01", periods=6, tz=fixed)
    panel = read_data(pandas.DataFrame({"ds": days, "y": range(6)}), SeriesOptions())
    assert panel.frequency.name == "daily" and panel.frequency.points.zone == zone
