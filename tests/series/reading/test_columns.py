from __future__ import annotations

import numpy as np
import pytest

from recurra.errors import DataError
from recurra.series.reading.columns import MISSING, Columns, to_number


def columns(**cells):
    size = len(next(iter(cells.values())))
    return Columns("data.csv", cells, np.arange(1, size + 1))


@pytest.mark.parametrize("cell", ["", " ", *(word.upper() for word in sorted(MISSING)), "n/a"])
def test_missing(cell):
    assert np.isnan(to_number(cell))


@pytest.mark.parametrize("cell", ["1_000", "one", "1,5", "0x10", "1 000"])
def test_no_number(cell):
    with pytest.raises(ValueError):
        to_number(cell)


def test_numbers():
    found = columns(y=["1", " -2.5e3 ", "", "NA"]).numbers("y")
    assert np.array_equal(found, [1, -2500, np.nan, np.nan], equal_nan=True)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["1", "", "abc"], "data.csv, data row 3: 'abc' in column 'y' is no number; write one"),
        (
            ["1,5"],
            r"data row 1: '1,5' in column 'y' is no number \(the decimal sign is the point\)",
        ),
        (["1", "inf"], "data.csv, data row 2: column 'y' is infinite"),
        (np.array([1, -np.inf]), "data row 2: column 'y' is infinite"),
        (np.array(["2020"], "datetime64[us]"), "column 'y' holds dates, not numbers"),
    ],
)
def test_what_is_no_number(cells, said):
    with pytest.raises(DataError, match=said):
        columns(y=cells).numbers("y")


@pytest.mark.parametrize(
    ("cells", "numeric"),
    [
        (["1", ""], True),
        (["", "NA"], False),
        (["1", "x"], False),
        (np.array([1.0]), True),
        (np.array(["2020"], "datetime64[us]"), False),
    ],
)
def test_is_numeric(cells, numeric):
    assert columns(y=cells).is_numeric("y") is numeric


def test_the_nearest_name_is_told():
    with pytest.raises(DataError) as caught:
        columns(value=["1"], day=["2"]).require("valeu")
    assert str(caught.value) == (
        "data.csv: no column is named 'valeu'. Did you mean 'value'? There are: value, day"
    )
