"""What is not finite is found, and where."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.storage.finite import not_finite, real_numbers


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_the_first_number_that_is_not_finite_is_found_in_arrays_and_tensors(bad: float) -> None:
    values = np.zeros((2, 3))
    assert not_finite(values) is None
    values[1, 0] = values[1, 2] = bad
    assert not_finite(values) == (1, 0)
    assert not_finite(torch.from_numpy(values)) == (1, 0)


def test_what_a_narrower_type_cannot_hold_counts_as_infinite() -> None:
    largest = float(np.finfo(np.float32).max)
    values = np.array([largest, -largest, 1e300])
    assert not_finite(values, largest) == (2,)
    assert not_finite(torch.from_numpy(values), largest) == (2,)
    assert not_finite(np.array([float("nan")]), largest) == (0,)


def test_nothing_and_a_number_alone_are_asked_too() -> None:
    assert not_finite(torch.zeros(0)) is None
    assert not_finite(np.zeros((0, 2))) is None
    assert not_finite(1.0) is None
    assert not_finite(float("nan")) == ()


@pytest.mark.parametrize("odd", [10**400, 1j, "x", np.datetime64("2020"), np.timedelta64(1, "D")])
def test_what_numpy_would_make_numbers_of_is_refused(odd: object) -> None:
    with pytest.raises(ValueError):
        real_numbers([odd, odd])
    assert real_numbers([1, None, 2.5])[::2].tolist() == [1.0, 2.5]
