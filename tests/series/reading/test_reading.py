"""Reading from end to end: what a file, frame, mapping or array becomes."""

from __future__ import annotations

import gzip
from time import process_time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.errors import DataError
from recurra.series.calendar.seasons import infer_season
from recurra.series.options import SeriesOptions
from recurra.series.panel import Panel, Series
from recurra.series.reading import read_content, read_data, read_file

LONG = """unique_id,ds,y,price,open,size
a,2020-01-01,1,10,1,5
a,2020-01-02,2,11,0,5
a,2020-01-03,,12,1,5
b,2020-01-01,4,20,1,7
b,2020-01-02,5,21,0,7
b,2020-01-03,6,22,1,7
b,2020-01-04,7,23,0,7
"""


def read(text, **options) -> Panel:
    return read_content(text.encode(), "data.csv", SeriesOptions(**options))


def column(panel, series=0, variable=0):
    return panel.series[series].values[:, variable].tolist()


def days(series):
    return series.stamps.astype("datetime64[D]").astype(str).tolist()


def test_long_form():
    panel = read(LONG)
    assert [one.unique_id for one in panel.series] == ["a", "b"]
    assert panel.targets == ("y",)
    assert column(panel)[:2] == [1, 2] and np.isnan(column(panel)[2])
    assert column(panel, 1) == [4, 5, 6, 7]
    assert days(panel.series[0]) == ["2020-01-01", "2020-01-02", "2020-01-03"]
    assert panel.frequency.name == "daily"
    assert panel.notes == (
        "columns not used: 'price', 'open', 'size'",
        "1 gap, the first at data row 3: left as gaps",
        "frequency daily, season 7 (inferred)",
    )


def test_covariates_and_several_targets():
    panel = read(
        LONG,
        target="y, price",
        past_covariates="open",
        static_covariates="size",
    )
    assert panel.targets == ("y", "price") and panel.past == ("open",) and panel.static == ("size",)
    assert column(panel, 1, 1) == [20, 21, 22, 23]
    assert panel.series[1].past[:, 0].tolist() == [1, 0, 1, 0]
    assert panel.series[1].static.tolist() == [7]


def test_rows_ahead_hold_future_covariates():
    panel = read(LONG.replace("b,2020-01-04,7", "b,2020-01-04,"), future_covariates="price,open")
    first, second = panel.series
    assert (len(first), len(second)) == (2, 3)
    assert first.future.tolist() == [[10, 1], [11, 0], [12, 1]]
    assert second.future[-1].tolist() == [23, 0]
    assert len(second.stamps) == 3
    assert not any("gap" in note for note in panel.notes)


def test_gaps_of_covariates_take_the_value_before():
    text = LONG.replace("a,2020-01-02,2,11", "a,2020-01-02,2,").replace(
        "b,2020-01-01,4,20", "b,2020-01-01,4,"
    )
    panel = read(text, past_covariates="price")
    assert panel.series[0].past[:, 0].tolist() == [10, 10, 12]
    np.testing.assert_array_equal(panel.series[1].past[:, 0], [np.nan, 21, 22, 23])
    ahead = read(text, future_covariates="price")  # known ahead, so known before as well
    assert ahead.series[1].future[:, 0].tolist() == [21, 21, 22, 23]
    assert (
        "2 gaps in covariates, the first at data row 2: filled with the value before" in panel.notes
    )


@pytest.mark.parametrize(
    ("fill", "told"),
    [
        ("mask", "left as gaps"),
        ("forward", "seen as the value before"),
        ("linear", "seen as along a line"),
    ],
)
def test_a_gap_stays_one_whatever_is_seen_in_it(fill, told):
    panel = read("y\nNA\n1\n\nnan\n4\nnull\n", fill=fill)
    assert column(panel) == pytest.approx([np.nan, 1, np.nan, np.nan, 4, np.nan], nan_ok=True)
    assert f"4 gaps, the first at data row 1: {told}" in panel.notes


@pytest.mark.parametrize(
    ("text", "name"),
    [("3\n1\n2\n", "y"), ("load\n3\n1\n2\n", "load"), ("\ufeffload\r\n3\r\n1\r\n2\r\n", "load")],
)
def test_one_column(text, name):
    panel = read(text)
    assert panel.targets == (name,) and panel.series[0].unique_id == name
    assert column(panel) == [3, 1, 2] and panel.series[0].stamps is None
    assert panel.frequency.name == "steps"


@pytest.mark.parametrize(
    "text",
    [
        "2020-01-01,3\n2020-01-02,1\n",
        "Date,Close\n2020-01-01,3\n2020-01-02,1\n",
        "Close;when\n3;01.01.2020\n1;02.01.2020\n",
        "when\tClose\n2020/01/01\t3\n2020/01/02\t1\n",
        ",0\n2020-01-01,3\n2020-01-02,1\n",
        "day,Close,weather\n20200101,3,fair\n20200102,1,foul\n".replace("day", "ds"),
    ],
)
def test_one_column_beside_dates(text):
    panel = read(text)
    assert column(panel) == [3, 1]
    assert days(panel.series[0]) == ["2020-01-01", "2020-01-02"]


def test_three_columns_without_a_header():
    panel = read("a,2020-01-01,3\na,2020-01-02,1\nb,2020-01-01,4\nb,2020-01-02,5\n")
    assert [one.unique_id for one in panel.series] == ["a", "b"] and column(panel, 1) == [4, 5]


def test_years_are_dates():
    panel = read('"YEAR","SPOTS"\n1700,5\n1701,11\n1702,16\n')
    assert panel.frequency.name == "yearly" and days(panel.series[0])[0] == "1700-01-01"


def test_numbers_as_stamps():
    panel = read("unique_id,ds,y\na,5,1\na,7,2\nb,1,3\nb,3,4\nb,5,5\n")
    assert panel.series[0].stamps.tolist() == [5, 7]
    assert (panel.frequency.unit, panel.frequency.count) == ("step", 2)


def test_names_of_columns_can_be_told():
    text = "shop,day,sold\nx,2020-01-01,1\nx,2020-01-02,2\ny,2020-01-01,3\ny,2020-01-02,4\n"
    panel = read(text, id_column="shop", time_column="day", target="sold")
    assert [one.unique_id for one in panel.series] == ["x", "y"] and panel.targets == ("sold",)


def test_rows_of_series_may_be_mixed_up():
    text = "unique_id,ds,y\nb,2,4\na,1,1\nb,1,3\na,2,2\n"
    panel = read(text)
    assert [one.unique_id for one in panel.series] == ["b", "a"]
    assert column(panel) == [3, 4] and column(panel, 1) == [1, 2]
    assert "'b' sorted by ds (first out of order: data row 3)" in panel.notes


def test_irregular_stamps_stay():
    panel = read("ds,y\n2020-01-01 00:00:00,1\n2020-01-01 00:00:37,2\n2020-01-01 00:01:20,3\n")
    assert not panel.frequency.regular and len(panel.series[0]) == 3
    assert "stamps are irregular, their median step 37 seconds" in panel.notes
    delta = panel.frequency.delta(panel.series[0].stamps)
    assert delta.tolist() == pytest.approx([1, 1, 43 / 37])


def test_season_is_inferred_where_none_is_customary():
    steps = np.arange(96)
    text = "\n".join(f"{value:.6f}" for value in np.sin(2 * np.pi * steps / 8))
    assert read(text).frequency.season == 8


def test_season_is_not_inferred_from_the_test():
    values = np.random.default_rng(0).normal(size=60).tolist()
    values += np.sin(2 * np.pi * np.arange(240) / 8).tolist()
    text = "\n".join(f"{value:.6f}" for value in values)
    assert read(text).frequency.season == 8
    assert read(text, horizon=240).frequency.season == 1
    assert read(text, horizon=3, test=240).frequency.season == 1
    assert read(text, horizon=240, test=3).frequency.season == 1  # a test holds a horizon at least


def test_season_is_not_inferred_from_a_test_whose_length_is_yet_to_be_chosen():
    values = np.random.default_rng(0).normal(size=400)
    values[320:] += 50 * np.sin(2 * np.pi * np.arange(80) / 8)
    assert infer_season([values]) == 8
    assert read_data(values, SeriesOptions()).frequency.season == 1


def test_files(tmp_path):
    (tmp_path / "long.csv").write_text(LONG)
    with gzip.open(tmp_path / "long.csv.gz", "wb") as file:
        file.write(LONG.encode())
    prints = {
        read_file(tmp_path / name, SeriesOptions()).fingerprint
        for name in ("long.csv", "long.csv.gz")
    }
    assert prints == {read(LONG).fingerprint}


def test_mapping_and_panel():
    given = {"ds": np.array(["2020", "2021"], "datetime64[Y]"), "y": [1, None]}
    panel = read_data({**given, "y": np.array([1, np.nan])}, SeriesOptions())
    assert panel.frequency.name == "yearly"
    assert read_data(panel, SeriesOptions()) is panel
    texts = read_data(
        {"unique_id": ["a", "a"], "ds": ["2020-01-01", "2020-01-02"], "y": [1, 2]}, SeriesOptions()
    )
    assert texts.series[0].unique_id == "a" and texts.frequency.name == "daily"
    with pytest.raises(DataError, match=r"empty, or differ in length: {'x': 1, 'y': 2}"):
        read_data({"x": [1], "y": [1, 2]}, SeriesOptions())
    with pytest.raises(DataError, match="empty, or differ in length"):
        read_data({}, SeriesOptions())


numbers = st.one_of(st.floats(-1e12, 1e12), st.just(np.nan))


@given(
    st.lists(st.lists(numbers, min_size=2, max_size=12), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
    st.sampled_from([",", ";", "\t"]),
)
def test_what_is_written_is_read_whatever_the_order_of_rows(given_values, random, separator):
    values = [[1.5, *one] for one in given_values]  # a gap at the very end has no row to tell of it
    start = np.datetime64("2021-03-01")
    lines = [
        separator.join([f"s{name}", str(start + day), "" if np.isnan(value) else repr(value)])
        for name, one in enumerate(values)
        for day, value in enumerate(one)
    ]
    random.shuffle(lines)
    panel = read("\n".join([separator.join(["unique_id", "ds", "y"]), *lines]))
    found = {one.unique_id: one for one in panel.series}
    assert set(found) == {f"s{name}" for name in range(len(values))}
    for name, one in enumerate(values):
        assert np.array_equal(found[f"s{name}"].values[:, 0], one, equal_nan=True)
        assert found[f"s{name}"].stamps[0] == start


@given(st.lists(st.floats(-100, 100), min_size=6, max_size=30), st.data())
def test_rows_left_out_and_empty_cells_are_the_same_gaps(values, data):
    inner = st.integers(2, len(values) - 2)
    gaps = data.draw(st.sets(inner, max_size=(len(values) - 1) // 3))
    rows = [f"{np.datetime64('2021-01-01') + day},{value!r}" for day, value in enumerate(values)]
    left_out = [row for day, row in enumerate(rows) if day not in gaps]
    emptied = [row.split(",")[0] + "," if day in gaps else row for day, row in enumerate(rows)]
    first, second = (read("\n".join(["ds,y", *lines])) for lines in (left_out, emptied))
    assert first.fingerprint == second.fingerprint
    assert np.flatnonzero(np.isnan(first.series[0].values[:, 0])).tolist() == sorted(gaps)


def test_a_hundred_thousand_rows_are_quick():
    lines = [f"s{n // 1000},{n % 1000},{n}.5" for n in range(100_000)]
    text = "\n".join(["unique_id,ds,y", *lines])
    start = process_time()
    assert len(read(text).series) == 100
    assert process_time() - start < 5


def test_a_panel_of_series_survives_its_own_values():
    one = Series("a", np.arange(4.0))
    assert read_data([one.values], SeriesOptions()).series[0].values.tolist() == one.values.tolist()
