from __future__ import annotations

import numpy as np
import pytest

from recurra.errors import DataError
from recurra.series.reading.columns import Columns


def columns(**cells):
    size = len(next(iter(cells.values())))
    return Columns("data.csv", cells, np.arange(1, size + 1))


def test_numbers():
    found = columns(y=["1", " -2.5e3 ", "", "NA"]).numbers("y")
    assert np.array_equal(found, [1, -2500, np.nan, np.nan], equal_nan=True)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["1", "", "abc"], "data.csv, data row 3: 'abc' in column 'y' is no number; write one"),
        (
            ["1.5", "2,5"],
            "data row 2: '2,5' in column 'y' is no number with a decimal point, as others of the",
        ),
        (["0,5", "1.25"], "data row 2: '1.25' in column 'y' is no number with a decimal comma"),
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


def test_what_was_chosen_is_told():
    found = columns(y=["12", "1.001,75"])
    assert found.numbers("y").tolist() == [12, 1001.75]
    assert found.choices == [
        "numbers of column 'y' are read with a decimal comma: '1.001,75' in data row 2 is 1001.75"
    ]
