from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recurra.errors import DataError
from recurra.series.reading.draft import ADDED, Draft, Source
from recurra.series.reading.gaps import constant, covered, fill, gaps_told

values = arrays(
    np.float64,
    st.tuples(st.integers(1, 20), st.integers(1, 3)),
    elements=st.one_of(st.floats(-100, 100), st.just(np.nan)),
)
SOURCE = Source("data.csv", past=("p",))


def draft(*numbers, rows=None, past=None, name="a"):
    size = len(numbers)
    given_rows = np.arange(1, size + 1) if rows is None else np.array(rows)
    covariate = np.zeros((size, 1)) if past is None else np.array(past, np.float64)[:, None]
    column = np.array(numbers, np.float64)[:, None]
    return Draft(name, given_rows, column, None, covariate, np.empty((size, 0)), np.empty(0))


def by_hand(column):
    """One value after another, as one would with pencil and paper."""
    found = column.copy()
    for step in range(1, len(column)):
        if np.isnan(found[step]):
            found[step] = found[step - 1]
    return found


@given(values)
def test_filling_is_what_it_is_by_hand(given_values):
    expected = np.stack([by_hand(column) for column in given_values.T], 1)
    assert np.array_equal(fill(given_values), expected, equal_nan=True)


@given(values, st.integers(0, 19))
def test_filling_forward_knows_nothing_of_what_comes(given_values, step):
    other = given_values.copy()
    other[step:] = 7.0
    first, second = (fill(one)[:step] for one in (given_values, other))
    assert np.array_equal(first, second, equal_nan=True)


@given(values)
def test_what_is_known_stays(given_values):
    known = ~np.isnan(given_values)
    assert (fill(given_values)[known] == given_values[known]).all()


def test_the_first_gap_is_told_by_its_row_or_the_row_before():
    one = draft(1, 2, np.nan, 4, rows=[5, 6, 9, 2])
    assert gaps_told(SOURCE, [one], "mask")[1] == ["1 gap, the first at data row 9: left as gaps"]
    one = draft(1, np.nan, np.nan, 4, rows=[5, ADDED, ADDED, 2])
    assert gaps_told(SOURCE, [one], "mask")[1] == [
        "2 gaps, the first after data row 5: left as gaps"
    ]


def test_nothing_to_tell():
    one = draft(1, 2, 3)
    assert gaps_told(SOURCE, [one], "refuse")[1] == []
    assert covered(SOURCE, [one])[1] == []
    assert constant([one]) == []


def test_past_covariates_before_their_first_value_stay_unknown():
    found, notes = covered(SOURCE, [draft(1, 2, 3, 4, past=[np.nan, 5, np.nan, 6])])
    np.testing.assert_array_equal(found[0].past[:, 0], [np.nan, 5, 5, 6])  # 5 is of the future
    assert notes[0].startswith("2 gaps in covariates, the first at data row 1")
    with pytest.raises(DataError, match="series 'a' has no value in column 'p'"):
        covered(SOURCE, [draft(1, 2, past=[np.nan, np.nan])])


def test_constant_series_are_named_and_counted():
    drafts = [draft(3, np.nan, 3, name=name) for name in "abcde"] + [draft(1, 2, name="f")]
    assert constant(drafts) == ["constant: 'a', 'b', 'c' and 2 more"]
