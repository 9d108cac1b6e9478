from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.errors import DataError
from recurra.series.reading.draft import ADDED, Draft, Source
from recurra.series.reading.order import on_grid, sorted_once

SOURCE = Source("data.csv", time="ds")


def draft(stamps, name="a", first_row=1):
    size = len(stamps)
    rows = np.arange(first_row, first_row + size)
    values = np.arange(size, dtype=np.float64)[:, None]
    return Draft(
        name, rows, values, np.asarray(stamps), values + 100, values + 200, np.array([7.0])
    )


@given(st.permutations(range(8)))
def test_everything_of_a_row_moves_together(order):
    (found,), notes = sorted_once(SOURCE, [draft(np.array(order, np.float64))])
    assert found.stamps.tolist() == list(range(8))
    at = np.argsort(order)
    assert found.values[:, 0].tolist() == at.tolist()
    assert found.rows.tolist() == (at + 1).tolist()
    assert (found.past == found.values + 100).all() and (found.future == found.values + 200).all()
    assert (notes == []) == (list(order) == list(range(8)))


def test_the_first_row_out_of_order_is_told():
    drafts = [draft([1, 2, 3]), draft([5, 1, 2], "b", first_row=4), draft([2, 1], "c", 7)]
    _, notes = sorted_once(SOURCE, drafts)
    assert notes == ["'b', 'c' sorted by ds (first out of order: data row 5)"]


def test_a_stamp_twice_far_apart():
    with pytest.raises(DataError, match=r"data rows 1 and 3: series 'a' has the stamp 5 twice;"):
        sorted_once(SOURCE, [draft([5, 6, 5])])
    with pytest.raises(DataError, match="stamp 5 twice, and 2 more stamps twice"):
        sorted_once(SOURCE, [draft([5, 6, 5, 6, 6])])


@given(st.sets(st.integers(1, 18), max_size=6), st.sampled_from(["h", "D", "M"]))
def test_missing_stamps_become_rows_that_hold_nothing(missing, unit):
    stamps = np.datetime64("2020-01-01", unit) + np.arange(20)
    stamps = stamps.astype("datetime64[ns]")
    left = np.delete(stamps, sorted(missing))
    (found,), frequency, notes = on_grid(SOURCE, [draft(left)])
    assert frequency.regular and (found.stamps == stamps).all()
    assert np.flatnonzero(found.rows == ADDED).tolist() == sorted(missing)
    for values, start in ((found.values, 0), (found.past, 100), (found.future, 200)):
        gaps = np.isnan(values[:, 0])
        assert np.flatnonzero(gaps).tolist() == sorted(missing)
        assert values[~gaps, 0].tolist() == list(range(start, start + len(left)))
    assert found.static.tolist() == [7]
    if missing:
        before = min(missing)  # rows are counted from 1
        word = "stamp is" if len(missing) == 1 else "stamps are"
        assert notes == [
            f"{len(missing)} {word} missing, the first after data row {before}: added as gaps"
        ]


def test_series_without_stamps_have_steps():
    one = draft([1, 2, 3])
    bare = Draft("a", one.rows, one.values, None, one.past, one.future, one.static)
    assert sorted_once(SOURCE, [bare])[1] == []
    assert on_grid(SOURCE, [bare])[1].name == "steps"


def test_irregular_stamps_get_no_rows():
    one = draft([0.0, 1.0, 2.5, 3.5])
    (found,), frequency, notes = on_grid(SOURCE, [one])
    assert found is one and not frequency.regular
    assert notes == ["stamps are irregular, their median step 1"]


def hours(*begins, size=48):
    """Hours of several days, by the clock on the wall."""
    return np.concatenate(
        [np.datetime64(begin, "ns") + np.arange(size) * np.timedelta64(1, "h") for begin in begins]
    )


def test_an_hour_that_clocks_show_twice_is_its_mean():
    stamps = np.sort(np.append(hours("2021-10-30"), np.datetime64("2021-10-31T02", "ns")))
    (found,), notes = sorted_once(SOURCE, [draft(stamps)])
    assert len(found) == 48 and (np.diff(found.stamps) == np.timedelta64(1, "h")).all()
    assert found.values[26, 0] == 26.5 and found.past[26, 0] == 126.5
    assert notes == [
        "2021-10-31 02:00:00 stands twice in series 'a' (data rows 27 and 28), as where clocks are "
        "put back: the mean is taken"
    ]


@pytest.mark.parametrize(
    "twice", [["2021-10-30T02"], ["2021-10-31T05"], ["2021-10-31T02", "2021-10-31T02"]]
)
def test_other_hours_are_not_taken_twice(twice):
    stamps = np.sort(np.append(hours("2021-10-30"), np.array(twice, "datetime64[ns]")))
    with pytest.raises(DataError, match=r"has the stamp 2021-10-3. 0.:00:00 twice"):
        sorted_once(SOURCE, [draft(stamps)])


def test_a_series_of_one_row_stays_beside_others():
    found, notes = sorted_once(SOURCE, [draft([1.0, 2.0]), draft([5.0], "b", first_row=3)])
    assert [len(one) for one in found] == [2, 1]
    assert notes == ["one row alone, nothing is learned from it: 'b'"]
    with pytest.raises(DataError, match="data row 3: series 'b' has one row alone; nothing can be"):
        sorted_once(SOURCE, [draft([5.0], "b", first_row=3), draft([6.0], "c", first_row=4)])
