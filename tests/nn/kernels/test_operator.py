"""What all operators over sequences refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.errors import RunError, ShapeError
from recurra.nn.kernels.operator import once_only, steps_of_rows


def test_lengths_become_whole_numbers_of_steps() -> None:
    for lengths in (torch.tensor([0, 4, 2]), torch.tensor([0, 4, 2], dtype=torch.int32)):
        found = steps_of_rows((3, 4, 5), lengths)
        np.testing.assert_array_equal(found, [0, 4, 2])
        assert found.dtype == np.int64
    np.testing.assert_array_equal(steps_of_rows((2, 3), None), [3, 3])
    assert steps_of_rows((0, 3), torch.zeros(0, dtype=torch.int64)).shape == (0,)


@pytest.mark.parametrize("lengths", [[5, 1], [1, -1], [1], [[1, 1]]])
def test_lengths_out_of_the_sequences_are_refused(lengths: list[int]) -> None:
    with pytest.raises(ShapeError, match=r"lengths are 2 integers in 0 \.\.\. 4"):
        steps_of_rows((2, 4), torch.tensor(lengths))


def test_a_second_derivative_is_refused_by_name() -> None:
    with pytest.raises(RunError, match="recurra::scan cannot be differentiated twice"):
        once_only("scan")(None, torch.zeros(1))
