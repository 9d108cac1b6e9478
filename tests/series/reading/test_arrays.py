from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.errors import DataError
from recurra.series.options import SeriesOptions
from recurra.series.reading import read_data


def read(data, **options):
    return read_data(data, SeriesOptions(**options))


@pytest.mark.parametrize(
    ("data", "shapes", "targets"),
    [
        (np.arange(5), [(5, 1)], ("y",)),
        ([1, 2.5, 3], [(3, 1)], ("y",)),
        (torch.arange(4), [(4, 1)], ("y",)),
        (np.ones((2, 5)), [(5, 1)] * 2, ("y",)),
        (np.ones((2, 5, 3)), [(5, 3)] * 2, ("y0", "y1", "y2")),
        ([np.ones(3), np.ones(4)], [(3, 1), (4, 1)], ("y",)),
        ([np.ones((3, 2)), np.ones((4, 2))], [(3, 2), (4, 2)], ("y0", "y1")),
        ([[1, 2], [1, 2, 3]], [(2, 1), (3, 1)], ("y",)),
    ],
)
def test_shapes(data, shapes, targets):
    panel = read(data)
    assert [one.values.shape for one in panel.series] == shapes
    assert panel.targets == targets
    assert panel.frequency.name == "steps"
    assert all(one.stamps is None for one in panel.series)


def test_rows_of_a_matrix_are_series():
    panel = read(np.arange(6).reshape(2, 3))
    assert [one.unique_id for one in panel.series] == ["0", "1"]
    assert panel.series[1].values[:, 0].tolist() == [3, 4, 5]


def test_the_caller_s_array_is_left_alone():
    data = np.array([1.0, np.nan, 3.0])
    panel = read(data)
    panel.series[0].values[0] = 9
    assert data[0] == 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "is no series: its shapes are"),
        (np.empty((0, 4)), r"is no series: its shapes are \(\)"),
        (np.float64(3), r"is no series: its shapes are"),
        (np.ones((2, 2, 2, 2)), r"is no series: its shapes are \(2, 2, 2\), \(2, 2, 2\)"),
        (np.ones((5, 1)), "is 5 series of one step: a 2-D array is .series, steps.; transpose it"),
        (["a", "b"], "is a list, which holds other things than numbers"),
        (object(), "is a object, which holds other things than numbers"),
        ([10**400, 1], "holds other things than numbers: int too large"),
        (np.ones(9) + 1j, "holds other things than numbers: complex numbers"),
        ([[1, 2], "ab"], "holds other things than numbers"),
        ([np.ones((3, 2)), np.ones(4)], "series '0' has 2 variables, but series '1' 1"),
        ([[1, 2], [1, np.inf]], "data row 2: series '1' is infinite"),
        ([[1], [3]], "is 2 series of one step"),
        ([1.0], "data row 1: series 'y' has one row alone"),
        ([np.nan, np.nan], "series 'y' has no value in column 'y'"),
    ],
)
def test_what_is_no_series(data, said):
    with pytest.raises(DataError, match=f"the data given.*{said}"):
        read(data)


def test_arrays_have_no_columns():
    with pytest.raises(DataError, match=r"arrays, which have no columns: leave data.target out"):
        read(np.ones(4), target="y")
