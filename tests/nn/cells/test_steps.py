from __future__ import annotations

import torch
from torch import Tensor

from recurra.nn.cells.steps import steps_over


def step(sums: Tensor, state: tuple[Tensor]) -> tuple[Tensor, tuple[Tensor]]:
    h = 0.5 * state[0] + sums
    return 2 * h, (h,)


def test_the_steps_follow_one_another() -> None:
    sums, state = torch.randn(2, 3, 4), (torch.randn(2, 4),)
    y, end = steps_over(step, sums, state, None)
    for t in range(3):
        expected, state = step(sums[:, t], state)
        assert torch.equal(y[:, t], expected)
    assert torch.equal(end[0], state[0])


def test_a_state_stays_at_its_row_s_length() -> None:
    sums, state = torch.randn(3, 3, 4), (torch.randn(3, 4),)
    _, end = steps_over(step, sums, state, torch.tensor([3, 0, 2]))
    for row, length in enumerate([3, 0, 2]):
        alone = (state[0][row : row + 1],)
        for t in range(length):
            _, alone = step(sums[row : row + 1, t], alone)
        assert torch.equal(end[0][row : row + 1], alone[0])
