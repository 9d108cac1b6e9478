from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.series.reading.numbers import (
    MISSING,
    AmbiguousError,
    Notation,
    Numbers,
    is_number,
)


def read(cells, separator=",", asked=None, piece=2):
    column = Numbers(Notation(asked, separator))
    for start in range(0, len(cells), piece):
        column.feed(cells[start : start + piece])
    return column


@pytest.mark.parametrize("cell", ["", " ", *(word.upper() for word in sorted(MISSING)), "n/a"])
def test_missing(cell):
    assert np.isnan(read([cell, "1"]).array()).tolist() == [True, False]


@pytest.mark.parametrize("cell", ["1_000", "one", "0x10", "1 00", "1.2.3", "1,2,3", ",", "12,34.5"])
def test_no_number(cell):
    assert not is_number(cell)
    assert read(["1", cell]).odd == (1, cell)


@pytest.mark.parametrize(
    ("cells", "separator", "expected", "mark"),
    [
        (["1", "2.5", "-3e2"], ",", [1, 2.5, -300], "point"),
        (["5,021.7", "999.5"], ",", [5021.7, 999.5], "point"),
        (["1,234,567", "12"], ",", [1_234_567, 12], "point"),
        (["1001,75", "1096,00"], ";", [1001.75, 1096], "comma"),
        (["12", "1.001,75", "1.234"], ";", [12, 1001.75, 1234], "comma"),
        (["1.234", "5", "2.500", "0,5"], ";", [1234, 5, 2500, 0.5], "comma"),
        (["1.234.567", "1"], ";", [1_234_567, 1], "comma"),
        (["1 234,5", "2\u00a0345,25", "3\u202f000"], ";", [1234.5, 2345.25, 3000], "comma"),
        (["1'234.5", "1\u2019000"], ",", [1234.5, 1000], "point"),
        (["\u22121,5", "+2,25e1"], "\t", [-1.5, 22.5], "comma"),
        (["0.125", "1.234"], ";", [0.125, 1.234], "point"),
        (["1.234", "12.5"], ";", [1.234, 12.5], "point"),
        ([".5", "1,000.25"], ",", [0.5, 1000.25], "point"),
    ],
)
def test_what_can_be_read_in_one_way(cells, separator, expected, mark):
    for piece in (1, 2, 9):
        column = read(cells, separator, piece=piece)
        assert column.array().tolist() == expected
        assert column.mark == mark


def test_what_may_be_two_numbers_is_told_or_refused():
    of_commas = read(["1,234", "2,345"], ",")
    assert of_commas.array().tolist() == [1234, 2345]  # a comma parts the cells already
    assert of_commas.choice == (0, "1,234", 1234)
    of_points = read(["1.234", "2.345"], ",")
    assert of_points.array().tolist() == [1.234, 2.345]
    assert of_points.choice == (0, "1.234", 1.234)
    for separator in ";\t|":
        for cell, point, comma in (("1,234", 1234, 1.234), ("1.234", 1.234, 1234)):
            with pytest.raises(AmbiguousError, match=cell) as error:
                read(["12", cell], separator).array()
            assert error.value.index == 1
            assert read([cell], separator, "comma").array().tolist() == [comma]
            assert read([cell], separator, "point").array().tolist() == [point]


def test_thousands_are_parted_in_all_numbers_or_in_none():
    assert read(["987", "12", "1.234", "3", "2.345", "3.456"], ";").array()[2] == 1234
    assert read(["987", "12", "1,234", "3", "2,345", "3,456"], "\t").array()[2] == 1234
    assert read(["1234", "1,234"], ";").array().tolist() == [1234, 1.234]
    assert read(["1234", "1.234"], ";").array().tolist() == [1234, 1.234]


def test_columns_of_a_file_tell_of_each_other():
    notation = Notation(separator=";")
    one, other, words = Numbers(notation), Numbers(notation), Numbers(notation)
    one.feed(["1.234"])
    words.feed(["1.5", "north"])
    other.feed(["0,5"])
    assert one.array().tolist() == [1234]
    assert one.choice == (0, "1.234", 1234)


@given(
    st.lists(st.floats(-1e9, 1e9).map(lambda x: round(x, 2)), min_size=1, max_size=9),
    st.sampled_from([(",", "."), (".", ","), (" ", ","), ("'", "."), ("", ","), ("", ".")]),
)
def test_numbers_that_are_written_with_two_decimals(numbers, marks):
    thousands, decimal = marks
    cells = [
        f"{x:,.2f}".replace(",", "_").replace(".", decimal).replace("_", thousands) for x in numbers
    ]
    assert read(cells, ";").array().tolist() == numbers
