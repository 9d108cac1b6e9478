from __future__ import annotations

import numpy as np
import pytest

from recurra.nn.kernels.vectors import add, copy


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_rows_are_added_and_copied_in_place(kind: type[np.floating]) -> None:
    row, to = np.arange(21, dtype=kind), np.ones(21, kind)
    add(to, row)
    np.testing.assert_array_equal(to, np.arange(21) + 1)
    copy(to[5:], row[5:])
    np.testing.assert_array_equal(to, [1, 2, 3, 4, 5, *range(5, 21)])
    np.testing.assert_array_equal(row, np.arange(21))
