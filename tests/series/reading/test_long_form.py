from __future__ import annotations

import numpy as np
import pytest

from recurra.errors import DataError
from recurra.series.options import SeriesOptions
from recurra.series.reading.files.csv_file import parse_csv
from recurra.series.reading.long_form import read_long_form


def roles(header, row="1", **options):
    """What columns are taken for; cells are numbers, but dates in columns that begin with d."""
    names = header.split(",")
    lines = [
        ",".join(f"2020-01-0{day}" if name.startswith("d") else row for name in names)
        for day in (1, 2)
    ]
    columns = parse_csv("\n".join([header, *lines]).encode(), "data.csv")
    source, drafts, notes = read_long_form(columns, SeriesOptions(**options))
    return source.time, source.targets, drafts[0].unique_id, notes


@pytest.mark.parametrize(
    ("header", "time", "target", "name"),
    [
        ("unique_id,ds,y", "ds", "y", "1"),
        ("y,ds", "ds", "y", "y"),
        ("unique_id,y", None, "y", "1"),
        ("day,load", "day", "load", "load"),
        ("load,day", "day", "load", "load"),
        ("Time,load", "Time", "load", "load"),
        ("year,y", "year", "y", "y"),
        ("time", None, "time", "time"),
        ("ds,day,load", "ds", "load", "load"),
    ],
)
def test_which_column_is_what(header, time, target, name):
    found = roles(header)
    assert found[:3] == (time, (target,), name)


def test_what_is_asked_for_goes_before_what_is_found():
    assert roles("ds,y,date,z", time_column="date", target="z")[:2] == ("date", ("z",))
    assert roles("unique_id,y,shop", row="2", id_column="shop")[2] == "2"
    assert roles("ds,y,z", target="y,z")[1:3] == (("y", "z"), "series")
    assert roles("ds,y,z", past_covariates="y")[1] == ("z",)


def test_what_is_not_used_is_told():
    assert roles("ds,y,a,b")[3] == ["columns not used: 'a', 'b'"]
    assert roles("unique_id,ds,y,a", past_covariates="a")[3] == []


def test_the_column_to_forecast_cannot_be_guessed():
    with pytest.raises(DataError, match="which column is to be forecast\\? 'a', 'b' are all numb"):
        roles("ds,a,b")


def test_text_where_a_number_is_wanted_is_named():
    columns = parse_csv(b"ds,load\n2020-01-01,1\n2020-01-02,much\n", "data.csv")
    with pytest.raises(DataError, match="data row 2: 'much' in column 'load' is no number"):
        read_long_form(columns, SeriesOptions())


def test_rows_of_a_series_keep_their_order_and_numbers():
    columns = parse_csv(b"unique_id,y\nb,1\na,2\nb,3\n\na,4\n", "data.csv")
    _, (first, second), _ = read_long_form(columns, SeriesOptions())
    assert (first.unique_id, first.rows.tolist()) == ("b", [1, 3])
    assert (second.unique_id, second.rows.tolist()) == ("a", [2, 5])
    assert np.array_equal(second.values, [[2], [4]])


@pytest.mark.parametrize("name", ["None", "NA", "null"])
def test_names_that_only_look_empty(name):
    columns = parse_csv(f"unique_id,y\n{name},1\n{name},2\n".encode(), "data.csv")
    assert read_long_form(columns, SeriesOptions())[1][0].unique_id == name


WIDE = "ds,a,b,n\n2020-01-01,1,,x\n2020-01-02,2,5,y\n2020-01-03,3,6,z\n"


def test_a_wide_table_is_a_series_a_column_from_its_first_value_on():
    columns = parse_csv(WIDE.encode(), "data.csv")
    source, drafts, notes = read_long_form(columns, SeriesOptions(layout="wide"))
    assert source.targets == ("y",) and notes == ["columns not used: 'n'"]
    assert {one.unique_id: one.values[:, 0].tolist() for one in drafts} == {
        "a": [1, 2, 3],
        "b": [5, 6],
    }
    assert drafts[1].stamps[0] == np.datetime64("2020-01-02")
    columns = parse_csv(WIDE.encode(), "data.csv")
    _, drafts, _ = read_long_form(columns, SeriesOptions(layout="wide", target="b"))
    assert [one.unique_id for one in drafts] == ["b"]


def test_a_wide_table_has_no_names_of_series_in_a_column():
    with pytest.raises(DataError, match="is wide, where a column is a series, but column 'unique_"):
        roles("unique_id,ds,y", layout="wide")
    with pytest.raises(
        DataError, match=r"data.target, or set data.layout to wide if each is a ser"
    ):
        roles("ds,a,b")
    with pytest.raises(DataError, match=r"data.layout is wide, but no column is of numbers"):
        roles("ds,a", row="x", layout="wide")


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("month,y\n201401,1\n201402,2\n", "month"),
        ("observation_date,sales\n43831,1\n43832,2\n", "observation_date"),
        ("sales,timestamp\n1,1577836800\n2,1577840400\n", "timestamp"),
    ],
)
def test_numbers_that_are_dates_are_the_time_where_their_column_is_named_so(text, time):
    source, _, _ = read_long_form(parse_csv(text.encode(), "data.csv"), SeriesOptions())
    assert source.time == time and source.code is not None


def test_an_index_that_a_program_wrote_is_not_forecast():
    text = ",date,sales\n0,2020-01-01,5\n1,2020-01-02,6\n"
    source, _, notes = read_long_form(parse_csv(text.encode(), "data.csv"), SeriesOptions())
    assert (source.time, source.targets) == ("date", ("sales",))
    assert notes == ["columns not used: ''"]
