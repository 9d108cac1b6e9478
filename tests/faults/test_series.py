"""Bad series: each is named with its rows, or mended in a way that is told."""

from __future__ import annotations

import numpy as np
import pytest

from recurra.errors import DataError, RecurraError
from recurra.series.datasets import open_panel
from recurra.series.options import SeriesOptions
from recurra.series.panel import Panel

GOOD = """unique_id,ds,y
a,2020-01-01,1
a,2020-01-02,2
a,2020-01-03,3
b,2020-01-01,4
b,2020-01-02,5
b,2020-01-03,7
"""


@pytest.fixture
def read(tmp_path):
    def read_(text: str, **options) -> Panel:
        path = tmp_path / "sales.csv"
        path.write_text(text)
        return open_panel(SeriesOptions(dataset=str(path), **options))[0]

    return read_


@pytest.fixture
def refused(read):
    def refused_(text: str, **options) -> str:
        with pytest.raises(RecurraError) as caught:
            read(text, **options)
        assert isinstance(caught.value, DataError) and caught.value.exit_code == 3
        said = str(caught.value)
        assert "sales.csv" in said and "\n" not in said
        return said.partition("sales.csv")[2]

    return refused_


def values(panel, series=0):
    return panel.series[series].values[:, 0].tolist()


def test_gaps_are_left_and_told(read):
    panel = read(GOOD.replace("-02,2", "-02,").replace("-01,4", "-01,NaN"))
    assert np.isnan(values(panel)[1]) and np.isnan(values(panel, 1)[0])
    assert "2 gaps, the first at data row 2: left as gaps" in panel.notes


def test_gaps_stay_and_are_seen_as_wished(read):
    text = GOOD.replace("-02,2", "-02,")
    panel = read(text, fill="linear")
    assert np.array_equal(values(panel), [1, np.nan, 3], equal_nan=True)  # what is seen, is told
    assert "1 gap, the first at data row 2: seen as along a line" in panel.notes


def test_gaps_are_refused_as_wished(refused):
    said = refused(GOOD.replace("-02,2", "-02,").replace("-01,4", "-01,"), fill="refuse")
    assert said == (
        ", at data row 2: series 'a' has a gap, of 2 in all; "
        "fill them, or set data.fill to mask, forward or linear"
    )


def test_stamps_that_are_missing(read, refused):
    text = GOOD.replace("b,2020-01-02,5\n", "b,2020-01-05,5\n").replace(
        "b,2020-01-03", "b,2020-01-06"
    )
    panel = read(text)
    assert np.array_equal(values(panel, 1), [4, np.nan, np.nan, np.nan, 5, 7], equal_nan=True)
    assert "3 stamps are missing, the first after data row 4: added as gaps" in panel.notes
    assert "3 gaps, the first after data row 4: left as gaps" in panel.notes
    assert refused(text, fill="refuse").startswith(", after data row 4: series 'b' has a gap")


def test_stamps_that_come_twice(refused):
    said = refused(GOOD.replace("b,2020-01-03", "b,2020-01-01"))
    assert said == (
        ", data rows 4 and 6: series 'b' has the stamp 2020-01-01 twice; "
        "keep one row of each, or name the column that tells the series apart: data.id_column"
    )


def test_series_that_were_not_told_apart(refused):
    said = refused(GOOD.replace("unique_id", "shop"))
    assert "data rows 1 and 4: series 'y' has the stamp 2020-01-01 twice, and 2 more" in said
    assert "data.id_column" in said


def test_unsorted_stamps_are_sorted_and_told(read):
    lines = GOOD.splitlines()
    panel = read("\n".join([lines[0], *lines[:0:-1]]))
    assert [one.unique_id for one in panel.series] == ["b", "a"]
    assert values(panel) == [4, 5, 7] and values(panel, 1) == [1, 2, 3]
    assert "'b', 'a' sorted by ds (first out of order: data row 2)" in panel.notes


def test_a_constant_series_is_told(read):
    panel = read(GOOD.replace("-02,2", "-02,1").replace("-03,3", "-03,1"))
    assert values(panel) == [1, 1, 1] and "constant: 'a'" in panel.notes


def test_every_series_constant(read):
    panel = read("y\n" + "5\n" * 40)
    assert "constant: 'y'" in panel.notes and panel.frequency.season == 1


def test_mixed_zones(refused):
    said = refused("ds,y\n2020-01-01T00:00Z,1\n2020-01-01T01:00+01:00,2\n2020-01-01T02:00,3\n")
    assert said == (
        ", data rows 1 and 3: in column 'ds' one stamp has no offset from UTC, and one has; "
        "write all stamps with one, or none"
    )


def test_one_row(read, refused):
    assert refused("ds,y\n2020-01-01,1\n").startswith(", data row 1: series 'y' has one row alone;")
    panel = read(GOOD + "c,2020-01-01,3\n")
    assert [len(one) for one in panel.series] == [3, 3, 1]
    assert "one row alone, nothing is learned from it: 'c'" in panel.notes


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "Y"}, "no column is named 'Y'. Did you mean 'y'? There are: unique_id, ds, y"),
        ({"target": "y,uniqe_id"}, "no column is named 'uniqe_id'. Did you mean 'unique_id'?"),
        ({"time_column": "dss"}, "no column is named 'dss'. Did you mean 'ds'?"),
        ({"id_column": "unique"}, "no column is named 'unique'. Did you mean 'unique_id'?"),
        ({"past_covariates": "x"}, "no column is named 'x'."),
        ({"future_covariates": "x"}, "no column is named 'x'."),
        ({"static_covariates": "x"}, "no column is named 'x'."),
        ({"target": "ds"}, "column 'ds'"),
        ({"target": "y", "past_covariates": "y"}, "column 'y' is asked to be two things at once"),
    ],
)
def test_a_wrong_column(refused, options, said):
    assert said in refused(GOOD, **options)


def test_no_column_to_forecast(refused):
    said = refused("unique_id,ds,sold,left\na,1,2,3\na,2,3,4\n")
    assert "which column is to be forecast? 'sold', 'left' are all numbers" in said
    assert "data.target" in said
    assert "no column is named 'y'" in refused("unique_id,ds\na,1\na,2\n")


def test_cells_that_are_no_number_no_date_or_infinite(refused):
    assert refused(GOOD.replace("-02,5", "-02,five")).startswith(
        ", data row 5: 'five' in column 'y'"
    )
    assert refused(GOOD.replace("-02,5", "-02,-inf")).startswith(
        ", data row 5: column 'y' is infinite"
    )
    said = refused(GOOD.replace("b,2020-01-02", "b,second"))
    assert said.startswith(
        ", data row 5: the stamp in column 'ds' is 'second', neither a number nor"
    )
    said = refused(GOOD.replace("b,2020-01-02", "b,"))
    assert said.startswith(", data row 5: the stamp in column 'ds' is empty")
    assert refused(GOOD.replace("b,2020-01-02", ",2020-01-02")).startswith(
        ", data row 5: column 'unique_id' is empty"
    )


def test_rows_of_other_lengths(refused):
    assert refused(GOOD.replace("-02,5", "-02,5,6")).startswith(
        ", data row 5: 4 cells, where there"
    )


@pytest.mark.parametrize("text", ["", "\n\n", "unique_id,ds,y\n"])
def test_empty_files(refused, text):
    assert refused(text).startswith(" is empty: ")


def test_a_series_without_a_value(refused):
    said = refused("unique_id,ds,y\na,1,1\na,2,2\nb,1,\nb,2,\n")
    assert said == ": series 'b' has no value in column 'y'; leave it out"


def test_static_numbers_that_change(refused):
    text = "unique_id,ds,y,size\na,1,1,5\na,2,2,\na,3,2,6\n"
    assert refused(text, static_covariates="size").startswith(
        ", data rows 1 and 3: column 'size' changes within series 'a'"
    )
    empty = text.replace(",5", ",").replace(",6", ",")
    for role in ("static_covariates", "past_covariates", "future_covariates"):
        assert "series 'a' has no value in column 'size'" in refused(empty, **{role: "size"})


def test_stamps_a_second_apart_with_years_between_them_take_no_memory(read):
    panel = read("ds,y\n2000-01-01T00:00:00,1\n2000-01-01T00:00:01,2\n2020-01-01T00:00:00,3\n")
    assert len(panel.series[0]) == 3 and not panel.frequency.regular


@pytest.mark.parametrize("data", [[1.0, np.nan, 3.0], np.array([[1.0, np.nan, 3.0]])])
def test_the_same_of_arrays(data):
    panel, _ = open_panel(SeriesOptions(), data)
    assert "1 gap, the first at data row 2: left as gaps" in panel.notes
    with pytest.raises(DataError, match="data row 2: series 'y' has a gap, of 1 in all"):
        open_panel(SeriesOptions(fill="refuse"), data)


def test_the_same_of_frames():
    pytest.importorskip("narwhals")
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"ds": ["2020-01-01", "2020-01-02", "2020-01-01"], "y": [1, 2, 3]})
    with pytest.raises(DataError, match="the frame, data rows 1 and 3: series 'y' has the stamp"):
        open_panel(SeriesOptions(), frame)
    with pytest.raises(DataError, match=r"the frame: no column is named 'yy'. Did you mean 'y'"):
        open_panel(SeriesOptions(target="yy"), frame)
