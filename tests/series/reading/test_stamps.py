from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.errors import DataError
from recurra.series.calendar.frequency import Points
from recurra.series.calendar.written import written
from recurra.series.reading.columns import Columns
from recurra.series.reading.stamps import are_dates, read_stamps


def stamps(cells, name="ds"):
    return read_stamps(Columns("data.csv", {name: cells}, np.arange(1, len(cells) + 1)), name)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["2020-01-02", "2020-12-31"], ["2020-01-02", "2020-12-31"]),
        (["2020-01", "2020-02"], ["2020-01-01", "2020-02-01"]),
        ([" 2020-01-02 ", "2020-01-03"], ["2020-01-02", "2020-01-03"]),
        (["2020-01-02T03:04", "2020-01-02 03:05"], ["2020-01-02T03:04", "2020-01-02T03:05"]),
        (["2020-01-02 03:04:05.678901"], ["2020-01-02T03:04:05.678901"]),
        (["2020-01-02 03:04:05.678901234"], ["2020-01-02T03:04:05.678901"]),
        (["2020-01-02T03:04:05Z"], ["2020-01-02T03:04:05"]),
        (["2020-01-02 03:04:05 UTC"], ["2020-01-02T03:04:05"]),
        (["2020-01-02T03:04-0530"], ["2020-01-02T08:34"]),
        (["2020/1/2", "2020/11/12"], ["2020-01-02", "2020-11-12"]),
        (["2020-1-2", "2020-11-12"], ["2020-01-02", "2020-11-12"]),
        (["31.12.2020", "01.01.2021"], ["2020-12-31", "2021-01-01"]),
        (["31/12/2020 23:59", "01/01/2021 00:01"], ["2020-12-31T23:59", "2021-01-01T00:01"]),
        (["12/31/2020", "1/1/2021"], ["2020-12-31", "2021-01-01"]),
        (["1/1/2020", "2/2/2020"], ["2020-01-01", "2020-02-02"]),
        (["Jan 1949", "Feb 1949"], ["1949-01-01", "1949-02-01"]),
        (["2020Q1", "2020-Q4"], ["2020-01-01", "2020-10-01"]),
        (["20200131", "20200201"], ["2020-01-31", "2020-02-01"]),
        (["01/01/2022 12:00:00 AM", "1/31/2022 1:00:00 PM"], ["2022-01-01", "2022-01-31T13"]),
        (["31/12/2022 11:59 p.m."], ["2022-12-31T23:59"]),
        (["2022-01-31T05:00 PM", "2022-02-01T05:00 AM"], ["2022-01-31T17", "2022-02-01T05"]),
        (["01/31/22", "02/01/22"], ["2022-01-31", "2022-02-01"]),
        (["31.01.99", "01.02.99"], ["1999-01-31", "1999-02-01"]),
        (["Jan-15", "Feb-15"], ["2015-01-01", "2015-02-01"]),
        (["January 2015", "May 2015"], ["2015-01-01", "2015-05-01"]),
        (["15-Jan-2015", "16-Jan-2015"], ["2015-01-15", "2015-01-16"]),
        (["Jan 5, 2015", "Jan 12, 2015"], ["2015-01-05", "2015-01-12"]),
        (["Mon, 5 Jan 2015 10:00"], ["2015-01-05T10"]),
        (["01/2015", "02/2015"], ["2015-01-01", "2015-02-01"]),
        (["2020-06-01 02:00:00+02", "2020-06-01 03:00:00+02"], ["2020-06-01", "2020-06-01T01"]),
        (["2020-1", "2020-11"], ["2020-01-01", "2020-11-01"]),
        (["20200131 09:30", "20200201 09:30"], ["2020-01-31T09:30", "2020-02-01T09:30"]),
        (["20200131T093000", "20200201T093000"], ["2020-01-31T09:30", "2020-02-01T09:30"]),
        (["01.2015", "12.2015"], ["2015-01-01", "2015-12-01"]),
        (["2015.01", "2015.12"], ["2015-01-01", "2015-12-01"]),
        (["2020-03-01 23", "2020-03-02 00"], ["2020-03-01T23", "2020-03-02T00"]),
        (["20200301 10", "20200301 11"], ["2020-03-01T10", "2020-03-01T11"]),
        (["20200301 1030"], ["2020-03-01T10:30"]),
        (["Jan 01 2020", "Jan 02 2020"], ["2020-01-01", "2020-01-02"]),
        (["01Jan2020", "02Jan2020"], ["2020-01-01", "2020-01-02"]),
        (["2020H1", "2020H2"], ["2020-01-01", "2020-07-01"]),
        (["2020-W53-7", "2021-W01-1"], ["2021-01-03", "2021-01-04"]),
        (["2015M01", "2015M12"], ["2015-01-01", "2015-12-01"]),
        (["Q1 2015", "Q3 2015"], ["2015-01-01", "2015-07-01"]),
        (["2019-W01", "2020-W53"], ["2018-12-31", "2020-12-28"]),
        (["2015.01.02", "2015.03.04"], ["2015-01-02", "2015-03-04"]),
        (
            ["2015/01/02 03:04:05.5", "2015/01/02 03:04:06.5"],
            ["2015-01-02T03:04:05.5", "2015-01-02T03:04:06.5"],
        ),
    ],
)
def test_dates(cells, expected):
    found, *_ = stamps(cells)
    assert found.dtype == "datetime64[ns]"
    assert (found == np.array(expected, "datetime64[ns]")).all()
    assert are_dates(cells) or cells[0].isdigit()


@pytest.mark.parametrize(
    ("numbers", "code", "expected"),
    [
        ([201411, 201412, 201501], "%Y%m", ["2014-11-01", "2014-12-01", "2015-01-01"]),
        ([201452, 201501], "%G%V", ["2014-12-22", "2014-12-29"]),
        ([20141, 20142, 20143, 20144, 20151], "%Y%q", ["2014-01-01", "2014-04-01", "2014-07-01",
                                                       "2014-10-01", "2015-01-01"]),
        ([2015365, 2016366], "%Y%j", ["2015-12-31", "2016-12-31"]),
        ([20200131, 20200201], "%Y%m%d", ["2020-01-31", "2020-02-01"]),
        ([2020013123, 2020020100], "%Y%m%d%H", ["2020-01-31T23", "2020-02-01T00"]),
        ([202001312359], "%Y%m%d%H%M", ["2020-01-31T23:59"]),
        ([20200131235959], "%Y%m%d%H%M%S", ["2020-01-31T23:59:59"]),
        ([43831, 43832], "day numbers", ["2020-01-01", "2020-01-02"]),
        ([43831.0416666667, 43831.0833333333], "day numbers", ["2020-01-01T01", "2020-01-01T02"]),
        ([1577836800, 1577840400], "epoch seconds", ["2020-01-01T00", "2020-01-01T01"]),
        ([1577836800123], "epoch milliseconds", ["2020-01-01T00:00:00.123"]),
        ([1577836800123456], "epoch microseconds", ["2020-01-01T00:00:00.123456"]),
        ([1577836800123456000], "epoch nanoseconds", ["2020-01-01T00:00:00.123456"]),
    ],
)  # fmt: skip
def test_numbers_that_are_dates_go_out_as_they_came(numbers, code, expected):
    found = stamps([f"{number:.15g}" if number < 1e15 else str(number) for number in numbers])
    assert found.code == code
    assert (found.stamps == np.array(expected, "datetime64[ns]")).all()
    assert found.notes[0].startswith("numbers in column 'ds' are read as ")
    assert list(written(found.stamps, Points(code=code))) == pytest.approx(numbers, abs=1e-9)


@pytest.mark.parametrize(
    "cells",
    [["2019-W01", "2020-W53"], ["Q1 2015", "Q3 2015"], ["2015M01"], ["2020-W53-7"], ["2020-H2"]],
)
def test_weeks_and_quarters_go_out_as_they_came(cells):
    found = stamps(cells)
    assert list(written(found.stamps, Points(code=found.code))) == cells


def test_day_and_month_are_told_apart_by_the_calendar():
    months = [f"{month:02}/01/{year}" for year in (2020, 2021) for month in range(1, 13)]
    found = stamps(months)
    assert found.stamps[1] == np.datetime64("2020-02-01")
    assert found.notes == ("stamps in column 'ds' are read as m/d/Y: so they are monthly",)
    years_first = [f"{20 + month // 12}-{month % 12 + 1:02}-15" for month in range(20)]
    assert stamps(years_first).stamps[13] == np.datetime64("2021-02-15")
    with pytest.raises(DataError, match="may be 2020-01-02 or 2020-02-01: its day and month"):
        stamps([f"{n:02}/01/2020" for n in range(2, 13)])


def test_numbers_stay_numbers():
    assert stamps(["1", "2.5", "1e3"])[0].tolist() == [1, 2.5, 1000]
    assert stamps(["2019", "2020"])[0].tolist() == [2019, 2020]
    assert stamps(["20200131", "20209999"])[0].tolist() == [20200131, 20209999]


def test_a_column_named_year():
    found, *_ = stamps(["2019", "2020"], "Year")
    assert found.astype("datetime64[D]").astype(str).tolist() == ["2019-01-01", "2020-01-01"]
    assert stamps(["0", "1"], "year")[0].tolist() == [0, 1]


def test_one_zone_becomes_utc_and_is_told():
    found, _, _, notes = stamps(["2020-06-01T02:00+02:00", "2020-06-01T03:00+02:00"])
    assert found.astype("datetime64[h]").astype(str).tolist() == ["2020-06-01T00", "2020-06-01T01"]
    assert notes == ("stamps in column 'ds' are turned from +02:00 into UTC",)
    assert stamps(["2020-06-01T02:00Z"]).notes == ()


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["2020-01-01", ""], "data row 2: the stamp in column 'ds' is empty"),
        (["1", "NA"], "data row 2: the stamp in column 'ds' is empty"),
        (["2020-01-01", "2020-13-01"], "data row 2: .* is '2020-13-01', which no calendar has"),
        (["2020-01-01", "2020-02-30"], "data row 2: .* is '2020-02-30', which no calendar has"),
        (["2020-01-01", "yesterday"], "data row 2: .* is 'yesterday', neither .*YYYY-MM-DD"),
        (["2020-01-01", "now"], "data row 2: .* is 'now', neither"),
        (["2020-01-01", "01.02.2020"], "data row 2: .* is '01.02.2020', neither"),
        (["31.12.2020", "32.12.2020"], "data row 2: .* is '32.12.2020', neither"),
        (["2020-01-01", "7"], "data row 2: .* is '7', neither"),
        (["01/02/2020", "02/03/2020"], "row 1: .* may be 2020-02-01 or 2020-01-02: its day"),
        (["1066-10-14", "2020-01-01"], r"data row 1: .* in the year 1066; .* 1678 \.\.\. 2261"),
        (["2020-01-01", "9999-12-31"], "data row 2: .* in the year 9999"),
        (["1", "1e400"], "data row 2: .* is inf; give numbers of at most"),
        (["1", "1e300"], r"data row 2: .* is 1e\+300; give numbers of at most"),
    ],
)
def test_what_is_no_stamp(cells, said):
    with pytest.raises(DataError, match=rf"data.csv, .*{said}"):
        stamps(cells)


@pytest.mark.parametrize(
    ("offsets", "rows"), [(["+01:00", "", "+02:00"], "1 and 2"), (["", "", "Z"], "1 and 3")]
)
def test_stamps_with_and_without_an_offset_are_not_mixed(offsets, rows):
    said = f"data rows {rows}: in column 'ds' one stamp has no offset from UTC, and one has"
    with pytest.raises(DataError, match=said):
        stamps([f"2020-01-01T00:00{offset}" for offset in offsets])


def test_offsets_that_change_with_the_season_tell_instants_and_the_zone():
    found = stamps(["2020-03-29T00:00+01:00", "2020-03-29T03:00+02:00", "2020-03-30T00:00+02:00"])
    assert found.zone == "Europe/Berlin"
    assert found.stamps.astype("datetime64[h]").astype(int).tolist() == [440_399, 440_401, 440_422]
    assert found.notes == (
        "stamps in column 'ds' are taken for the clock of Europe/Berlin, as 2 offsets are those "
        "that it has had",
    )


def test_offsets_of_no_zone_tell_instants():
    found = stamps(["2020-03-29T00:00+01:00", "2020-03-29T03:00+02:00", "2020-03-29T02:00Z"])
    assert found.zone is None
    assert found.stamps.astype("datetime64[h]").astype(int).tolist() == [440_399, 440_401, 440_402]
    assert found.notes == ("stamps in column 'ds' are turned from 3 offsets into UTC",)


def test_columns_that_were_typed_already():
    given = np.array(["2020-01-01", "NaT"], "datetime64[us]")
    assert are_dates(given) and not are_dates(np.arange(3.0))
    with pytest.raises(DataError, match="data row 2: the stamp in column 'ds' is empty"):
        stamps(given)
    with pytest.raises(DataError, match="data row 1: the stamp in column 'ds' is empty"):
        stamps(np.array([np.nan, 1.0]))


@pytest.mark.parametrize("cells", [["1", "2"], ["north"], ["", "2020-01-01"], ["1e5"], ["y"]])
def test_no_dates(cells):
    assert not are_dates(cells)


@given(
    st.lists(
        st.datetimes(min_value=np.datetime64("1700", "s").item()).filter(
            lambda one: one.year < 2200
        ),
        min_size=1,
        max_size=5,
    )
)
def test_iso_is_read_as_python_writes_it(times):
    found, *_ = stamps([time.isoformat(sep=" ") for time in times])
    assert found.astype("datetime64[us]").tolist() == times
